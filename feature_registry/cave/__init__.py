"""CAVE: which materialization versions exist, and their tables. Yields Arrow batches, writes nothing."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from feature_registry.errors import Invalid
from feature_registry.model import Datastack, MaterializationVersion, Resolution

BOOKKEEPING = frozenset({"created", "deleted", "superceded_id"})
"""Columns of annotations that are not dumped: they say nothing in a frozen version."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """An annotation table, or a view, of a materialization version, as its source describes it.

    `metadata` are fields of `model.Metadata` that do not depend on the columns: description, owner, usage_constraints,
    tags, key ... `segmentation` is the chunked graph that its points were bound to; None: they were not.
    """

    datastack: str
    mat_version: int
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    schema_type: str | None = None
    segmentation: str | None = None
    resolution: Resolution | None = None
    reference_table: str | None = None
    view: bool = False
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """Over all rows of a column. `minimum`, `maximum` and `total` are None where there is no value, or where the type
    has no order or no sum.
    """

    name: str
    count: int
    nulls: int
    minimum: Any = None
    maximum: Any = None
    total: Any = None


class Rows(Protocol):
    """The rows of a table in one snapshot of its database; read once, from first to last."""

    @property
    def reader(self) -> pa.RecordBatchReader: ...

    @property
    def expected(self) -> int | None:
        """How many rows there are, as far as one knows before."""
        ...

    def statistics(self) -> list[ColumnStatistics]:
        """What the database says of the same rows; asked after they were read, in the same snapshot."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class VersionSource(Protocol):
    """Says which materialization versions and tables there are. Raises `NotFound` while it has no data at all, and
    `Unavailable` when the answer may come later.
    """

    def datastacks(self) -> list[Datastack]: ...

    def versions(self, datastack: str) -> list[MaterializationVersion]:
        """With the tables that each lists; expired ones too, as far as they are still known."""
        ...

    def table(self, datastack: str, mat_version: int, name: str) -> SourceTable: ...

    def rows(self, table: SourceTable, share: str | None = None) -> Rows:
        """The table as it is dumped: points as voxels, what is of no use to a reader left out.

        What this process asks for with the same `share` comes from one snapshot, where the source can.
        """
        ...


def load_version_source(path: str) -> VersionSource:
    """The source at `package.module:Class`, made without arguments."""
    module, _, name = path.partition(":")
    try:
        source = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError, TypeError) as wrong:
        raise Invalid(
            f"cannot be loaded: {wrong}", field="version_source", value=path, expected="package.module:Class"
        ) from wrong
    if not isinstance(source, VersionSource):
        expected = "methods datastacks(), versions(), table() and rows()"
        raise Invalid("is no version source", field="version_source", value=path, expected=expected)
    return source
