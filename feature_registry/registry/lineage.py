"""Lineage and what follows from it: the walks up and down, which registration would close a circle, what is stale."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feature_registry import lineage, policy
from feature_registry.catalog import Connection, dependents, entries, graph
from feature_registry.errors import Invalid, NotFound
from feature_registry.model import (
    Cause,
    Direction,
    Entry,
    FeatureTable,
    Lineage,
    LineageEdge,
    LineageNode,
    Stale,
    TableRef,
)
from feature_registry.model import versions as shape

if TYPE_CHECKING:
    from feature_registry.registry import Registry

Nodes = Mapping[str, graph.Node]


def walked(  # noqa: PLR0917
    registry: Registry, table: str, as_of: datetime | None, direction: Direction, depth: int | None, columns: bool
) -> Lineage:
    """The versions that a walk along `derived_from` reaches, and the edges between them. Beside these, what is said of
    their tables: which superseded them, and what they refer to; and what says so of the start's table.
    """
    start = str(registry.describe(table, as_of).ref)
    with registry.past.read(as_of) as connection:
        up = [] if direction == "down" else graph.up(connection, start, depth)
        down = [] if direction == "up" else graph.down(connection, start, depth)
        upstream = lineage.walk(start, lineage.grouped(up).__getitem__)
        downstream = lineage.walk(start, lineage.grouped((edge.parent, edge.child) for edge in down).__getitem__)
        edges = [LineageEdge(child=child, parent=parent, kind="derived_from") for child, parent in (*up, *down)]
        about = [*([] if direction == "down" else [start, *upstream]), *downstream]
        edges += _outward(connection, about, lineage.grouped((*up, *down)), columns)
        if direction != "up":
            edges += _inward(registry, connection, start)
        refs = dict.fromkeys([start, *upstream, *downstream, *(each for edge in edges for each in _ends(edge))])
        known = graph.nodes(connection, [ref for ref in refs if "@" in ref])
    hidden = {ref for ref, node in known.items() if not policy.is_seen(registry.person, node)}
    return Lineage(
        table=start,
        upstream=tuple(ref for ref in upstream if ref not in hidden),
        downstream=tuple(ref for ref in downstream if ref not in hidden),
        nodes=tuple(_node(ref, known) for ref in refs if ref not in hidden),
        edges=tuple(edge for edge in dict.fromkeys(edges) if hidden.isdisjoint(_ends(edge))),
    )


def _outward(
    connection: Connection, refs: Iterable[str], parents: Mapping[str, list[str]], columns: bool
) -> Iterator[LineageEdge]:
    """What is said of the tables of versions: their successors, what they refer to, their columns' sources."""
    said = graph.said(connection, map(_table, refs))
    named = {table for each in said.values() for table in _named(each, columns)}
    standing = graph.standing(connection, named)
    for ref in refs:
        about = said.get(_table(ref))
        if about is None:
            continue
        if about.superseded_by:
            yield LineageEdge(child=ref, parent=_standing(standing, about.superseded_by, ref), kind="superseded_by")
        for own, table, far in about.pointed:
            yield _between(ref, _standing(standing, table, ref), "references", own, far)
        for own in about.columns if columns else ():
            for table, far in (source.rsplit(".", 1) for source in about.sources(own)):
                derived = [parent for parent in parents[ref] if _table(parent) == table]
                for parent in derived or [_standing(standing, table, ref)]:
                    yield _between(ref, parent, "derived_from", own, far)


def _inward(registry: Registry, connection: Connection, start: str) -> Iterator[LineageEdge]:
    """What says of itself that it refers to the start's table, or was superseded by it."""
    table = _table(start)
    names = table.split("/")
    pointing = {column.rpartition(".")[0] for column in dependents.references(connection, *names)}
    pointing |= set(dependents.predecessors(connection, *names))
    if not registry.person.admin:
        pointing -= graph.hidden(connection, pointing, registry.person.name)
    standing = graph.standing(connection, pointing)
    for other, about in graph.said(connection, pointing).items():
        child = _standing(standing, other, start)
        if about.superseded_by and _table(about.superseded_by) == table:
            yield LineageEdge(child=child, parent=start, kind="superseded_by")
        yield from (_between(child, start, "references", own, far) for own, to, far in about.pointed if to == table)


def _between(child: str, parent: str, kind: Any, own: str, far: str) -> LineageEdge:
    return LineageEdge(child=child, parent=parent, kind=kind, child_column=own, parent_column=far)


def _named(about: graph.Said, columns: bool) -> Iterator[str]:
    if about.superseded_by:
        yield _table(about.superseded_by)
    yield from (table for _, table, _ in about.pointed)
    if columns:
        yield from (source.rsplit(".", 1)[0] for column in about.columns for source in about.sources(column))


def _standing(standing: Mapping[tuple[str, str], str], named: str, beside: str) -> str:
    """Whom a table's name means beside a version: its version there, else its latest; else no more than the name."""
    at = (named if "@" in named else beside).partition("@")[2].partition(".")[0]
    table = _table(named)
    return standing.get((table, at)) or standing.get((table, "latest")) or table


def _table(ref: str) -> str:
    return ref.partition("@")[0]


def _ends(edge: LineageEdge) -> tuple[str, str]:
    return edge.child, edge.parent


def _node(ref: str, known: Nodes) -> LineageNode:
    return LineageNode(table=ref, datastack=ref.partition("/")[0], status=known[ref].status if ref in known else None)


# ------------------------------------------------------------------------------------------------------- one column


def of_column(  # noqa: PLR0917
    registry: Registry, table: str, column: str, as_of: datetime | None, direction: Direction, depth: int | None
) -> Lineage:
    """As the tables' columns say of themselves, whatever their versions; a circle ends where it closes."""
    entry = registry.describe(table, as_of)
    names = sorted({*entry.table.columns, *(field.name for field in entry.version.inspection.fields)})
    if column not in names:
        raise NotFound("is no column of the table", field="column", value=column, expected=names)
    start = f"{entry.table.datastack}/{entry.table.name}.{column}"
    with registry.past.read(as_of) as connection:
        up = [] if direction == "down" else list(_sources(connection, start, depth))
        down = [] if direction == "up" else list(_derived(registry, connection, start, depth))
        pairs = dict.fromkeys((*up, *down))
        tables = dict.fromkeys(each.rpartition(".")[0] for each in (start, *(end for pair in pairs for end in pair)))
        standing = graph.standing(connection, tables)
        known = graph.nodes(connection, standing.values())
    faces = {table: standing.get((table, "latest"), table) for table in tables}
    return Lineage(
        table=start,
        upstream=lineage.walk(start, lineage.grouped(up).__getitem__),
        downstream=lineage.walk(start, lineage.grouped((parent, child) for child, parent in down).__getitem__),
        nodes=tuple(_node(faces[each], known).model_copy(update={"table": each}) for each in tables),
        edges=tuple(itertools.starmap(_of_columns, pairs)),
    )


def _of_columns(child: str, parent: str) -> LineageEdge:
    (table, _, own), (other, _, far) = child.rpartition("."), parent.rpartition(".")
    return _between(table, other, "derived_from", own, far)


def _sources(connection: Connection, start: str, depth: int | None) -> Iterator[tuple[str, str]]:
    """(column, one that it is derived from), a query a generation."""
    frontier, reached = {start}, {start}
    while frontier and depth != 0:
        said = graph.said(connection, {each.rpartition(".")[0] for each in frontier})
        found = {
            (each, source)
            for each in frontier
            for table, _, name in [each.rpartition(".")]
            if table in said
            for source in said[table].sources(name)
        }
        yield from sorted(found)
        frontier = {source for _, source in found} - reached
        reached |= frontier
        depth = None if depth is None else depth - 1


def _derived(registry: Registry, connection: Connection, start: str, depth: int | None) -> Iterator[tuple[str, str]]:
    """(one that is derived from it, column), two queries a generation."""
    frontier, reached = {start}, {start}
    while frontier and depth != 0:
        tables = graph.deriving(connection, frontier)
        if not registry.person.admin:
            tables -= graph.hidden(connection, tables, registry.person.name)
        found = {
            (f"{table}.{column}", source)
            for table, about in graph.said(connection, tables).items()
            for column in about.columns
            for source in about.sources(column)
            if source in frontier
        }
        yield from sorted(found)
        frontier = {child for child, _ in found} - reached
        reached |= frontier
        depth = None if depth is None else depth - 1


# ---------------------------------------------------------------------------------------------------- registration


def pinned(registry: Registry, connection: Connection, derived_from: Iterable[str]) -> tuple[str, ...]:
    """The exact revisions that references mean now; one of which nothing is known stays as it was named."""
    found = dict[str, None]()
    for text in derived_from:
        try:
            ref = TableRef.parse(text)
        except Invalid as wrong:
            raise Invalid(wrong.message, field="derived_from", value=text, expected=wrong.expected) from None
        entry = None if ref.revision is not None else entries.find(connection, ref, registry.person.name)
        found[str(ref if entry is None else entry.ref)] = None
    return tuple(found)


def is_settled(connection: Connection, derived_from: Iterable[str]) -> bool:
    """Whether all parents are known. If one is not, it may be registered at this moment, and as a child of ours: who
    registers then must be alone, or two could close a circle.
    """
    refs = set(derived_from)
    return not refs or refs <= graph.nodes(connection, map(graph.exact, refs)).keys()


def check_acyclic(connection: Connection, ref: str, derived_from: Iterable[str]) -> None:
    """A version can be named before it is there, so others may derive from it that it would derive from."""
    below = {edge.child for edge in graph.down(connection, ref)}
    lineage.check_acyclic(ref, map(graph.exact, derived_from), below)


def check_successor(connection: Connection, table: FeatureTable, changes: Mapping[str, Any]) -> None:
    """Raises `Invalid` if the changes name a successor that is no table, and `Conflict` if it is the table itself, or
    leads to it.
    """
    successor = changes.get("superseded_by")
    shape.check_successor(successor)

    def following(of: str) -> str | None:
        found = graph.said(connection, [of]).get(of)
        return _table(found.superseded_by) if found and found.superseded_by else None

    if successor is not None:
        chain = lineage.newest(_table(successor), following)
        lineage.check_acyclic(f"{table.datastack}/{table.name}", chain, (), "superseded_by")


# ------------------------------------------------------------------------------------------------------- staleness


def warned(registry: Registry, entry: Entry) -> Entry:
    """The entry, which says why it is stale if it is."""
    if not entry.version.derived_from:
        return entry
    ref, parents = str(entry.ref), set(map(graph.exact, entry.version.derived_from))
    with registry.database.read() as connection:
        causes = _spread(connection, graph.up(connection, ref)).get(ref, ())
    said = (f"stale: {'parent' if each.table in parents else 'ancestor'} {each.said}" for each in causes)
    return entry.model_copy(update={"warnings": (*entry.warnings, *said)}) if causes else entry


def stale(registry: Registry, datastack: str | None) -> tuple[Stale, ...]:
    """All that should be made again. What was made again already, and published, is not named."""
    with registry.database.read() as connection:
        found = _spread(connection, graph.down_from_doubted(connection))
        known = graph.nodes(connection, found)
    return tuple(
        Stale(table=ref, causes=found[ref])
        for ref in sorted(found)
        if ref in known and known[ref].revised_by is None and policy.is_seen(registry.person, known[ref])
        if datastack in (None, ref.partition("/")[0])
    )


def _spread(connection: Connection, edges: Iterable[graph.Edge]) -> dict[str, tuple[Cause, ...]]:
    known = graph.nodes(connection, {edge.parent for edge in edges})
    gone = graph.gone(connection, {edge.parent for edge in edges} - known.keys())

    def fault(child: str, parent: str) -> Cause | None:
        return _fault(child, parent, known, gone)

    found = lineage.spread(edges, fault)
    return {child: tuple(by_ancestor.values()) for child, by_ancestor in found.items()}


def _fault(child: str, parent: str, known: Nodes, gone: set[str]) -> Cause | None:
    """What is wrong with a parent, as one of its children sees it: that it replaces its parent makes none stale."""
    if parent not in known:
        return Cause(table=parent, reason="unregistered") if parent in gone else None
    node = known[parent]
    if node.status == "deprecated":
        return Cause(table=parent, reason="deprecated")
    if node.superseded_by and _table(child) not in (_table(parent), _table(node.superseded_by)):
        return Cause(table=parent, reason="superseded", by=node.superseded_by)
    if node.revised_by and child.rpartition(".")[0] != parent.rpartition(".")[0]:
        return Cause(table=parent, reason="revised", by=node.revised_by)
    return Cause(table=parent, reason="drifted") if node.drifted else None
