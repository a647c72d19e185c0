"""The catalog's own past: the events up to an instant, derived anew into a catalog in memory that answers as ours does.

What was is never changed, so what was derived once is kept while there is room.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import cast

import sqlalchemy as sa
from pydantic_core import from_json, to_json
from sqlalchemy.pool import StaticPool

from feature_registry.catalog import documents
from feature_registry.catalog.changes import Changes, chunks
from feature_registry.catalog.database import Database
from feature_registry.catalog.derivation import derive
from feature_registry.catalog.events import newest, newest_at
from feature_registry.catalog.schema import (
    RECORD,
    events,
    grants,
    manifest_forms,
    manifests,
    metadata,
    schemas,
    subjects,
)
from feature_registry.model import Event, aware

STATES_KEPT = 64
EVENTS_KEPT = 300_000  # of all states in memory; about 500 MB
PAGE = 5_000
Scope = tuple[str | None, str | None]  # only this datastack, only this table of it


class Past:
    """The states of a catalog at instants before now."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._states: OrderedDict[tuple[int, Scope], State] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def read(
        self, as_of: datetime | None, datastack: str | None = None, name: str | None = None
    ) -> Iterator[sa.Connection]:
        """The catalog as it was, of which only the datastack's or the table's part may be there; None: as it is.

        Datastacks bring their materialization versions.
        """
        if as_of is None:
            with self._database.read() as connection:
                yield connection
            return
        with self._database.read(snapshot=True) as connection:
            number = newest_at(connection, aware("as_of", as_of))
            if number == newest(connection):  # nothing happened since
                yield connection
                return
        state = self._state(number, (datastack, name))
        with state.lock:
            yield state.derived(self._database)

    def _state(self, number: int, scope: Scope) -> State:
        """The state, known or to be derived; the least recently asked for make room."""
        with self._lock:
            state = self._states.pop((number, scope), None) or State(number, scope)
            self._states[number, scope] = state
            while len(self._states) > 1 and self._is_full():
                self._states.popitem(last=False)
            return state

    def _is_full(self) -> bool:
        return len(self._states) > STATES_KEPT or sum(each.size for each in self._states.values()) > EVENTS_KEPT


class State:
    """A catalog in memory as of an event. One at a time reads it, who holds its lock."""

    def __init__(self, number: int, scope: Scope) -> None:
        self.lock = threading.RLock()
        self.size = 0  # events
        self._number = number
        self._scope = scope
        self._connection: sa.Connection | None = None

    def derived(self, database: Database) -> sa.Connection:
        if self._connection is None:
            engine = sa.create_engine(
                "sqlite://",
                poolclass=StaticPool,
                connect_args={"check_same_thread": False},
                json_serializer=lambda value: to_json(value).decode(),
                json_deserializer=from_json,
            )
            weakref.finalize(self, engine.dispose)
            connection = engine.connect()
            kept = [table for table in metadata.sorted_tables if table not in (manifest_forms, manifests, grants)]
            metadata.create_all(connection, kept)
            documents.create(connection)
            with database.read(snapshot=True) as source:
                self._replay(source, connection)
            connection.commit()
            self._connection = connection
        return self._connection

    def _replay(self, source: sa.Connection, target: sa.Connection) -> None:
        chosen = _RECORD.where(events.c.number <= self._number, *_within(self._scope)).order_by(events.c.number)
        changes, known = Changes(target, empty=True), set[str]()
        target.execute(sa.insert(subjects), [dict(row) for row in source.execute(sa.select(subjects)).mappings()])
        for page in source.execution_options(yield_per=PAGE).execute(chosen).partitions():
            self.size += len(page)
            registered = [row._mapping for row in page if row.kind == "registered"]
            for some in chunks({row["details"]["schema"] for row in registered} - known):
                known.update(some)
                copied = source.execute(sa.select(schemas).where(schemas.c.id.in_(some)))
                target.execute(sa.insert(schemas), [dict(row._mapping) for row in copied])
            derive(changes, cast("Sequence[Event]", page))  # rows are as good, and validated long ago
            changes.flush()
            if registered:
                rows = [{name: row[name] for name in _KEPT} | {"details": row["packed"]} for row in registered]
                target.execute(sa.insert(events), rows)
        changes.write()


# As events are stored, too, so that those that hold what versions are need not be packed again.
_RECORD = RECORD.add_columns(events.c.subject_id, sa.type_coerce(events.c.details, sa.LargeBinary).label("packed"))
_KEPT = ("number", "at", "by", "kind", "subject_id", "version_id")


def _within(scope: Scope) -> Iterator[sa.ColumnElement[bool]]:
    datastack, name = scope
    if datastack is not None:
        yield subjects.c.datastack == datastack
    if name is not None:
        yield subjects.c.name.in_((name, ""))
