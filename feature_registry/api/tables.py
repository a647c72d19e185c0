"""Routes of what is registered: datastacks, tables, their versions and history."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Response

from feature_registry.api.people import Acting
from feature_registry.model import (
    Datastack,
    Entry,
    Event,
    Found,
    Lineage,
    MaterializationVersion,
    Noun,
    Registration,
    Report,
    Search,
)

router = APIRouter(prefix="/v1", tags=["tables"])

Ref = Annotated[str, Path(description="datastack/name@mat_version; without @, the latest")]
DatastackName = Annotated[str, Path(description="the datastack's name")]
ExportName = Annotated[str, Path(description="which export")]


class Deprecation(Noun):
    reason: str = ""
    superseded_by: str | None = None


@router.get("/datastacks")
def datastacks(registry: Acting) -> tuple[Datastack, ...]:
    """All datastacks."""
    return registry.datastacks()


@router.get("/datastacks/{datastack}/versions")
def mat_versions(datastack: DatastackName, registry: Acting) -> tuple[MaterializationVersion, ...]:
    """A datastack's materialization versions."""
    return registry.mat_versions(datastack)


@router.get("/tables")
def search(wanted: Annotated[Search, Query()], registry: Acting) -> Found:
    """Full-text search and filters over tables, a page at a time."""
    return registry.search(wanted)


@router.post("/tables", status_code=201)
def register(registration: Registration, registry: Acting, response: Response) -> Report:
    """Registers the table at a location; 200 if the same location and snapshot was registered before."""
    report = registry.register(registration)
    response.status_code = 201 if report.created else 200
    return report


@router.post("/tables/preview")
def preview(registration: Registration, registry: Acting) -> Report:
    """The report of a registration, without registering."""
    return registry.preview(registration)


@router.get("/tables/{table:path}")
def describe(table: Ref, registry: Acting) -> Entry:
    """The entry of `datastack/name@mat_version`."""
    return registry.describe(table)


@router.patch("/tables/{table:path}")
def edit(table: Ref, changes: Annotated[dict[str, Any], Body()], registry: Acting) -> Entry:
    """Changes what is said about a table."""
    return registry.edit(table, changes)


@router.get("/history/{table:path}")
def history(table: Ref, registry: Acting) -> tuple[Event, ...]:
    """Every change of a table, oldest first."""
    return registry.history(table)


@router.get("/lineage/{table:path}")
def lineage(table: Ref, registry: Acting) -> Lineage:
    """What a table version was derived from, and what was derived from it."""
    return registry.lineage(table)


@router.get("/resolve/{table:path}")
def resolve(table: Ref, registry: Acting) -> Entry:
    """The table itself, or the newest of those that superseded it."""
    return registry.resolve(table)


@router.post("/publish/{table:path}")
def publish(table: Ref, registry: Acting) -> Entry:
    """Makes a draft visible to all."""
    return registry.publish(table)


@router.post("/deprecate/{table:path}")
def deprecate(table: Ref, deprecation: Deprecation, registry: Acting) -> Entry:
    """Marks a published version; it stays readable, with a warning that names its successor."""
    return registry.deprecate(table, deprecation.reason, deprecation.superseded_by)


@router.get("/exports/{name}")
def export(name: ExportName, registry: Acting) -> Response:
    """The published catalog in one of the exports' forms."""
    return Response(registry.export(name), media_type="application/json")
