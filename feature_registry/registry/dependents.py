"""All that depends on a table version, asked before it is deprecated, unregistered or collected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feature_registry import lineage
from feature_registry.catalog import Connection, graph
from feature_registry.catalog import dependents as catalog
from feature_registry.model import Dependents, Entry, TableRef

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def dependents(registry: Registry, entry: Entry) -> Dependents:
    table, version = entry.table, entry.version
    with registry.database.read() as connection:
        return Dependents(
            table=str(entry.ref),
            derived=derived(connection, entry.ref),
            references=catalog.references(connection, table.datastack, table.name),
            aliases=catalog.aliases(connection, version),
            predecessors=catalog.predecessors(connection, table.datastack, table.name),
        )


def derived(connection: Connection, ref: TableRef, depth: int | None = None) -> tuple[str, ...]:
    """The versions in the catalog that were derived from one, nearest first; 1: directly."""
    following: dict[str, list[str]] = {}
    for edge in graph.down(connection, str(ref), depth):
        following.setdefault(edge.parent, []).append(edge.child)
    reached = lineage.walk(str(ref), lambda at: following.get(at, ()))
    known = graph.nodes(connection, reached)
    return tuple(each for each in reached if each in known)
