"""Delta Lake: Parquet files and a log of JSON actions, pinned to a version of that log.

Delta has no unsigned integers and one kind of time stamp: columns of other types are stored as the next type that
holds them all, and `logical_types` says what they were. We write the data files ourselves, because deltalake's writer
does not keep the order of the rows.
"""

from __future__ import annotations

import re
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, create_table_with_add_actions

from feature_registry.errors import Conflict, Invalid, NotFound, Unavailable
from feature_registry.formats import Inspected, WriteOptions, WrittenTable
from feature_registry.formats._data_files import DataFile, Partition, partition_texts, write_files
from feature_registry.formats._delta_statistics import add_statistics, manifest_statistics
from feature_registry.formats._delta_types import converted, storable
from feature_registry.formats._manifests import file_fingerprint, inspected, marked, with_etags
from feature_registry.formats._scans import scan_files
from feature_registry.location import Location
from feature_registry.model import Inspection

if TYPE_CHECKING:
    from feature_registry.storage import Store

LOG = "_delta_log"


class TableFormat:
    """The `Format` of Delta Lake. A snapshot is a version of the log, in decimal digits."""

    name = "delta"

    def sniff(self, store: Store, location: Location) -> bool:
        return next(store.list(location.joined(LOG)), None) is not None

    def inspect(self, store: Store, location: Location, snapshot: str | None = None) -> Inspected:
        with ThreadPoolExecutor(1) as pool:
            marks = pool.submit(marked, store, location)  # beside the log, which takes as long
            table = _opened(store, location, snapshot)
            actions = _actions(table, location)
            names = tuple(table.metadata().partition_columns)
            schema = _stored_schema(store, location, pa.schema(table.schema()), actions, names)
            manifest = with_etags(_manifest(actions, schema, names), location, marks.result())
        state = file_fingerprint(manifest)
        seen = {"location": location, "format": self.name, "fingerprint": state, "snapshot": str(table.version())}
        return inspected(manifest, schema, partition_columns=names, **seen)

    def write(
        self, store: Store, location: Location, data: pa.RecordBatchReader, options: WriteOptions
    ) -> WrittenTable:
        """Nothing is a table before the log's first entry is there."""
        _check_name(store, location)
        if next(store.list(location), None) is not None:
            raise Conflict("holds files already", field="location", value=str(location), expected="an empty place")
        schema, logical_types = storable(data.schema)
        files = write_files(store, location, converted(data, schema), options, suffix=f"-{secrets.token_hex(8)}")
        try:
            _commit(store, location, schema, files, options)
        except BaseException:
            for file in files:
                store.delete(location.joined(file.path))
            raise
        return WrittenTable("0", logical_types)

    def scan(self, store: Store, inspection: Inspection) -> pl.LazyFrame:
        location = inspection.location
        actions = _actions(_opened(store, location, inspection.snapshot), location).sort_by("path")
        names = inspection.partition_columns
        texts = {
            name: partition_texts(pc.struct_field(actions["partition"].combine_chunks(), name)).to_pylist()
            for name in names
        }
        paths = actions["path"].to_pylist()
        partitions: list[Partition] = [{name: texts[name][row] for name in names} for row in range(len(paths))]
        return scan_files(store, inspection, [location.joined(path) for path in paths], partitions)


# ------------------------------------------------------------------------------------------------------- reading


def _opened(store: Store, location: Location, snapshot: str | None) -> DeltaTable:
    _check_name(store, location)
    if snapshot is not None and not re.fullmatch(r"[0-9]{1,18}", snapshot):
        raise Invalid("is no version of a Delta log", field="snapshot", value=snapshot, expected="digits")
    version = None if snapshot is None else int(snapshot)
    try:
        table = DeltaTable(store.uri(location), version=version, storage_options=store.options() or None)
    except (DeltaError, OSError) as wrong:
        raise _explained(store, location, version, wrong) from None
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        raise Invalid("maps its columns to other names", field="location", value=str(location), expected="no mapping")
    if "deletionVectors" in (table.protocol().reader_features or []) and _has_deletion_vectors(table):
        message = "has deletion vectors, so its files hold rows that are deleted"
        raise Invalid(message, field="location", value=str(location), expected="a table after OPTIMIZE or REORG")
    return table


def _has_deletion_vectors(table: DeltaTable) -> bool:
    try:
        return len(pa.table(table.deletion_vectors())) > 0
    except DeltaError:  # they are there, and broken
        return True


def _explained(store: Store, location: Location, version: int | None, wrong: Exception) -> Exception:
    """What is wrong with a log that deltalake cannot read."""
    place: dict[str, Any] = {"field": "location", "value": str(location)}
    names = [found.location.name for found in store.list(location.joined(LOG))]
    entries = sorted({int(name[:20]) for name in names if re.fullmatch(r"[0-9]{20}\.json", name)})
    if not names:
        return NotFound("holds no Delta table", **place)
    if not entries:
        return Invalid("has a log without entries", **place)
    if version is not None and version > entries[-1]:
        expected = f"{entries[0]} to {entries[-1]}"
        return NotFound(f"is no version of {location}", field="snapshot", value=str(version), expected=expected)
    begin = max((int(name[:20]) for name in names if ".checkpoint" in name), default=0)
    missing = sorted(set(range(begin, entries[-1])) - set(entries))
    if missing:
        return Invalid(f"lacks the entries {missing[:10]} of its log", **place)
    if version is not None and version < entries[0]:
        expected = f"{entries[0]} to {entries[-1]}"
        return NotFound(f"is no longer in the log of {location}", field="snapshot", value=version, expected=expected)
    return Invalid(f"cannot be read: {str(wrong).splitlines()[0][:300]}", **place)


def _check_name(store: Store, location: Location) -> None:
    if "%" in store.uri(location):  # deltalake would decode it, and open another folder
        raise Invalid("has a percent sign, which deltalake cannot open", field="location", value=str(location))


def _actions(table: DeltaTable, location: Location) -> pa.Table:
    """The files of the version, in no order; a path is the literal key."""
    actions = pa.table(table.get_add_actions(flatten=False)).combine_chunks()
    paths = actions["path"]
    text = "".join(paths.to_pylist())
    if not any(mark in text for mark in "%:/"):
        return actions  # plain names, which is found out in a tenth of the time
    if "%" in text:
        paths = pa.chunked_array([[unquote(path) for path in paths.to_pylist()]], pa.string())
    elsewhere = pc.or_(pc.match_substring(paths, "://"), pc.starts_with(paths, "/"))
    if pc.any(elsewhere).as_py():
        outside = paths.filter(elsewhere)[0].as_py()
        raise Invalid("lies outside of the table", field="file", value=outside, expected=f"a place below {location}")
    return actions.set_column(0, "path", paths)


def _manifest(actions: pa.Table, schema: pa.Schema, partition_columns: tuple[str, ...]) -> pa.Table:
    columns: dict[str, Any] = {
        "path": actions["path"],
        "size": actions["size_bytes"].cast(pa.int64()),
        "rows": actions["num_records"].cast(pa.int64()),
        **manifest_statistics(actions, schema, partition_columns),
    }
    values = actions["partition"].combine_chunks() if partition_columns else None
    for name in partition_columns:
        columns[f"partition.{name}"] = partition_texts(pc.struct_field(values, name))
    manifest = pa.table(columns)
    return manifest.take(pc.sort_indices(manifest["path"]))


def _stored_schema(
    store: Store, location: Location, schema: pa.Schema, actions: pa.Table, partition_columns: tuple[str, ...]
) -> pa.Schema:
    """The log's schema, but with lists of a fixed size where the first file has them: engines read them as such."""
    lists = [each.name for each in schema if pa.types.is_list(each.type)]
    if not lists or not len(actions):
        return schema
    first = location.joined(actions["path"][0].as_py())
    system, to_path = store.filesystem()
    try:
        seen = pq.read_schema(to_path(first), filesystem=system)
    except (pa.ArrowInvalid, OSError) as wrong:
        raise Invalid(f"is no Parquet file: {wrong}", field="file", value=str(first)) from None
    for name in set(lists) & set(seen.names):
        if pa.types.is_fixed_size_list(seen.field(name).type):
            index = schema.get_field_index(name)
            schema = schema.set(index, schema.field(index).with_type(seen.field(name).type))
    return schema


# ------------------------------------------------------------------------------------------------------- writing


def _commit(store: Store, location: Location, schema: pa.Schema, files: list[DataFile], options: WriteOptions) -> None:
    """The log's first entry."""
    stored = pa.schema([each for each in schema if each.name not in options.partition_by])
    now = int(time.time() * 1000)
    actions = [
        AddAction(file.path, file.size, file.partition, now, True, add_statistics(file, stored)) for file in files
    ]
    try:
        create_table_with_add_actions(
            store.uri(location),
            Schema.from_arrow(schema),
            actions,
            mode="error",
            partition_by=list(options.partition_by),
            storage_options=store.options() or None,
            commit_properties=CommitProperties(custom_metadata=dict(options.metadata)),
        )
    except DeltaError as wrong:
        if "already exists" in str(wrong):
            raise Conflict("was written by somebody else", field="location", value=str(location)) from None
        raise
    except OSError as failure:
        message = f"cannot be written: {failure}"
        raise Unavailable(message, field="location", value=str(location)) from failure
