"""How tables hang together: what was derived from what, what replaces what, and what is out of date by that."""

from __future__ import annotations

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


class Lineage(Noun):
    """Exact references of what a table version was derived from and of what was derived from it, nearest first."""

    table: str = Field(description="where it starts; of a column, datastack/name.column, and so are the others")
    upstream: tuple[str, ...] = ()
    downstream: tuple[str, ...] = ()
    nodes: tuple[LineageNode, ...] = Field((), description="the start, then all that edges name, nearest first")
    edges: tuple[LineageEdge, ...] = ()


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
