"""Parquet: one file, or a folder of files, nested, Hive-partitioned or flat.

Hidden files and folders (`.` and `_` first) are no part of a table, and neither are files that are not named
`*.parquet`, `*.parq` or `*.pq`. A writer keeps the file `_unfinished` in the folder until all files are whole; a table
that has it is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl
import pyarrow as pa

from feature_registry.errors import Conflict, Invalid, NotFound
from feature_registry.formats import Inspected, WriteOptions, WrittenTable
from feature_registry.formats._data_files import NULL_PARTITION, Partition, partition_types, write_files
from feature_registry.formats._manifests import (
    fingerprint,
    footer_statistics,
    footers_of,
    inspected,
    unified,
    without_pandas,
)
from feature_registry.formats._scans import scan_files
from feature_registry.location import Location
from feature_registry.model import Inspection

if TYPE_CHECKING:
    from feature_registry.storage import Store, StoredObject

MAGIC = b"PAR1"
UNFINISHED = "_unfinished"
_NAMES = (".parquet", ".parq", ".pq")
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")


class TableFormat:
    """The `Format` of Parquet. It has no snapshots: what is there is the table."""

    name = "parquet"

    def sniff(self, store: Store, location: Location) -> bool:
        if _is_file(store, location):
            return store.read(location, 0, 4) == MAGIC
        keys = [location.relative(found.location) for found in store.list(location)]
        if any(key.startswith("_delta_log/") for key in keys):
            return False
        data = next((key for key in keys if _is_data(key)), None)
        return data is not None and store.read(location.joined(data), 0, 4) == MAGIC

    def inspect(self, store: Store, location: Location, snapshot: str | None = None) -> Inspected:
        if snapshot is not None:
            raise Invalid("is of a format without snapshots", field="snapshot", value=snapshot, expected="none")
        files = _data_files(store, location)
        paths = [location.relative(file.location) for file in files]
        partitions = _partitions(location, paths)
        footers = footers_of(store, [file.location for file in files])
        schema = without_pandas(unified(paths, [footer.schema.to_arrow_schema() for footer in footers]))
        columns = {
            "path": pa.array(paths, pa.string()),
            "size": pa.array([file.size for file in files], pa.int64()),
            "rows": pa.array([footer.num_rows for footer in footers], pa.int64()),
            "etag": pa.array([file.etag for file in files], pa.string()),
        }
        names = tuple(partitions[0])
        for name in names:
            if name in schema.names:  # the folder's value is the one that readers take
                schema = schema.remove(schema.get_field_index(name))
        columns |= footer_statistics(footers, schema)
        for name in names:
            values = pa.array([partition[name] for partition in partitions], pa.string())
            columns[f"partition.{name}"] = values
            schema = schema.append(pa.field(name, _inferred(values.to_pylist())))
        seen = {"location": location, "format": self.name, "fingerprint": _state(paths, files)}
        return inspected(pa.table(columns), schema, partition_columns=names, **seen)

    def write(
        self, store: Store, location: Location, data: pa.RecordBatchReader, options: WriteOptions
    ) -> WrittenTable:
        if next(store.list(location), None) is not None:
            raise Conflict("holds files already", field="location", value=str(location), expected="an empty place")
        kinds = partition_types(data.schema, options.partition_by)
        for name, kind in kinds.items():
            if not (pa.types.is_integer(kind) or pa.types.is_string(kind)):  # a folder's name does not say the type
                raise Invalid(f"is of type {kind}", field="partition_by", value=name, expected="integers or strings")
        marker = location.joined(UNFINISHED)
        store.write(marker, b"")
        try:
            files = write_files(store, location, data, options, at_least_one=True)
        finally:
            store.delete(marker)
        seen = {name: _inferred([file.partition[name] for file in files]) for name in kinds}
        return WrittenTable(None, {name: str(kind) for name, kind in kinds.items() if kind != seen[name]})

    def scan(self, store: Store, inspection: Inspection) -> pl.LazyFrame:
        location = inspection.location
        files = _data_files(store, location)
        paths = [location.relative(file.location) for file in files]
        if _state(paths, files) != inspection.fingerprint:
            expected = "the table registered again"
            raise Conflict("is no longer what was registered", field="location", value=str(location), expected=expected)
        partitions = _partitions(location, paths)
        return scan_files(store, inspection, [file.location for file in files], partitions)


def _state(paths: list[str], files: list[StoredObject]) -> str:
    return fingerprint(paths, [file.size for file in files], [file.etag or str(file.modified) for file in files])


def _is_file(store: Store, location: Location) -> bool:
    try:
        store.head(location)
    except NotFound:
        return False
    return True


def _is_data(key: str) -> bool:
    return key.lower().endswith(_NAMES) and not any(part.startswith((".", "_")) for part in key.split("/"))


def _data_files(store: Store, location: Location) -> list[StoredObject]:
    """The files of the table, sorted by path. Raises `NotFound` if there are none."""
    found = list(store.list(location))
    if len(found) == 1 and found[0].location == location:
        return found
    keys = {location.relative(file.location): file for file in found}
    if UNFINISHED in keys:
        raise Invalid(
            "is not finished: its writer is at work, or died",
            field="location",
            value=str(location),
            expected=f"a folder without {UNFINISHED}",
        )
    data = [file for key, file in keys.items() if _is_data(key)]
    if not data:
        raise NotFound("holds no Parquet file", field="location", value=str(location))
    return data


def _partitions(location: Location, paths: list[str]) -> list[Partition]:
    """The Hive partition of every file. Raises `Invalid` if the files' folders name different columns."""
    found = [
        {unquote(name): None if value == NULL_PARTITION else unquote(value) for name, value in _segments(path)}
        for path in paths
    ]
    for path, partition in zip(paths, found, strict=True):
        if list(partition) != list(found[0]):
            raise Invalid(
                f"has the partition columns {list(partition)}, unlike {paths[0]!r}",
                field="file",
                value=str(location.joined(path)),
                expected=list(found[0]),
            )
    return found


def _segments(path: str) -> list[tuple[str, str]]:
    pairs = (folder.partition("=") for folder in path.split("/")[:-1])
    return [(name, value) for name, equals, value in pairs if name and equals]


def _inferred(values: list[str | None]) -> pa.DataType:
    """int64 if all values are integers as Python writes them, so that they come back unchanged; else string."""
    said = [value for value in values if value is not None]
    if said and all(_INTEGER.fullmatch(value) and -(2**63) <= int(value) < 2**63 for value in said):
        return pa.int64()
    return pa.string()
