"""Lineage in SQL: all edges that lead up or down from a table version are one query, however many they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import sqlalchemy as sa

from feature_registry.catalog.schema import UNVERSIONED, facets, feature_tables, lineage, unregistered, versions
from feature_registry.model import TableRef
from feature_registry.model.versions import DRIFT as _DRIFT

DRIFT = frozenset(_DRIFT)
CHUNK = 500  # of tables in one statement
WHOLE = {"depth": 1, "step": 0}  # a walk without a limit goes nowhere
# A version's exact reference, in two parts, as edges name it.
TABLE = feature_tables.c.datastack + "/" + feature_tables.c.name
AT = (
    sa.func.coalesce(sa.cast(versions.c.mat_version, sa.String), "unversioned")
    + "."
    + sa.cast(versions.c.revision, sa.String)
)
_OF_TABLES = versions.join(feature_tables, feature_tables.c.id == versions.c.table_id)
_SUPERSEDED = feature_tables.c.body["superseded_by"].as_string()
_NOWHERE = sa.literal_column("0", sa.Integer).label("distance")


class Edge(NamedTuple):
    """Exact references; of a parent that the catalog lacked and lacks, as it was named."""

    child: str
    parent: str


class Node(NamedTuple):
    """What the walks must know of a table version."""

    status: str
    created_by: str
    revised_by: str | None  # the newest published revision, where that is another and newer
    superseded_by: str | None
    drifted: bool  # and was not to


def exact(ref: str) -> str:
    """A reference without its revision that was kept as it was named: then nothing was known by it, and the first
    revision is meant.
    """
    parsed = TableRef.parse(ref)
    if parsed.revision is None and parsed.mat_version != "latest":
        parsed = parsed.model_copy(update={"revision": 0})
    return str(parsed)


def edges_of(body: dict[str, Any]) -> list[dict[str, str]]:
    """The rows of a version's edges to what it was derived from."""
    at = "unversioned" if body["mat_version"] is None else body["mat_version"]
    child = {"child_table": f"{body['datastack']}/{body['name']}", "child_at": f"{at}.{body['revision']}"}
    parents = (ref.split("@") for ref in dict.fromkeys(map(exact, body["derived_from"])))
    return [child | {"parent_table": table, "parent_at": at} for table, at in parents]


def forget(connection: sa.Connection, version_id: str) -> None:
    """The edges up from a version that is about to go; what was derived from it goes on saying so."""
    ref = sa.select(TABLE, AT).select_from(_OF_TABLES).where(versions.c.id == version_id)
    connection.execute(sa.delete(lineage).where(sa.tuple_(lineage.c.child_table, lineage.c.child_at).in_(ref)))


def derived_from(table: str) -> sa.ColumnElement[bool]:
    """Whether a version was derived from any of a table's."""
    own = sa.and_(lineage.c.child_table == TABLE, lineage.c.child_at == AT)
    return sa.exists().where(own, lineage.c.parent_table == table)


# ------------------------------------------------------------------------------------------------------------ walks


def _leading(near: str, far: str, start: sa.Select[Any]) -> sa.Select[Any]:
    """The edges that lead on from where one starts. They are found by node, so that none is taken twice; only where
    the walk has a limit is a node another one at another distance.
    """
    reached = start.cte("reached", recursive=True)
    at = sa.and_(lineage.c[f"{near}_table"] == reached.c.table, lineage.c[f"{near}_at"] == reached.c.at)
    within = reached.c.distance < sa.bindparam("depth", type_=sa.Integer)
    further = reached.c.distance + sa.bindparam("step", type_=sa.Integer)
    step = sa.select(lineage.c[f"{far}_table"], lineage.c[f"{far}_at"], further).join(reached, at).where(within)
    reached = reached.union(step)
    at = sa.and_(lineage.c[f"{near}_table"] == reached.c.table, lineage.c[f"{near}_at"] == reached.c.at)
    within = reached.c.distance < sa.bindparam("depth", type_=sa.Integer)
    child = (lineage.c.child_table + "@" + lineage.c.child_at).label("child")
    parent = (lineage.c.parent_table + "@" + lineage.c.parent_at).label("parent")
    return sa.select(child, parent).join(reached, at).where(within).distinct()


_WENT = sa.select(unregistered)
# What may make others stale: a version that readers get no more, or that is not what it was, and one that went.
_DOUBTED = sa.select(
    sa.union_all(
        sa.select(TABLE.label("table"), AT.label("at"), _NOWHERE)
        .select_from(_OF_TABLES)
        .where(
            sa.or_(~versions.c.current, versions.c.status == "deprecated", _SUPERSEDED.is_not(None), versions.c.failed)
        ),
        _WENT.add_columns(_NOWHERE),
    ).subquery()
)
_ONE = sa.select(
    sa.cast(sa.bindparam("table"), sa.String).label("table"),
    sa.cast(sa.bindparam("at"), sa.String).label("at"),
    _NOWHERE,
)
_UP = _leading("child", "parent", _ONE)
_DOWN = _leading("parent", "child", _ONE)
_DOWN_FROM_DOUBTED = _leading("parent", "child", _DOUBTED)


def up(connection: sa.Connection, ref: str, depth: int | None = None) -> list[Edge]:
    """All edges of a version's ancestry, sorted; with a depth, of its nearest generations."""
    return _edges(connection, _UP, ref, depth)


def down(connection: sa.Connection, ref: str, depth: int | None = None) -> list[Edge]:
    """All edges to what was derived from a version, sorted; it may be one that is not there."""
    return _edges(connection, _DOWN, ref, depth)


def down_from_doubted(connection: sa.Connection) -> list[Edge]:
    """All edges that what is wrong with a table version may spread by."""
    return sorted(map(Edge._make, connection.execute(_DOWN_FROM_DOUBTED, WHOLE).all()))


def _edges(connection: sa.Connection, walk: sa.Select[Any], ref: str, depth: int | None) -> list[Edge]:
    table, at = ref.split("@")
    limits = WHOLE if depth is None else {"depth": depth, "step": 1}
    return sorted(map(Edge._make, connection.execute(walk, {"table": table, "at": at, **limits}).all()))


# ------------------------------------------------------------------------------------------------------------ nodes

# SQLite uses no index for pairs, so it is given their halves, too.
_NAMES = sa.and_(
    feature_tables.c.datastack.in_(sa.bindparam("stacks", expanding=True)),
    feature_tables.c.name.in_(sa.bindparam("names", expanding=True)),
    sa.tuple_(feature_tables.c.datastack, feature_tables.c.name).in_(sa.bindparam("tables", expanding=True)),
)
# SQLite has no statistics, and would join from the versions, which it would read all.
_OF_NAMES = versions.c.table_id.in_(sa.select(feature_tables.c.id).where(_NAMES))
_NODES = (
    sa.select(
        TABLE.label("table"),
        AT.label("at"),
        versions.c.mat_version,
        versions.c.revision,
        versions.c.status,
        versions.c.created_by,
        _SUPERSEDED.label("superseded_by"),
        versions.c.patch,  # a look at what is registered changes what was said of it
    )
    .select_from(_OF_TABLES)
    .where(_OF_NAMES)
    .where(sa.func.coalesce(versions.c.mat_version, UNVERSIONED).in_(sa.bindparam("mat_versions", expanding=True)))
)


def nodes(connection: sa.Connection, refs: Iterable[str]) -> dict[str, Node]:
    """Those of the exact references that are in the catalog, drafts of anybody too."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for ref in refs:
        table, _, at = ref.partition("@")
        wanted[table].add(at)
    found: dict[str, Node] = {}
    for chosen in _chunks(wanted):
        ats = {at.partition(".")[0] for stack, name in chosen["tables"] for at in wanted[f"{stack}/{name}"]}
        numbers = sorted({int(at) if at.isdecimal() else -1 for at in ats})
        rows = connection.execute(_NODES, chosen | {"mat_versions": numbers}).all()
        newest: dict[tuple[str, int | None], int] = {}  # published revision
        for row in rows:
            if row.status == "published":
                newest[row.table, row.mat_version] = max(row.revision, newest.get((row.table, row.mat_version), 0))
        for row in rows:
            if row.at in wanted[row.table]:
                best = newest.get((row.table, row.mat_version), 0)
                found[f"{row.table}@{row.at}"] = _node(row, best if best > row.revision else None)
    return found


def _node(row: Any, newer: int | None) -> Node:
    revised_by = None if newer is None else f"{row.table}@{row.at.partition('.')[0]}.{newer}"
    failed = {each["name"] for each in (row.patch or {}).get("checks", ()) if each["outcome"] == "failed"}
    return Node(row.status, row.created_by, revised_by, row.superseded_by, not DRIFT.isdisjoint(failed))


_GONE = _WENT.where(unregistered.c.table.in_(sa.bindparam("names", expanding=True)))


def gone(connection: sa.Connection, refs: Iterable[str]) -> set[str]:
    """Those that were unregistered, of exact references that are not in the catalog."""
    wanted = set(refs)
    found: set[str] = set()
    for chosen in _chunks(ref.partition("@")[0] for ref in wanted):
        names = {"names": list(map("/".join, chosen["tables"]))}
        found |= {f"{row.table}@{row.at}" for row in connection.execute(_GONE, names)}
    return wanted & found


# ----------------------------------------------------------------------------------------- what is said of the tables


class Said(NamedTuple):
    """What a table's metadata say of other tables."""

    datastack: str
    superseded_by: str | None
    references: dict[str, str]
    columns: dict[str, Any]

    def sources(self, column: str) -> list[str]:
        """The columns that one is derived from, as datastack/table.column."""
        named = self.columns.get(column, {}).get("derived_from", ())
        return [source if "/" in source else f"{self.datastack}/{source}" for source in named]

    @property
    def pointed(self) -> list[tuple[str, str, str]]:
        """(own column, table, its column) of what is referred to."""
        targets = [(column, *target.rsplit(".", 1)) for column, target in self.references.items()]
        return [(own, table if "/" in table else f"{self.datastack}/{table}", far) for own, table, far in targets]


_BODY = feature_tables.c.body
_SAID = sa.select(
    TABLE.label("table"),
    feature_tables.c.datastack,
    _SUPERSEDED.label("superseded_by"),
    _BODY["references"].label("references"),
    _BODY["columns"].label("columns"),
)
_DERIVING = (
    sa.select(TABLE)
    .join(facets, facets.c.table_id == feature_tables.c.id)
    .where(facets.c.kind == "source", facets.c.value.in_(sa.bindparam("columns", expanding=True)))
    .distinct()
)
_STANDING = (
    sa.select(
        TABLE.label("table"),
        AT.label("at"),
        (versions.c.id == feature_tables.c.face_id).label("face"),
    )
    .select_from(_OF_TABLES)
    .where(_OF_NAMES, versions.c.current)
)
_VERSIONS = sa.exists().where(versions.c.table_id == feature_tables.c.id)
_HIDDEN = sa.select(TABLE).where(
    _NAMES,
    _VERSIONS,
    ~_VERSIONS.where(sa.or_(versions.c.status != "draft", versions.c.created_by == sa.bindparam("person"))),
)


def _chunks(tables: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The values of `_NAMES` for tables, as many at once as fit into a statement."""
    remaining = iter(sorted({table for table in tables if "/" in table}))  # what people say may be none
    while some := list(islice(remaining, CHUNK)):
        pairs = [tuple(table.split("/")) for table in some]
        yield {"tables": pairs, "stacks": sorted({one for one, _ in pairs}), "names": sorted({two for _, two in pairs})}


def said(connection: sa.Connection, tables: Iterable[str]) -> dict[str, Said]:
    """What is said of those of the tables that are known."""
    found: dict[str, Said] = {}
    for chosen in _chunks(tables):
        for row in connection.execute(_SAID.where(_NAMES), chosen):
            found[row.table] = Said(row.datastack, row.superseded_by, row.references or {}, row.columns or {})
    return found


def deriving(connection: sa.Connection, columns: Iterable[str]) -> set[str]:
    """The tables that have columns derived from some, given as datastack/table.column."""
    found: set[str] = set()
    remaining = iter(sorted(set(columns)))
    while some := list(islice(remaining, CHUNK)):
        found |= set(connection.execute(_DERIVING, {"columns": some}).scalars())
    return found


def standing(connection: sa.Connection, tables: Iterable[str]) -> dict[tuple[str, str], str]:
    """What readers get of the tables, by (table, "1507"), (table, "unversioned") and (table, "latest")."""
    found: dict[tuple[str, str], str] = {}
    for chosen in _chunks(tables):
        for row in connection.execute(_STANDING, chosen):
            ref = f"{row.table}@{row.at}"
            found[row.table, row.at.partition(".")[0]] = ref
            if row.face:
                found[row.table, "latest"] = ref
    return found


def hidden(connection: sa.Connection, tables: Iterable[str], person: str) -> set[str]:
    """Those of the tables of which there are only other people's drafts."""
    found: set[str] = set()
    for chosen in _chunks(tables):
        found |= set(connection.execute(_HIDDEN, chosen | {"person": person}).scalars())
    return found
