"""What events change of the current state: gathered in memory, then written at once, be it of one event or of all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import sqlalchemy as sa

from feature_registry.catalog import graph
from feature_registry.catalog.documents import index
from feature_registry.catalog.rows import Row, insert, insert_new, upsert
from feature_registry.catalog.schema import (
    SAID,
    datastacks,
    events,
    facets,
    feature_tables,
    lineage,
    manifests,
    mat_versions,
    producers,
    schemas,
    unregistered,
    versions,
)
from feature_registry.model import FeatureTable

T = TypeVar("T")
Key = tuple[str, str]  # a table's datastack and name
_COLUMNS = ("datastack", "name", "license", "mutability", "durability")
OBSERVED = ("column", "partition", "layout", "bucketed")  # the facets that come from a table's versions


class Changes:
    """Asks the database for what an event changes and no event before it made; `write` writes the rest. An empty
    database need not be asked for what is said of a table.
    """

    def __init__(self, connection: sa.Connection, empty: bool = False) -> None:
        self.connection = connection
        self._empty = empty
        self.datastacks: dict[str, Row] = {}
        self.mat_versions: dict[tuple[str, int], Row] = {}
        self.touched: set[Key] = set()  # tables whose face may be another
        self._bodies: dict[Key, Row] = {}  # of the tables that were described
        self._unwritten: set[Key] = set()
        self._ids: dict[Key, int] = {}
        self._added: dict[str, tuple[Key, Row]] = {}
        self._details: dict[str, Row] = {}  # what was said of the added ones
        self._producers: dict[int, Row] = {}
        self._columns: dict[str, list[str]] = {}
        self._parents: dict[str, list[Row]] = {}
        self._materialized: set[tuple[str, int]] = set()  # versions that may be valid or not, now
        self._seen: dict[Key, set[tuple[str, str]]] = {}  # observed facets
        self._thinned: set[Key] = set()  # tables that lost a version

    def body(self, key: Key) -> Row | None:
        if key in self._bodies or self._empty:
            return self._bodies.get(key)
        found: Row | None = self.connection.execute(sa.select(feature_tables.c.body).where(_named(key))).scalar()
        return found

    def describe(self, key: Key, body: Row) -> None:
        self._bodies[key] = body
        self._unwritten.add(key)

    def add(  # noqa: PLR0917
        self, key: Key, row: Row, details: Row, producer: Row, parents: Iterable[Row], seen: Iterable[tuple[str, str]]
    ) -> None:
        """A new version's row without its `table_id`, what was said of it, what made it, its lineage, and the facets
        that were seen in it beside its columns.
        """
        self._added[row["id"]] = (key, row | {"patch": None})
        self._details[row["id"]] = details
        self._producers[producer["id"]] = producer
        self._parents[row["id"]] = list(parents)
        found = self._seen.setdefault(key, set())
        found.update(seen)
        found.update(("column", name) for name in self._columns_of(row["schema_id"]))

    def said(self, version_id: str) -> Row:
        """What was said of a version, as it is now: `version`, `checks`."""
        if version_id in self._added:
            return patched(self._details[version_id], self._added[version_id][1]["patch"])
        row = self.connection.execute(_SAID, {"version_id": version_id}).one()
        return patched(row.details, row.patch)

    def patch(self, version_id: str, **fields: Any) -> None:
        """Changes what was said of a version."""
        if version_id in self._added:
            before = self._added[version_id][1]["patch"]
        else:
            chosen = sa.select(versions.c.patch).where(versions.c.id == version_id)
            before = self.connection.execute(chosen).scalar_one()
        self.change(version_id, patch=(before or {}) | fields)

    def change(self, version_id: str, **values: Any) -> None:
        if version_id in self._added:
            self._added[version_id][1].update(values)
        else:
            self.connection.execute(sa.update(versions).where(versions.c.id == version_id).values(values))

    def remove(self, key: Key, version_id: str, at: str) -> None:
        """Forgets a version, whose exact reference goes on being known."""
        insert_new(self.connection, unregistered, [{"table": "/".join(key), "at": at}])
        self.touched.add(key)
        self._thinned.add(key)
        if self._added.pop(version_id, None) is None:
            graph.forget(self.connection, version_id)
            for column in (manifests.c.version_id, versions.c.id):
                self.connection.execute(sa.delete(column.table).where(column == version_id))
        self._parents.pop(version_id, None)

    def flush(self) -> None:
        """Writes the rows, so that they need not be kept; what is derived of all of them waits for `write`."""
        upsert(self.connection, datastacks, ("name",), list(self.datastacks.values()))
        upsert(self.connection, mat_versions, ("datastack", "mat_version"), list(self.mat_versions.values()))
        self._materialized |= set(self.mat_versions)
        rows = [_table_row(self._bodies[key]) for key in self._unwritten]
        upsert(self.connection, feature_tables, ("datastack", "name"), rows)
        self._find_ids()
        insert_new(self.connection, producers, list(self._producers.values()))
        rows = [
            # Most are the first of their materialization version; `write` sets right what is not.
            row | {"table_id": self._ids[key], "current": row["status"] == "published"}
            for key, row in self._added.values()
        ]
        insert(self.connection, versions, rows)
        insert(self.connection, lineage, [row for rows in self._parents.values() for row in rows])
        for written in (self.datastacks, self.mat_versions, self._unwritten, self._added, self._parents):
            written.clear()
        self._details.clear()
        self._producers.clear()

    def write(self) -> None:
        self.flush()
        self._write_facets()
        touched = {self._ids[key] for key in self.touched} | set(_tables_at(self.connection, self._materialized))
        for some in chunks(touched):
            self.connection.execute(_SET_CURRENT, {"tables": some})
            self.connection.execute(_SET_FACE, {"tables": some})

    def _columns_of(self, schema_id: str) -> list[str]:
        if schema_id not in self._columns:
            fields = self.connection.execute(_FIELDS, {"schema": schema_id}).scalar_one()
            self._columns[schema_id] = [field["name"] for field in fields]
        return self._columns[schema_id]

    def _find_ids(self) -> None:
        for some in chunks({*self._unwritten, *self._seen, *self.touched} - set(self._ids)):
            found = self.connection.execute(_IDS, {"names": some})
            self._ids |= {(row.datastack, row.name): row.id for row in found}

    def _write_facets(self) -> None:
        """And the documents, of tables that were described or whose columns are others now."""
        ids = self._ids
        stale = {ids[key]: body for key, body in self._bodies.items()}
        for some in chunks(stale):
            self.connection.execute(_UNSAY, {"tables": some})
        seen = dict(self._seen)
        for key in self._thinned:
            observed = facets.c.kind.in_(OBSERVED)
            self.connection.execute(sa.delete(facets).where(facets.c.table_id == ids[key], observed))
            seen[key] = set(_observed(self.connection, ids[key]))
        for key in set(seen) - set(self._bodies):
            if key in self._thinned or not seen[key] <= _held(self.connection, ids[key]):
                stale[ids[key]] = self.body(key) or {}
        wanted = {(ids[key], *facet) for key, found in seen.items() for facet in found}
        wanted |= {(ids[key], *facet) for key, body in self._bodies.items() for facet in _said(body)}
        rows = [{"table_id": id, "kind": kind, "value": value} for id, kind, value in wanted]
        insert_new(self.connection, facets, rows)
        for some in chunks(stale):
            index(self.connection, {id: stale[id] for id in some})


def patched(details: Row, patch: Row | None) -> Row:
    """What was said when a version was registered, as it is now."""
    if not patch:
        return details
    fields = {name: value for name, value in patch.items() if name not in ("inspection", "checks")}
    inspection = details["version"]["inspection"] | patch.get("inspection", {})
    version = details["version"] | fields | {"inspection": inspection}
    return details | {"version": version, "checks": patch.get("checks", details["checks"])}


def chunks(items: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """Lists that fit into one statement's parameters."""
    remaining = iter(items)
    while some := list(islice(remaining, size)):
        yield some


def _named(key: Key) -> sa.ColumnElement[bool]:
    return sa.and_(feature_tables.c.datastack == key[0], feature_tables.c.name == key[1])


def _table_row(body: Row) -> Row:
    owner = body.get("owner") or {}
    row = {name: body.get(name, FeatureTable.model_fields[name].default) for name in _COLUMNS}
    brief = {name: value for name, value in body.items() if name != "columns"}
    return row | {"team": owner.get("team"), "person": owner.get("person"), "body": body, "brief": brief}


def _said(body: Row) -> Iterator[tuple[str, str]]:
    """What people say that a table is found by."""
    columns = body.get("columns", {}).values()
    yield from (("tag", tag) for tag in body.get("tags", ()))
    yield from (("reference", target.rsplit(".", 1)[0]) for target in body.get("references", {}).values())
    sources = (source for column in columns for source in column.get("derived_from", ()))
    yield from (("source", each if "/" in each else f"{body['datastack']}/{each}") for each in sources)
    yield from (("key", column) for column in body.get("key", ()))
    if days := body.get("retention", {}).get("days"):
        yield "retention", str(days)
    yield from (("unit", column["unit"]) for column in columns if column.get("unit") is not None)
    yield from (("kind", column.get("kind", {}).get("kind", "plain")) for column in columns)
    yield from (("hash", buckets["column"]) for buckets in body.get("hash_buckets", ()))


def _held(connection: sa.Connection, table_id: int) -> set[tuple[str, str]]:
    chosen = sa.select(facets.c.kind, facets.c.value).where(facets.c.table_id == table_id, facets.c.kind.in_(OBSERVED))
    return {(row.kind, row.value) for row in connection.execute(chosen)}


def _observed(connection: sa.Connection, table_id: int) -> Iterator[tuple[str, str]]:
    """What the versions that a table still has are found by."""
    joined = versions.join(schemas, schemas.c.id == versions.c.schema_id).join(events, SAID)
    chosen = sa.select(schemas.c.fields, events.c.details).select_from(joined).where(versions.c.table_id == table_id)
    for row in connection.execute(chosen):
        yield from (("column", field["name"]) for field in row.fields)
        yield from found_by(row.details["version"])


def found_by(body: Row) -> Iterator[tuple[str, str]]:
    """What a version is found by beside its columns."""
    for seen in (body["inspection"], *body["inspection"]["layouts"]):
        yield from (("partition", name) for name in seen["partition_columns"])
    for layout in body["layouts"]:
        yield from (("layout", name) for name in (layout["name"], *layout["sort_by"]))
        yield from (("bucketed", buckets["column"]) for buckets in layout["hash_buckets"])


def _tables_at(connection: sa.Connection, changed: Collection[tuple[str, int]]) -> Iterator[int]:
    """The tables that have a version at one of these materialization versions."""
    joined = versions.join(feature_tables, feature_tables.c.id == versions.c.table_id)
    for some in chunks(changed):
        at = sa.tuple_(feature_tables.c.datastack, versions.c.mat_version).in_(some)
        chosen = sa.select(versions.c.table_id).select_from(joined).where(at).distinct()
        yield from connection.execute(chosen).scalars()


def _set_current() -> sa.Update:
    """Of the revisions at one materialization version, readers get the newest published, else deprecated one."""
    place = sa.func.row_number().over(
        partition_by=(versions.c.table_id, versions.c.mat_version),
        order_by=(versions.c.status != "published", versions.c.revision.desc()),
    )
    mine = versions.c.table_id.in_(_TABLES)
    ranked = sa.select(versions.c.id, place.label("place")).where(mine, versions.c.status != "draft").subquery()
    best = versions.c.id.in_(sa.select(ranked.c.id).where(ranked.c.place == 1))
    return sa.update(versions).where(mine, versions.c.current != best).values(current=best)


def _set_face() -> sa.Update:
    """Latest is the highest valid, published materialization version; unversioned tables are their own face."""
    table = feature_tables.alias()
    at = sa.and_(mat_versions.c.datastack == table.c.datastack, mat_versions.c.mat_version == versions.c.mat_version)
    best = (
        sa.select(versions.c.id)
        .select_from(versions.join(table, table.c.id == versions.c.table_id).outerjoin(mat_versions, at))
        .where(table.c.id == feature_tables.c.id, versions.c.current, sa.func.coalesce(mat_versions.c.valid, sa.true()))
        .order_by(versions.c.mat_version.is_(None), versions.c.status != "published", versions.c.mat_version.desc())
        .limit(1)
        .scalar_subquery()
    )
    return sa.update(feature_tables).where(feature_tables.c.id.in_(_TABLES)).values(face_id=best)


# Built once: SQLAlchemy takes longer to build a statement than the database to do what it says.
_TABLES: sa.BindParameter[Any] = sa.bindparam("tables", expanding=True)
_NAMES = sa.tuple_(feature_tables.c.datastack, feature_tables.c.name).in_(sa.bindparam("names", expanding=True))
_IDS = sa.select(feature_tables.c.datastack, feature_tables.c.name, feature_tables.c.id).where(_NAMES)
_UNSAY = sa.delete(facets).where(facets.c.table_id.in_(_TABLES), facets.c.kind.not_in(OBSERVED))
_SAID = sa.select(events.c.details, versions.c.patch).where(SAID, versions.c.id == sa.bindparam("version_id"))
_FIELDS = sa.select(schemas.c.fields).where(schemas.c.id == sa.bindparam("schema"))
_SET_CURRENT, _SET_FACE = _set_current(), _set_face()
