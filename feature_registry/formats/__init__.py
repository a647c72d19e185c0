"""The formats: one module a format, `formats/NAME.py` is the format `NAME`. Each offers a `Format` named `TableFormat`.

To add one, add its module and run the contract suite `feature_registry_tests/contracts/formats.py` over it. Modules
that begin with an underscore are what several formats consist of.
"""

from __future__ import annotations

import base64
import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import pyarrow as pa

from feature_registry.errors import Invalid, NotFound
from feature_registry.location import Location
from feature_registry.model import Inspection

if TYPE_CHECKING:
    import polars as pl

    from feature_registry.storage import Store


@dataclass(frozen=True, slots=True)
class Inspected:
    """An inspection, and the manifest of the data files.

    The manifest has a row a data file, sorted by path, and the columns `path` (string: the literal key below the
    location, empty for a table that is one file), `size` (int64: bytes), `rows` (int64 or null) and, for the columns
    that have statistics, `min.NAME`, `max.NAME` (of a type that compares as the column does) and `nulls.NAME` (int64).
    A null statistic says nothing. `etag` is the store's (string or null). A partition column has `partition.NAME`
    (string as in the path's `NAME=value`, null for null).

    Of a table with several layouts: the files of all of them, their paths below the location of the whole, and the
    column `layout` (string). `groups` has a row a row group: `file` (int64: the row number of its file in the
    manifest), `size` and `size.NAME` (int64: compressed bytes, of all and of each column), `rows`, and statistics of
    the columns by which the layouts sort. A format itself gives none of both.
    """

    inspection: Inspection
    manifest: pa.Table
    groups: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a table is laid out. Sorted by `sort_by`, files hold disjoint ranges; with the curve, disjoint places."""

    partition_by: tuple[str, ...] = ()
    sort_by: tuple[str, ...] = ()
    curve: Literal["morton"] | None = None  # through the columns of `sort_by`
    key: tuple[str, ...] = ()  # the columns that name a row, by which rows go that the order leaves equal
    bytes_per_file: int = 64_000_000  # about: a file ends with the row group that fills it
    rows_per_group: int = 65_536
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WrittenTable:
    """What a format says of a table that it just wrote."""

    snapshot: str | None
    logical_types: dict[str, str]


class Format(Protocol):
    """What a format does. Raises `NotFound` for an empty or absent location, `Invalid` for data of another format or
    data that it cannot hold.
    """

    name: str

    def sniff(self, store: Store, location: Location) -> bool:
        """Whether the location looks like a table of this format."""
        ...

    def inspect(self, store: Store, location: Location, snapshot: str | None = None) -> Inspected: ...

    def write(
        self, store: Store, location: Location, data: pa.RecordBatchReader, options: WriteOptions
    ) -> WrittenTable:
        """Writes a new table in bounded memory; nothing is visible to `inspect` before all of it is."""
        ...

    def scan(self, store: Store, inspection: Inspection) -> pl.LazyFrame:
        """The table at its snapshot, with its logical types, read straight from the store."""
        ...


def stored_schema(inspection: Inspection) -> pa.Schema:
    """The schema of an inspection, partition columns included."""
    return pa.ipc.open_stream(base64.b64decode(inspection.arrow_schema)).schema


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def get(name: str) -> Format:
    if name not in names():
        raise Invalid("is no format", field="format", value=name, expected=names())
    found: Format = importlib.import_module(f"{__name__}.{name}").TableFormat()
    return found


def sniff(store: Store, location: Location) -> Format:
    """The format of what is at the location. Formats with a log come before bare Parquet, whose files they use."""
    for name in sorted(names(), key=lambda name: name == "parquet"):
        candidate = get(name)
        if candidate.sniff(store, location):
            return candidate
    place: dict[str, Any] = {"field": "location", "value": str(location), "expected": f"a table, one of {names()}"}
    if next(store.list(location), None) is None:
        raise NotFound("holds nothing", **place)
    raise Invalid("holds no table of a known format", **place)
