"""The record: every change is an event, appended together with what is derived from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic_core import PydanticSerializationError, to_json, to_jsonable_python

from feature_registry.catalog import texts
from feature_registry.catalog.changes import Changes, chunks
from feature_registry.catalog.database import lock_numbers
from feature_registry.catalog.derivation import derive
from feature_registry.catalog.rows import Row, insert_new
from feature_registry.catalog.schema import RECORD, events, subjects, versions
from feature_registry.model import Event, FeatureTable, Person, TableVersion

_SUBJECTS = sa.select(subjects).where(
    sa.tuple_(subjects.c.datastack, subjects.c.name).in_(sa.bindparam("named", expanding=True))
)


def new(
    kind: str,
    *,
    by: str,
    datastack: str,
    name: str | None = None,
    version_id: str | None = None,
    details: Any = None,
) -> Row:
    """An event to record; its details may hold nouns. Raises `Invalid` for a text that the catalog cannot keep."""
    try:
        details = to_jsonable_python(details or {})
        suspect = b"\\u0000" in to_json(details)
    except (UnicodeEncodeError, PydanticSerializationError):
        texts.check(details)  # which says where
        raise
    if suspect:
        texts.check(details)
    row = {"by": by, "kind": kind, "datastack": datastack, "name": name, "version_id": version_id}
    return row | {"details": details}


def about(noun: FeatureTable | TableVersion, by: str) -> dict[str, str]:
    """Who says something, and of which table or version: arguments of `new`."""
    named = {"by": by, "datastack": noun.datastack, "name": noun.name}
    return named | {"version_id": noun.id} if isinstance(noun, TableVersion) else named


def record(connection: sa.Connection, kind: str, **said: Any) -> None:
    """Appends one event; the arguments are those of `new`."""
    record_all(connection, [new(kind, **said)])


def record_all(connection: sa.Connection, news: Sequence[Row]) -> None:
    """Appends events and derives the new state from them, both in the caller's transaction. All at once: each takes
    a third of the time that it takes alone.
    """
    if news:
        changes = Changes(connection)
        derive(changes, [Event.model_construct(**row) for row in news])  # whatever its number and its time will be
        changes.write()
        ids = _subjects(connection, {(row["datastack"], row["name"] or "") for row in news})
        lock_numbers(connection)
        at = _instant(connection)
        rows = [{"at": at, "subject_id": ids[row["datastack"], row["name"] or ""]} | _own(row) for row in news]
        connection.execute(sa.insert(events), rows)


def _own(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("datastack", "name")}


def _subjects(connection: sa.Connection, named: Set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The ids of what events are about, which is added where it is new."""
    known: dict[tuple[str, str], int] = {}
    for some in chunks(named):
        known |= {(row.datastack, row.name): row.id for row in connection.execute(_SUBJECTS, {"named": some})}
    if named <= known.keys():
        return known
    new = [{"datastack": datastack, "name": name} for datastack, name in sorted(named - known.keys())]
    insert_new(connection, subjects, new)
    return _subjects(connection, named)


def _instant(connection: sa.Connection) -> datetime:
    """One instant for all events of a transaction, so that the past never shows a half of it, and never before an
    older event's: a clock that was set back waits here for its own time.
    """
    at: datetime | None = connection.get_execution_options().get("at")
    if at is None:
        before = connection.execute(sa.select(events.c.at).order_by(events.c.number.desc()).limit(1)).scalar()
        at = max(datetime.now(UTC), before) if before else datetime.now(UTC)
        connection.execution_options(at=at)  # of this connection, which serves this transaction only
    return at


def newest_at(connection: sa.Connection, instant: datetime) -> int:
    """The number of the newest event up to an instant; 0 before the first. Times ascend with the numbers."""
    low, high = 0, newest(connection)
    while low < high:
        middle = (low + high + 1) // 2
        row = connection.execute(_UP_TO, {"number": middle}).one_or_none()
        if row is None or row.at <= instant:
            low = middle
        else:
            high = row.number - 1
    return low


_UP_TO = sa.select(events.c.number, events.c.at).where(events.c.number <= sa.bindparam("number"))
_UP_TO = _UP_TO.order_by(events.c.number.desc()).limit(1)


def about_table(datastack: str, name: str) -> sa.ColumnElement[bool]:
    table = sa.and_(subjects.c.datastack == datastack, subjects.c.name == name)
    return events.c.subject_id == sa.select(subjects.c.id).where(table).scalar_subquery()


def history(connection: sa.Connection, datastack: str, name: str, as_of: datetime | None = None) -> tuple[Event, ...]:
    """All events of a table, oldest first."""
    chosen = RECORD.where(about_table(datastack, name))
    chosen = chosen if as_of is None else chosen.where(events.c.at <= as_of)
    return _read(connection, chosen)


def following(
    connection: sa.Connection, number: int, limit: int, datastack: str | None = None, kind: str | None = None
) -> tuple[Event, ...]:
    """The events after a number, in the order of their commits."""
    chosen = RECORD.where(events.c.number > number).limit(limit)
    chosen = chosen if datastack is None else chosen.where(subjects.c.datastack == datastack)
    return _read(connection, chosen if kind is None else chosen.where(events.c.kind == kind))


def of_drafts(connection: sa.Connection, some: Iterable[Event], person: str) -> set[str]:
    """The ids of versions in the events that are other people's drafts, or were until they were unregistered."""
    ids = {event.version_id: (event.datastack, event.name) for event in some if event.version_id is not None}
    held = sa.select(versions.c.id, versions.c.status, versions.c.created_by).where(versions.c.id.in_(ids))
    found = {row.id: row.status != "draft" or row.created_by == person for row in connection.execute(held)}
    gone = [version_id for version_id in ids if version_id not in found]
    if gone:
        named = sa.tuple_(subjects.c.datastack, subjects.c.name).in_({ids[version_id] for version_id in gone})
        of_tables = events.c.subject_id.in_(sa.select(subjects.c.id).where(named))
        told = sa.or_(events.c.kind == "published", sa.and_(events.c.kind == "registered", events.c.by == person))
        found |= dict.fromkeys(gone, False)
        seen = sa.select(events.c.version_id).where(of_tables, events.c.version_id.in_(gone), told)
        found |= dict.fromkeys(connection.execute(seen).scalars(), True)
    return {version_id for version_id, is_seen in found.items() if not is_seen}


def _read(connection: sa.Connection, chosen: sa.Select[Any]) -> tuple[Event, ...]:
    return tuple(Event(**row._mapping) for row in connection.execute(chosen.order_by(events.c.number)))


def maker(connection: sa.Connection, datastack: str, name: str) -> str | None:
    """Who registered the first of a table's versions; None before that."""
    first = sa.select(events.c.details).where(about_table(datastack, name), events.c.kind == "registered")
    details = connection.execute(first.order_by(events.c.number).limit(1)).scalar()
    return None if details is None else details["version"]["created_by"]


def names(
    connection: sa.Connection,
    as_of: datetime | None,
    datastack: str | None = None,
    person: Person | None = None,
    limit: int = 100,
) -> list[str]:
    """The datastacks that were known, or the tables of one of them that a person may know of."""
    column = subjects.c.datastack if datastack is None else subjects.c.name
    chosen = sa.select(column).where(column != "").distinct().order_by(column).limit(limit)
    chosen = chosen if datastack is None else chosen.where(subjects.c.datastack == datastack)
    told = sa.exists().where(events.c.subject_id == subjects.c.id)
    told = told if as_of is None else told.where(events.c.at <= as_of)
    if person is not None and not person.admin:
        told = told.where(sa.or_(events.c.kind == "published", events.c.by == person.name))
    chosen = chosen.where(told)
    return list(connection.execute(chosen).scalars())


def newest(connection: sa.Connection) -> int:
    """The number of the newest event; 0 before the first."""
    return connection.execute(sa.select(sa.func.max(events.c.number))).scalar() or 0


def unregistered(connection: sa.Connection) -> set[str]:
    """The ids of all versions that were ever unregistered."""
    return set(connection.execute(sa.select(events.c.version_id).where(events.c.kind == "unregistered")).scalars())


def said_at(connection: sa.Connection, datastack: str, name: str) -> datetime:
    """When the metadata of a table was said last. What came with a registration was said when the version was made,
    which for a restored one is long before its event.
    """
    seen = history(connection, datastack, name)
    last = max(at for at, event in enumerate(seen) if event.kind in ("described", "transferred"))
    later = [event for event in seen[last:] if event.kind == "registered"]
    made = [datetime.fromisoformat(event.details["version"]["created_at"]) for event in later]
    with_it = later and later[0].number == seen[last].number + 1
    return max(made if with_it else [seen[last].at, *made])
