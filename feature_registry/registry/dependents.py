"""All that depends on a table version, asked before it is deprecated, unregistered or collected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from feature_registry import lineage, policy
from feature_registry.catalog import Connection, graph
from feature_registry.catalog import dependents as catalog
from feature_registry.model import Dependents, Entry, Person, TableRef

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def dependents(registry: Registry, entry: Entry) -> Dependents:
    """Without others' drafts."""
    table, version, person = entry.table, entry.version, registry.person
    with registry.database.read() as connection:
        references = catalog.references(connection, table.datastack, table.name)
        predecessors = catalog.predecessors(connection, table.datastack, table.name)
        named = {*predecessors, *(column.rpartition(".")[0] for column in references)}
        hidden = set() if person.admin else graph.hidden(connection, named, person.name)
        return Dependents(
            table=str(entry.ref),
            derived=shown(connection, derived(connection, entry.ref), person),
            references=tuple(each for each in references if each.rpartition(".")[0] not in hidden),
            aliases=catalog.aliases(connection, version, person),
            predecessors=tuple(each for each in predecessors if each not in hidden),
        )


def derived(connection: Connection, ref: TableRef, depth: int | None = None) -> tuple[str, ...]:
    """The versions in the catalog that were derived from one, nearest first, others' drafts too; 1: directly."""
    following: dict[str, list[str]] = {}
    for edge in graph.down(connection, str(ref), depth):
        following.setdefault(edge.parent, []).append(edge.child)
    reached = lineage.walk(str(ref), lambda at: following.get(at, ()))
    known = graph.nodes(connection, reached)
    return tuple(each for each in reached if each in known)


def shown(connection: Connection, refs: Iterable[str], person: Person) -> tuple[str, ...]:
    """Those of the versions that a person may know of."""
    known = graph.nodes(connection, refs := tuple(refs))
    return tuple(each for each in refs if policy.is_seen(person, known[each]))
