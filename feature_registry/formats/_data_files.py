"""Writes a stream of Arrow batches into Parquet data files, which several formats consist of."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from feature_registry.errors import Invalid, Unavailable
from feature_registry.formats import WriteOptions
from feature_registry.formats._sorting import sorted_batches
from feature_registry.location import Location

if TYPE_CHECKING:
    from feature_registry.storage import Store

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"

Partition = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that was written. `path` is the literal key below the table's location."""

    path: str
    size: int
    footer: pq.FileMetaData
    partition: Partition = field(default_factory=dict)


def write_files(
    store: Store,
    location: Location,
    data: pa.RecordBatchReader,
    options: WriteOptions,
    *,
    suffix: str = "",
    at_least_one: bool = False,
) -> list[DataFile]:
    """Writes zstd Parquet files in Hive folders; removes them if it fails half-way.

    `suffix` is part of the files' names, so that two writers of one table never share a file. `at_least_one`: a table
    without rows becomes a file without rows, whose partition values are null.
    """
    partition_types(data.schema, options.partition_by)
    keys, axes = ((), options.sort_by) if options.curve else (options.sort_by, ())
    if options.partition_by or options.sort_by:  # a partition's rows stand together: one file is open at a time
        data = sorted_batches(data, list(dict.fromkeys((*options.partition_by, *keys))), axes, options.key)
    writer = _Writer(store, location, data.schema, options, suffix)
    try:
        for batch in data:
            for partition, rows in _split(batch, options.partition_by):
                writer.add(partition, rows)
        if at_least_one and not writer.begun:
            writer.add(dict.fromkeys(options.partition_by), data.schema.empty_table())
        return writer.close()
    except BaseException as failure:
        writer.abandon()
        if isinstance(failure, OSError):  # a full disk, most often
            message = f"cannot be written: {failure}"
            raise Unavailable(message, field="location", value=str(location)) from failure
        raise


class _Writer:
    """Writes one file after the other. Rows wait until they fill a row group."""

    def __init__(
        self, store: Store, location: Location, schema: pa.Schema, options: WriteOptions, suffix: str = ""
    ) -> None:
        self._location = location
        self._system, self._to_path = store.filesystem()
        names = [name for name in schema.names if name not in options.partition_by]
        _check_columns([schema.field(name) for name in names])
        metadata = (schema.metadata or {}) | {key.encode(): text.encode() for key, text in options.metadata.items()}
        self._schema = pa.schema([schema.field(name) for name in names], metadata=metadata)
        self._options = options
        self._suffix = suffix
        self._partition: Partition | None = None
        self._number = 0  # of the next file in the partition
        self._file: _OpenFile | None = None
        self._files: list[DataFile] = []
        self.begun: list[str] = []

    def add(self, partition: Partition, rows: pa.Table) -> None:
        """Appends rows to the partition; without rows, only makes sure that it has a file."""
        if partition != self._partition:
            self._end()
            self._partition, self._number = partition, 0
        rows = rows.select(self._schema.names).replace_schema_metadata(self._schema.metadata)
        while True:
            self._file = self._file or self._begin(partition)
            rows = self._file.add(rows)
            if self._file.full:
                self._end()
            if not len(rows):
                break

    def close(self) -> list[DataFile]:
        self._end()
        return sorted(self._files, key=lambda file: file.path)

    def abandon(self) -> None:
        """Removes what was written."""
        if self._file is not None:
            self._file.abandon()
        for path in self.begun:
            self._system.delete_file(self._to_path(self._location.joined(path)))

    def _begin(self, partition: Partition) -> _OpenFile:
        folder = "".join(f"{hive_segment(name, value)}/" for name, value in partition.items())
        path = f"{folder}part-{self._number:05}{self._suffix}.parquet"
        self._number += 1
        target = self._to_path(self._location.joined(path))
        if isinstance(self._system, fs.LocalFileSystem):  # a bucket has no folders
            self._system.create_dir(target.rsplit("/", 1)[0])
        self.begun.append(path)
        return _OpenFile(path, partition, self._system.open_output_stream(target), self._schema, self._options)

    def _end(self) -> None:
        if self._file is not None:
            self._files.append(self._file.close())
            self._file = None


def _check_columns(columns: list[pa.Field]) -> None:
    def fits(some: list[pa.Field]) -> bool:
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), pa.schema(some)).close()
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
            return False
        return True

    if not fits(columns):
        odd = next(column for column in columns if not fits([column]))
        raise Invalid(f"is of type {odd.type}, which Parquet cannot hold", field="column", value=odd.name)


class _OpenFile:
    def __init__(
        self, path: str, partition: Partition, sink: pa.NativeFile, schema: pa.Schema, options: WriteOptions
    ) -> None:
        self._path, self._partition, self._sink, self._options = path, partition, sink, options
        self.full = False
        self._pending = schema.empty_table()
        self._footers: list[pq.FileMetaData] = []
        # A dictionary of ids is four times slower to write than plain values and, once compressed, not smaller.
        # Packed differences of integers are written as fast as plain values, and an eighth smaller.
        texts = [column.name for column in schema if _is_text(column.type)]
        packed = [column.name for column in schema if pa.types.is_integer(column.type)]
        self._writer = pq.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            use_dictionary=texts,
            column_encoding=dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
            metadata_collector=self._footers,
        )

    def add(self, rows: pa.Table) -> pa.Table:
        """Takes rows until it is full, and returns those that it has no place for."""
        self._pending = pa.concat_tables([self._pending, rows])
        while len(self._pending) >= self._options.rows_per_group and not self.full:
            self._write(self._options.rows_per_group)
            self.full = self._sink.tell() >= self._options.bytes_per_file
        left = self._pending if self.full else self._pending.slice(0, 0)
        self._pending = self._pending.slice(0, 0) if self.full else self._pending
        return left

    def close(self) -> DataFile:
        if len(self._pending):
            self._write(len(self._pending))
        self._writer.close()
        size = self._sink.tell()
        self._sink.close()
        return DataFile(self._path, size, self._footers[0], self._partition)

    def abandon(self) -> None:
        for part in (self._writer, self._sink):
            with contextlib.suppress(Exception):  # it is not whole, and about to be removed
                part.close()

    def _write(self, rows: int) -> None:
        self._writer.write_table(self._pending.slice(0, rows), row_group_size=rows)
        self._pending = self._pending.slice(rows)


_STRINGS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (*_STRINGS, pa.types.is_binary, pa.types.is_dictionary))


# ---------------------------------------------------------------------------------------------------- partitions


def hive_segment(name: str, value: str | None) -> str:
    return f"{quote(name, safe='')}={NULL_PARTITION if value is None else quote(value, safe='')}"


def partition_texts(values: pa.Array) -> pa.Array:
    """Typed partition values as Hive and Delta spell them."""
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp(values.type.unit))
    return values.cast(pa.string())


def partition_types(schema: pa.Schema, names: tuple[str, ...]) -> dict[str, pa.DataType]:
    """The plain types of partition columns. Raises `Invalid` for those that a folder's name cannot hold."""
    types = {}
    for name in names:
        index = schema.get_field_index(name)
        if index < 0:
            raise Invalid("is no column", field="partition_by", value=name, expected=schema.names)
        kind = schema.field(index).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if any(test(kind) for test in _STRINGS):
            kind = pa.string()
        elif not any(test(kind) for test in (pa.types.is_integer, pa.types.is_boolean, pa.types.is_date32)):
            expected = "integers, strings, booleans or dates"
            raise Invalid(f"is of type {kind}", field="partition_by", value=name, expected=expected)
        types[name] = kind
    if names and len(names) == len(schema.names):
        raise Invalid("are all columns", field="partition_by", value=names, expected="a column that is left")
    return types


def _split(batch: pa.RecordBatch, names: tuple[str, ...]) -> Iterator[tuple[Partition, pa.Table]]:
    """The rows of each partition, which stand together."""
    begins = np.arange(len(batch)) == 0
    for name in names:
        codes = _plain(batch[name]).dictionary_encode(null_encoding="encode").indices.to_numpy()
        begins[1:] |= codes[1:] != codes[:-1]
    starts = np.flatnonzero(begins)
    texts = {name: partition_texts(_plain(batch[name]).take(pa.array(starts))).to_pylist() for name in names}
    for number, (start, end) in enumerate(itertools.pairwise([*starts.tolist(), len(batch)])):
        partition = {name: values[number] for name, values in texts.items()}
        for name, value in partition.items():
            if value in ("", NULL_PARTITION):
                raise Invalid("cannot be the name of a folder", field=name, value=value, expected="a text, or null")
        yield partition, pa.Table.from_batches([batch.slice(start, end - start)])


def _plain(values: pa.Array) -> pa.Array:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
