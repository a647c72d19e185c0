"""The catalog for whoever keeps a copy of it in step: what changed since, what is known, and all tables in turn."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from feature_registry.catalog import Connection, entries, events, graph
from feature_registry.errors import Conflict, Invalid
from feature_registry.model import Changes, Entry, Event

if TYPE_CHECKING:
    from feature_registry.registry import Registry

MOST = 1000  # events in one answer
PAUSE = 0.5  # seconds between two looks
LONGEST_WAIT = 60.0  # seconds


def alone(registry: Registry, work: str) -> AbstractContextManager[bool]:
    """Whether nobody else does this work on the catalog, until the block ends or the process dies."""
    return registry.database.alone(work)


def changes(registry: Registry, after: int, limit: int) -> tuple[Event, ...]:
    """The events that follow a number, in the order of their commits; none is ever missed."""
    with registry.database.read() as connection:
        return events.following(connection, after, limit)


def feed(  # noqa: PLR0917
    registry: Registry, after: int, limit: int, datastack: str | None, kind: str | None, wait: float
) -> Changes:
    """The next part for somebody who follows, without what is about others' drafts; it is asked for twice a second
    until there is something, or until they waited long enough.
    """
    until = time.monotonic() + min(wait, LONGEST_WAIT)
    while True:
        found = _part(registry, after, limit, datastack, kind)
        after = found.next
        if found.events or time.monotonic() + PAUSE > until:
            return found
        time.sleep(PAUSE)


def _part(registry: Registry, after: int, limit: int, datastack: str | None, kind: str | None) -> Changes:
    if after < 0 or not 1 <= limit <= MOST:
        wrong = ("after", after, "0 or more") if after < 0 else ("limit", limit, f"1 to {MOST}")
        raise Invalid("is no such number", field=wrong[0], value=wrong[1], expected=wrong[2])
    with registry.database.read() as connection:
        newest = events.newest(connection)  # first: all up to it can be read from now on
        if after > newest:
            message = f"is beyond the newest change, {newest}: this catalog is not the one that was followed"
            raise Conflict(message, field="after", value=after, expected="0, to resume from the beginning")
        found = events.following(connection, after, limit, datastack, kind)
        shown = found if registry.person.admin else _shown(connection, found, registry.person.name)
    newest = max(newest, found[-1].number) if found else newest
    return Changes(events=shown, next=found[-1].number if len(found) == limit else newest, newest=newest)


def _shown(connection: Connection, found: Sequence[Event], person: str) -> tuple[Event, ...]:
    drafts = events.of_drafts(connection, found, person)
    of_tables = {f"{event.datastack}/{event.name}" for event in found if event.name and event.version_id is None}
    hidden = graph.hidden(connection, of_tables, person)
    return tuple(
        event
        for event in found
        if event.version_id not in drafts
        and (event.version_id is not None or f"{event.datastack}/{event.name}" not in hidden)
    )


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
