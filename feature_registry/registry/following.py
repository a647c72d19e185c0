"""The catalog for whoever keeps a copy of it in step: what changed since, what is known, and all tables in turn."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from feature_registry.catalog import entries, events
from feature_registry.model import Entry, Event

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def alone(registry: Registry, work: str) -> AbstractContextManager[bool]:
    """Whether nobody else does this work on the catalog, until the block ends or the process dies."""
    return registry.database.alone(work)


def changes(registry: Registry, after: int, limit: int) -> tuple[Event, ...]:
    """The events that follow a number, in the order of their commits; none is ever missed."""
    with registry.database.read() as connection:
        return events.following(connection, after, limit)


def known(registry: Registry, ids: Iterable[str]) -> set[str]:
    """Which of the version ids the catalog holds."""
    with registry.database.read() as connection:
        return entries.known(connection, list(ids))


def entry(registry: Registry, version_id: str) -> Entry | None:
    with registry.database.read() as connection:
        return entries.by_id(connection, version_id)


def of_table(registry: Registry, datastack: str, name: str) -> tuple[Entry, ...]:
    """All revisions at all materialization versions, drafts too, in the order of their making."""
    with registry.database.read() as connection:
        return entries.of_table(connection, datastack, name)


def tables(registry: Registry, after: tuple[str, str] | None, limit: int) -> list[tuple[str, str]]:
    """The next (datastack, name) in the catalog's own order."""
    with registry.database.read() as connection:
        return entries.tables(connection, after, limit)
