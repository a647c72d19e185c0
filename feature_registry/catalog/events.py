"""The record: every change is an event, appended together with what is derived from it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from feature_registry.catalog.derivation import derive
from feature_registry.catalog.schema import events
from feature_registry.model import Event


def record(
    connection: sa.Connection,
    kind: str,
    *,
    by: str,
    datastack: str,
    name: str | None = None,
    version_id: str | None = None,
    details: dict[str, Any] | None = None,
) -> Event:
    """Appends an event and derives the new state from it, both in the caller's transaction."""
    row = {
        "at": datetime.now(UTC),
        "by": by,
        "kind": kind,
        "datastack": datastack,
        "name": name,
        "version_id": version_id,
        "details": details or {},
    }
    number = connection.execute(sa.insert(events).values(row).returning(events.c.number)).scalar_one()
    event = Event(number=number, **row)
    derive(connection, event)
    return event


def history(connection: sa.Connection, datastack: str, name: str) -> tuple[Event, ...]:
    """All events of a table, oldest first."""
    chosen = sa.select(events).where(events.c.datastack == datastack, events.c.name == name)
    return tuple(Event(**row._mapping) for row in connection.execute(chosen.order_by(events.c.number)))


def newest(connection: sa.Connection) -> int:
    """The number of the newest event; 0 before the first."""
    return connection.execute(sa.select(sa.func.max(events.c.number))).scalar() or 0
