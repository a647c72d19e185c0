"""Reads entries: a table, one of its versions, and the materialization version that it belongs to."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import TypeAdapter

from feature_registry.catalog import said
from feature_registry.catalog.changes import chunks
from feature_registry.catalog.manifests import ManifestPart as ManifestPart  # noqa: PLC0414
from feature_registry.catalog.manifests import keep_manifests as keep_manifests  # noqa: PLC0414
from feature_registry.catalog.manifests import manifest as manifest  # noqa: PLC0414
from feature_registry.catalog.manifests import replace_manifest as replace_manifest  # noqa: PLC0414
from feature_registry.catalog.rows import insert_new
from feature_registry.catalog.schema import (
    SAID,
    UNREGISTERED,
    UNVERSIONED,
    datastacks,
    events,
    facets,
    feature_tables,
    mat_versions,
    schemas,
    subjects,
    versions,
)
from feature_registry.catalog.types import Text
from feature_registry.location import Location
from feature_registry.model import (
    Datastack,
    Entry,
    FeatureTable,
    Inspection,
    MaterializationVersion,
    Person,
    StoredField,
    TableRef,
    TableVersion,
)


class Place(NamedTuple):
    """What is registered at a location, and whether the person who asked may know of it."""

    datastack: str
    name: str
    mat_version: int | None
    shown: bool

    def __str__(self) -> str:
        return f"{self.datastack}/{self.name}@{'unversioned' if self.mat_version is None else self.mat_version}"


# A table version belongs to its datastack's materialization version, which need not be recorded.
MATERIALIZED = sa.and_(
    mat_versions.c.datastack == feature_tables.c.datastack, mat_versions.c.mat_version == versions.c.mat_version
)
_MATERIALIZED = (
    versions.join(feature_tables, feature_tables.c.id == versions.c.table_id)
    .join(events, SAID)
    .outerjoin(mat_versions, MATERIALIZED)
)
JOINED = _MATERIALIZED.join(schemas, schemas.c.id == versions.c.schema_id)
SAID_OF = (
    sa.type_coerce(events.c.details, Text).label("details"),
    sa.type_coerce(versions.c.patch, Text).label("patch"),
    versions.c.status,
)
_VERSION = (
    *SAID_OF,
    sa.cast(mat_versions.c.body, sa.Text).label("materialization"),
)
SELECTED = (
    *_VERSION,
    sa.cast(schemas.c.fields, sa.Text).label("fields"),
    schemas.c.arrow_schema,
    sa.cast(feature_tables.c.body, sa.Text).label("table"),
)
_IDS: sa.BindParameter[str] = sa.bindparam("ids", expanding=True)
_WHOLE = sa.select(*SELECTED).select_from(JOINED).where(versions.c.id.in_(_IDS))
# Without the columns, which are most of an entry.
_BRIEF = (
    sa.select(
        *_VERSION,
        sa.cast(feature_tables.c.brief, sa.Text).label("table"),
    )
    .select_from(_MATERIALIZED)
    .where(versions.c.id.in_(_IDS))
)
# Statements of fixed form are built once: SQLAlchemy takes longer to build one than the database to answer it.
NAMED = sa.and_(feature_tables.c.datastack == sa.bindparam("datastack"), feature_tables.c.name == sa.bindparam("name"))


def numbered(of: sa.FromClause = versions) -> sa.ColumnElement[int]:
    """The materialization version; of what is unversioned, -1."""
    return sa.func.coalesce(of.c.mat_version, UNVERSIONED)


AT = NAMED & (numbered() == sa.func.coalesce(sa.bindparam("mat_version", type_=sa.Integer), UNVERSIONED))
MINE = sa.or_(versions.c.status != "draft", versions.c.created_by == sa.bindparam("person"))
_ENTRY = sa.select(*SELECTED).select_from(JOINED).limit(1)
_NEWEST = _ENTRY.order_by(versions.c.revision.desc())
_LATEST = _ENTRY.where(NAMED, versions.c.id == feature_tables.c.face_id)
_REVISION = _ENTRY.where(AT, MINE, versions.c.revision == sa.bindparam("revision"))
_CURRENT = _ENTRY.where(AT, MINE).order_by(versions.c.current.desc(), versions.c.revision.desc())
_BY_ID = _ENTRY.where(versions.c.id == sa.bindparam("version_id"))
_BY_RUN = _NEWEST.where(AT, versions.c.run_id == sa.bindparam("run_id"))
_AT_PLACE = _NEWEST.where(
    AT, versions.c.location == sa.bindparam("location"), versions.c.identity == sa.bindparam("identity")
)
_DRAFT = _NEWEST.where(AT, MINE, versions.c.status == "draft")
_VERSIONS_OF_TABLES = versions.join(feature_tables, feature_tables.c.id == versions.c.table_id)
_SHOWN = sa.or_(versions.c.status != "draft", versions.c.created_by == sa.bindparam("person"))
_PLACES = (
    sa.select(
        feature_tables.c.datastack,
        feature_tables.c.name,
        versions.c.mat_version,
        sa.func.max(sa.case((_SHOWN, 1), else_=0)).label("shown"),
    )
    .select_from(_VERSIONS_OF_TABLES)
    .group_by(feature_tables.c.datastack, feature_tables.c.name, versions.c.mat_version)
)
_PLACES_AT = _PLACES.where(versions.c.location == sa.bindparam("location"))
_NEWEST_REVISION = sa.select(sa.func.max(versions.c.revision)).select_from(_VERSIONS_OF_TABLES).where(AT)
_GONE = sa.select(events.c.details).where(
    UNREGISTERED,
    events.c.subject_id
    == sa.select(subjects.c.id)
    .where(subjects.c.datastack == sa.bindparam("datastack"), subjects.c.name == sa.bindparam("name"))
    .scalar_subquery(),
)
_TABLE = sa.select(feature_tables.c.body).where(NAMED)
_DATASTACK = sa.select(sa.true()).where(datastacks.c.name == sa.bindparam("datastack"))
_SCHEMA = sa.select(sa.true()).where(schemas.c.id == sa.bindparam("schema"))
_MATERIALIZATION = sa.select(mat_versions.c.body).where(
    mat_versions.c.datastack == sa.bindparam("datastack"), mat_versions.c.mat_version == sa.bindparam("mat_version")
)


def entry_of(row: Any) -> Entry:
    fields = _parsed(tuple[StoredField, ...], row.fields)
    return _entry(row, _parsed(FeatureTable, row.table), said.version(row, fields, row.arrow_schema))


def _brief_of(row: Any) -> Entry:
    """In a list no table comes twice, and is small."""
    return _entry(row, FeatureTable.model_validate_json(row.table), said.brief(row))


def _entry(row: Any, table: FeatureTable, version: TableVersion) -> Entry:
    frozen = _parsed(MaterializationVersion, row.materialization) if row.materialization else None
    return Entry(table=table, version=version, materialization=frozen)


# Much of an entry is the same for many: all versions have their table's columns.
# Remembered by what was read of it this time, so never out of date.
@lru_cache(maxsize=4000)
def _parsed(kind: Any, text: str) -> Any:
    return _adapter(kind).validate_json(text)


_adapter = lru_cache(TypeAdapter)


def _first(connection: sa.Connection, statement: sa.Select[Any], **values: Any) -> Entry | None:
    row = connection.execute(statement, values).one_or_none()
    return None if row is None else entry_of(row)


def named(ref: TableRef) -> sa.ColumnElement[bool]:
    return sa.and_(feature_tables.c.datastack == ref.datastack, feature_tables.c.name == ref.name)


def _said(ref: TableRef) -> dict[str, Any]:
    """The values of `AT`."""
    return {"datastack": ref.datastack, "name": ref.name, "mat_version": number(ref)}


def find(connection: sa.Connection, ref: TableRef, person: str) -> Entry | None:
    """What the person gets for a reference: the current revision, else the newest draft of their own."""
    if ref.mat_version == "latest":
        return _first(connection, _LATEST, datastack=ref.datastack, name=ref.name)
    if ref.revision is not None:
        return _first(connection, _REVISION, **_said(ref), person=person, revision=ref.revision)
    return _first(connection, _CURRENT, **_said(ref), person=person)


def number(ref: TableRef) -> int | None:
    return ref.mat_version if isinstance(ref.mat_version, int) else None


def by_id(connection: sa.Connection, version_id: str) -> Entry | None:
    return _first(connection, _BY_ID, version_id=version_id)


def made_by(connection: sa.Connection, ref: TableRef, run_id: str) -> Entry | None:
    """The newest revision that a run made, whatever its status."""
    return _first(connection, _BY_RUN, **_said(ref), run_id=run_id)


def of_run(connection: sa.Connection, run_id: str) -> tuple[Entry, ...]:
    """All versions that a run made, whatever their status."""
    statement = sa.select(*SELECTED).select_from(JOINED).where(versions.c.run_id == run_id)
    return tuple(map(entry_of, connection.execute(statement.order_by(versions.c.id))))


def identity(snapshot: str | None, fingerprint: str) -> bytes:
    """What tells one state of a location from another. The fingerprint, too: a table may be written anew in place, and
    its log then begins again at the same snapshot.
    """
    said = f"{'' if snapshot is None else snapshot}@{fingerprint}"
    return hashlib.sha256(said.encode()).digest()[:16]


def at_place(connection: sa.Connection, ref: TableRef, seen: Inspection) -> Entry | None:
    """The table's version that is registered with this location in this state."""
    state = identity(seen.snapshot, seen.fingerprint)
    return _first(connection, _AT_PLACE, **_said(ref), location=str(seen.location), identity=state)


def below(connection: sa.Connection, location: Location) -> tuple[Entry, ...]:
    """All versions at a location or below it, whatever their status."""
    chosen = sa.select(*SELECTED).select_from(JOINED).where(at_or_below(location))
    return tuple(map(entry_of, connection.execute(chosen.order_by(versions.c.location, versions.c.revision))))


def at_or_below(location: Location) -> sa.ColumnElement[bool]:
    return sa.or_(versions.c.location == str(location), _below(location))


def _below(location: Location) -> sa.ColumnElement[bool]:
    place = location.removesuffix("/")
    return sa.and_(versions.c.location > f"{place}/", versions.c.location < f"{place}0")  # which follows the slash


def places(connection: sa.Connection) -> dict[str, str]:
    """The location of each version by its id; also of those that were published before they were unregistered."""
    found = {row.id: row.location for row in connection.execute(sa.select(versions.c.id, versions.c.location))}
    published = sa.select(events.c.version_id).where(events.c.kind == "published")
    ended = sa.select(events.c.version_id, events.c.details).where(UNREGISTERED, events.c.version_id.in_(published))
    # What was kept to its end is promised no longer.
    gone = [row.version_id for row in connection.execute(ended) if row.details.get("expired") is None]
    moves = sa.select(events.c.version_id, events.c.details).where(events.c.kind.in_(("registered", "relocated")))
    moves = moves.where(events.c.version_id.in_(sa.bindparam("gone", expanding=True))).order_by(events.c.number)
    for row in (row for some in chunks(gone) for row in connection.execute(moves, {"gone": some})):
        inspection = row.details["version"]["inspection"] if "version" in row.details else row.details["inspection"]
        found[row.version_id] = inspection["location"]
    return found


def places_of(connection: sa.Connection, location: str, person: Person) -> list[Place]:
    """All that is registered at a location, others' drafts too."""
    rows = connection.execute(_PLACES_AT, {"location": location, "person": person.name})
    return [_place(row, person) for row in rows]


def places_below(connection: sa.Connection, location: Location, person: Person) -> list[Place]:
    """The same of all that is registered below it, and not at it."""
    rows = connection.execute(_PLACES.where(_below(location)), {"person": person.name})
    return [_place(row, person) for row in rows]


def _place(row: sa.Row[Any], person: Person) -> Place:
    return Place(row.datastack, row.name, row.mat_version, person.admin or bool(row.shown))


def next_revision(connection: sa.Connection, ref: TableRef) -> int:
    """A number that was never given, not even to one that was unregistered."""
    kept = connection.execute(_NEWEST_REVISION, _said(ref)).scalar()
    gone = connection.execute(_GONE, {"datastack": ref.datastack, "name": ref.name}).scalars()
    numbers = [details["revision"] for details in gone if details["mat_version"] == number(ref)]
    return max(numbers if kept is None else [*numbers, kept], default=-1) + 1


def revisions(connection: sa.Connection, ref: TableRef) -> tuple[Entry, ...]:
    """All revisions of a table version, drafts too, oldest first."""
    wanted = named(ref) & versions.c.mat_version.is_not_distinct_from(number(ref))
    statement = sa.select(*SELECTED).select_from(JOINED).where(wanted).order_by(versions.c.revision)
    return tuple(map(entry_of, connection.execute(statement)))


def table(connection: sa.Connection, datastack: str, name: str) -> FeatureTable | None:
    body = connection.execute(_TABLE, {"datastack": datastack, "name": name}).scalar()
    return None if body is None else FeatureTable.model_validate(body)


def versions_of(connection: sa.Connection, ref: TableRef, person: str) -> list[int | None]:
    """The materialization versions at which the person sees the table."""
    seen = named(ref) & sa.or_(versions.c.status != "draft", versions.c.created_by == person)
    chosen = sa.select(versions.c.mat_version).select_from(_VERSIONS_OF_TABLES).where(seen).distinct()
    return list(connection.execute(chosen.order_by(versions.c.mat_version)).scalars())


def is_bare(connection: sa.Connection, ref: TableRef) -> bool:
    """Whether the table is known, and has no version."""
    none = ~sa.exists().where(versions.c.table_id == feature_tables.c.id)
    return connection.execute(sa.select(feature_tables.c.id).where(named(ref), none)).first() is not None


def has_datastack(connection: sa.Connection, name: str) -> bool:
    return connection.execute(_DATASTACK, {"datastack": name}).scalar() is not None


def all_datastacks(connection: sa.Connection) -> tuple[Datastack, ...]:
    chosen = sa.select(datastacks.c.body).order_by(datastacks.c.name)
    return tuple(Datastack.model_validate(body) for body in connection.execute(chosen).scalars())


def materialization(connection: sa.Connection, datastack: str, mat_version: int) -> MaterializationVersion | None:
    body = connection.execute(_MATERIALIZATION, {"datastack": datastack, "mat_version": mat_version}).scalar()
    return None if body is None else MaterializationVersion.model_validate(body)


def materializations(connection: sa.Connection, datastack: str) -> tuple[MaterializationVersion, ...]:
    chosen = sa.select(mat_versions.c.body).where(mat_versions.c.datastack == datastack)
    bodies = connection.execute(chosen.order_by(mat_versions.c.mat_version)).scalars()
    return tuple(MaterializationVersion.model_validate(body) for body in bodies)


def keep_schema(connection: sa.Connection, schema_id: str, fields: list[Any], arrow_schema: str) -> None:
    """Schemas are named by their content's hash, so equal ones are kept once, also when two come at once."""
    if connection.execute(_SCHEMA, {"schema": schema_id}).scalar() is None:
        insert_new(connection, schemas, [{"id": schema_id, "fields": fields, "arrow_schema": arrow_schema}])


def by_ids(connection: sa.Connection, ids: list[str], columns: bool) -> tuple[Entry, ...]:
    """In the order of the ids; without `columns`, briefly."""
    rows = connection.execute(_WHOLE if columns else _BRIEF, {"ids": ids})
    found = {entry.version.id: entry for entry in map(entry_of if columns else _brief_of, rows.all())}
    return tuple(found[id] for id in ids if id in found)


def known(connection: sa.Connection, ids: list[str]) -> set[str]:
    return set(connection.execute(sa.select(versions.c.id).where(versions.c.id.in_(ids))).scalars())


def of_table(connection: sa.Connection, datastack: str, name: str) -> tuple[Entry, ...]:
    """All its versions, drafts too, in the order of their making."""
    wanted = named(TableRef(datastack=datastack, name=name))
    found = map(entry_of, connection.execute(sa.select(*SELECTED).select_from(JOINED).where(wanted)))
    return tuple(sorted(found, key=lambda entry: (entry.version.created_at, entry.version.revision)))


def tagged(connection: sa.Connection, tag: str, datastack: str | None) -> list[FeatureTable]:
    has = sa.exists().where(facets.c.table_id == feature_tables.c.id, facets.c.kind == "tag", facets.c.value == tag)
    chosen = sa.select(feature_tables.c.body).where(has).order_by(feature_tables.c.datastack, feature_tables.c.name)
    chosen = chosen if datastack is None else chosen.where(feature_tables.c.datastack == datastack)
    return [FeatureTable.model_validate(body) for body in connection.execute(chosen).scalars()]


def tables(connection: sa.Connection, after: tuple[str, str] | None, limit: int) -> list[tuple[str, str]]:
    """The next (datastack, name)."""
    key = (feature_tables.c.datastack, feature_tables.c.name)
    chosen = sa.select(*key).order_by(*key).limit(limit)
    if after is not None:
        chosen = chosen.where(sa.tuple_(*key) > sa.tuple_(*map(sa.literal, after)))
    return [(row.datastack, row.name) for row in connection.execute(chosen)]


def newest_draft(connection: sa.Connection, ref: TableRef, person: str) -> Entry | None:
    return _first(connection, _DRAFT, **_said(ref), person=person)
