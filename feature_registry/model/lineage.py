"""How tables hang together: what was derived from what, what replaces what, and what is out of date by that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from feature_registry.model.noun import Noun
from feature_registry.model.versions import Status

Direction = Literal["up", "down", "both"]


class LineageNode(Noun):
    """A table version, or a whole table where a column's lineage is told."""

    table: str = Field(description="its exact reference")
    datastack: str
    status: Status | None = Field(description="None: the catalog does not hold it")


class LineageEdge(Noun):
    """The child is derived from, superseded by, or references the parent; with columns, one of its columns does."""

    child: str
    parent: str
    kind: Literal["derived_from", "superseded_by", "references"]
    child_column: str | None = None
    parent_column: str | None = None

    def named(self, end: str) -> str:
        """Its `child` or its `parent`, with the column if it is of columns."""
        table, column = getattr(self, end), getattr(self, f"{end}_column")
        return f"{table}.{column}" if column else f"{table}"

    def __str__(self) -> str:
        return f"{self.named('child')} {self.kind.replace('_', ' ')} {self.named('parent')}"


class Lineage(Noun):
    """Exact references of what a table version was derived from and of what was derived from it, nearest first."""

    table: str = Field(description="where it starts; of a column, datastack/name.column, and so are the others")
    upstream: tuple[str, ...] = ()
    downstream: tuple[str, ...] = ()
    nodes: tuple[LineageNode, ...] = Field((), description="the start, then all that edges name, nearest first")
    edges: tuple[LineageEdge, ...] = ()

    def __repr__(self) -> str:
        """A tree; what is there twice has its branches once."""
        lines = [self.table]
        for title, near, far in (("derived from", "child", "parent"), ("from it were derived", "parent", "child")):
            branches = list(self._branches(near, far))
            lines += [f"  {title}", *branches] if branches else []
        for edge in self.edges:
            if edge.kind != "derived_from" or (edge.child_column and "@" in self.table):
                lines.append(f"  {edge}")
        return "\n".join(lines)

    __str__ = __repr__

    def _branches(self, near: str, far: str) -> Iterator[str]:
        status = {node.table: node.status for node in self.nodes}
        following: defaultdict[str, dict[str, None]] = defaultdict(dict)
        for edge in self.edges:
            if edge.kind == "derived_from" and bool(edge.child_column) == ("@" not in self.table):
                following[edge.named(near)][edge.named(far)] = None
        waiting = [(each, 2) for each in reversed(following[self.table])]
        shown = {self.table}
        while waiting:
            table, depth = waiting.pop()
            state = status.get(table.rpartition(".")[0] if "@" not in table else table) or "unknown"
            again = table in shown and following[table]
            yield f"{'  ' * depth}{table}{'' if state == 'published' else f' ({state})'}{' ...' if again else ''}"
            if table not in shown:
                shown.add(table)
                waiting += [(each, depth + 1) for each in reversed(following[table])]


class Cause(Noun):
    """An ancestor by which a table version is stale."""

    table: str = Field(description="the ancestor's exact reference")
    reason: Literal["revised", "deprecated", "superseded", "unregistered", "drifted"]
    by: str | None = Field(None, description="the newer revision, or the successor")

    @property
    def said(self) -> str:
        return f"{self.table} {_SAID[self.reason]}" + (f" {self.by}" if self.by else "")


_SAID = {
    "revised": "has a newer revision",
    "deprecated": "is deprecated",
    "superseded": "is superseded by",
    "unregistered": "was unregistered",
    "drifted": "is no longer as it was registered",
}


class Stale(Noun):
    """A table version that should be made again, for something that it was derived from is not what it was."""

    table: str = Field(description="its exact reference")
    causes: tuple[Cause, ...] = Field(description="the nearest first")
