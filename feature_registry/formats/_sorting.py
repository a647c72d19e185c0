"""Sorts a stream of Arrow batches in bounded memory.

A stream that does not fit in memory is cut into sorted runs on disk; sampled keys then divide it into ranges that do,
and the rows of one range after the other are fetched from all runs and sorted. Equal keys keep their order. Nulls come
last, NaN before them.
"""

from __future__ import annotations

import bisect
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.errors import Invalid

MEMORY = 256 << 20
"""Bytes of Arrow data that are sorted at once; the peak is about three times as much."""
SAMPLES = 1_000
"""Sampled rows a run."""
Row = tuple[tuple[int, Any], ...]
RUN, ROW = "\0run", "\0row"  # they make every key unique, so that no range is larger than another for its equal keys


def sorted_batches(
    reader: pa.RecordBatchReader, keys: tuple[str, ...], memory: int | None = None
) -> pa.RecordBatchReader:
    """The rows ordered by the key columns, ascending. Raises `Invalid` for keys that cannot be ordered."""
    schema = reader.schema
    for key in keys:
        if schema.get_field_index(key) < 0:
            raise Invalid("is no column", field="sort_by", value=key, expected=schema.names)
        if pa.types.is_nested(schema.field(key).type):
            raise Invalid(f"is of type {schema.field(key).type}", field="sort_by", value=key, expected="a plain column")
    return pa.RecordBatchReader.from_batches(schema, _sorted(reader, keys, memory or MEMORY))


def _sorted(reader: pa.RecordBatchReader, keys: tuple[str, ...], memory: int) -> Iterator[pa.RecordBatch]:
    runs = _runs(reader, memory)
    first = next(runs, reader.schema.empty_table())
    second = next(runs, None)
    if second is None:
        yield from _ordered(first, keys).to_batches(max_chunksize=1 << 16)
        return
    with tempfile.TemporaryDirectory(prefix="feature-registry-sort-") as folder:
        spilled = Spilled(Path(folder), keys)
        for run in (first, second):
            spilled.add(run)
        del first, second
        for run in runs:
            spilled.add(run)
        for part in spilled.parts(memory):
            yield from _ordered(part, keys).to_batches(max_chunksize=1 << 16)


def _runs(reader: pa.RecordBatchReader, memory: int) -> Iterator[pa.Table]:
    pending: list[pa.RecordBatch] = []
    size = 0
    for batch in reader:
        pending.append(batch)
        size += batch.nbytes
        if size >= memory:
            yield pa.Table.from_batches(pending)
            pending, size = [], 0
    if pending:
        yield pa.Table.from_batches(pending)


def _ordered(table: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    if not len(table):
        return table
    order = pc.sort_indices(_plain(table.select(list(keys))), sort_keys=[(key, "ascending") for key in keys])
    return table.combine_chunks().take(order)  # of many chunks, taking is four times slower


def _plain(keys: pa.Table) -> pa.Table:
    """Dictionaries are ordered by their values, not by their codes; instants compare as integers in Python, too."""
    for index, field in enumerate(keys.schema):
        column = keys.column(index)
        if pa.types.is_dictionary(field.type):
            keys = keys.set_column(index, field.name, column.cast(field.type.value_type))
        elif pa.types.is_timestamp(field.type) or pa.types.is_duration(field.type):
            keys = keys.set_column(index, field.name, column.cast(pa.int64()))
    return keys


def _comparable(value: Any) -> tuple[int, Any]:
    """In the order of `sort_indices`: values, NaN, null."""
    if value is None:
        return 2, 0
    return (1, 0) if isinstance(value, float) and math.isnan(value) else (0, value)


class Spilled:
    """Sorted runs on disk, and a sample of their keys."""

    def __init__(self, folder: Path, keys: tuple[str, ...]) -> None:
        self._folder = folder
        self._keys = keys
        self._unique = (*keys, RUN, ROW)
        self._samples: list[pa.Table] = []
        self._bytes = 0

    def add(self, run: pa.Table) -> None:
        ordered = _ordered(run, self._keys)
        number = len(self._samples)
        with pa.OSFile(str(self._path(number)), "wb") as sink, pa.ipc.new_file(sink, ordered.schema) as writer:
            writer.write_table(ordered, max_chunksize=1 << 16)
        keys = self._numbered(ordered, number)
        step = max(len(run) // SAMPLES, 1)
        self._samples.append(keys.take(pa.array(np.arange(0, len(run), step))))
        self._bytes += run.nbytes

    def parts(self, memory: int) -> Iterator[pa.Table]:
        """Tables of about `memory` bytes; every row of one sorts before every row of the next."""
        boundaries = self._boundaries(-(-self._bytes // memory))
        sources = [pa.memory_map(str(self._path(number))) for number in range(len(self._samples))]
        try:
            runs = [pa.ipc.open_file(source).read_all() for source in sources]
            cuts = [self._cuts(self._numbered(run, number), boundaries) for number, run in enumerate(runs)]
            for part in range(len(boundaries) + 1):
                pieces = [run.slice(cut[part], cut[part + 1] - cut[part]) for run, cut in zip(runs, cuts, strict=True)]
                yield pa.concat_tables(pieces)
        finally:
            for source in sources:
                source.close()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"

    def _numbered(self, ordered: pa.Table, number: int) -> pa.Table:
        keys = _plain(ordered.select(list(self._keys)))
        keys = keys.append_column(RUN, pa.array(np.full(len(ordered), number)))
        return keys.append_column(ROW, pa.array(np.arange(len(ordered))))

    def _boundaries(self, parts: int) -> list[Row]:
        samples = _ordered(pa.concat_tables(self._samples), self._unique)
        chosen = samples.take(pa.array(np.arange(1, parts) * len(samples) // parts))
        return [tuple(map(_comparable, row)) for row in zip(*chosen.to_pydict().values(), strict=True)]

    def _cuts(self, keys: pa.Table, boundaries: list[Row]) -> list[int]:
        """Row numbers of a run at which the ranges begin, and its length."""
        columns = keys.combine_chunks().columns

        def row(number: int) -> Row:
            return tuple(_comparable(column[number].as_py()) for column in columns)

        cuts = [bisect.bisect_left(range(len(keys)), boundary, key=row) for boundary in boundaries]
        return [0, *cuts, len(keys)]
