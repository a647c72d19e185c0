"""What the client speaks to: the part of the registry's use cases that both HTTP and the embedded registry offer."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

from feature_registry.model import (
    Datastack,
    Entry,
    Event,
    Found,
    Grant,
    Lineage,
    MaterializationVersion,
    Plan,
    PlanRequest,
    Registration,
    Report,
    Search,
)


class Service(Protocol):
    """Every method raises the classes of `errors.py`."""

    def register(self, registration: Registration) -> Report: ...

    def preview(self, registration: Registration) -> Report: ...

    def describe(self, table: str, as_of: datetime | None = None) -> Entry: ...

    def search(self, search: Search) -> Found: ...

    def history(self, table: str, as_of: datetime | None = None) -> tuple[Event, ...]: ...

    def lineage(self, table: str, as_of: datetime | None = None) -> Lineage: ...

    def resolve(self, table: str, as_of: datetime | None = None) -> Entry: ...

    def edit(self, table: str, changes: dict[str, Any]) -> Entry: ...

    def publish(self, table: str) -> Entry: ...

    def deprecate(self, table: str, reason: str = "", superseded_by: str | None = None) -> Entry: ...

    def unregister(self, table: str, force: bool = False) -> Entry: ...

    def plan(self, request: PlanRequest) -> Plan: ...

    def grant(self, id: str) -> Grant: ...

    def mat_versions(self, datastack: str) -> tuple[MaterializationVersion, ...]: ...

    def datastacks(self) -> tuple[Datastack, ...]: ...

    def export(self, name: str) -> str: ...

    def close(self) -> None: ...
