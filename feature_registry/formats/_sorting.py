"""Sorts a stream of Arrow batches in bounded memory, by DuckDB, which spills to disk what does not fit.

Nulls come last, NaN before them. What is sorted twice is the same twice: rows that the order leaves equal go by the
columns that name a row, or keep their order where nobody says which these are, at twice the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.errors import Invalid, Unavailable

MEMORY = "750MB"
"""What DuckDB may hold; the rest waits on disk. At its peak it takes half as much again."""
ROWS_PER_BATCH = 65_536
CURVE, ROW = ("high", "low"), "row"  # columns that are added for the order

Codes = npt.NDArray[np.uint64]


def check_sorting(schema: pa.Schema, keys: Sequence[str], axes: Sequence[str] = ()) -> None:
    """Raises `Invalid` for columns that cannot be ordered, and for those that DuckDB cannot hold."""
    for name in (*keys, *axes):
        if schema.get_field_index(name) < 0:
            raise Invalid("is no column", field="sort_by", value=name, expected=schema.names)
        kind = schema.field(name).type
        if pa.types.is_nested(kind) or (name in axes and not pa.types.is_integer(kind)):
            expected = "integers" if name in axes else "a plain column"
            raise Invalid(f"is of type {kind}", field="sort_by", value=name, expected=expected)
    held_schema(schema)


def sorted_batches(
    reader: pa.RecordBatchReader,
    keys: Sequence[str],
    axes: Sequence[str] = (),
    unique: Sequence[str] = (),
    memory: str = MEMORY,
) -> pa.RecordBatchReader:
    """The rows ordered by the columns `keys`, ascending, then along a Morton curve through the axes, then by the
    columns `unique`, which name a row.

    Raises what `check_sorting` does.
    """
    check_sorting(reader.schema, keys, axes)
    plain = [name for name in unique if reader.schema.get_field_index(name) >= 0]
    unique = () if any(pa.types.is_nested(reader.schema.field(name).type) for name in plain) else plain
    return pa.RecordBatchReader.from_batches(reader.schema, _sorted(reader, keys, axes, unique, memory))


def _sorted(
    reader: pa.RecordBatchReader, keys: Sequence[str], axes: Sequence[str], unique: Sequence[str], memory: str
) -> Iterator[pa.RecordBatch]:
    schema, columns = reader.schema, held_schema(reader.schema)
    numbered = {name: f"c{schema.get_field_index(name)}" for name in (*keys, *unique)}
    curve, ties = (CURVE if axes else ()), ([numbered[name] for name in unique] or [ROW])
    extra = pa.schema([(name, pa.uint64()) for name in (*curve, *(() if unique else (ROW,)))])
    failures: list[BaseException] = []
    prepared = pa.RecordBatchReader.from_batches(
        pa.schema([*columns, *extra]), _recorded(_prepared(reader, axes, not unique), failures)
    )
    source = to_duckdb(prepared)  # noqa: F841  DuckDB finds it by its name
    order = ", ".join(dict.fromkeys([*(numbered[key] for key in keys), *curve, *ties]))
    names = ", ".join(columns.names)
    with (
        tempfile.TemporaryDirectory(prefix="feature-registry-sort-") as folder,
        duckdb.connect(config={"memory_limit": memory, "temp_directory": folder}) as connection,
    ):
        try:
            connection.execute("set preserve_insertion_order = false")  # which would hold more of the source
            found = connection.sql(f"select {names} from source order by {order}")  # noqa: S608  numbered columns
            for batch in found.to_arrow_reader(ROWS_PER_BATCH):
                arrays = [_back(array, each.type) for array, each in zip(batch.columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        except (duckdb.Error, pa.ArrowException, OSError) as failure:
            if failures:
                raise failures[0] from None
            raise Unavailable(f"cannot be sorted: {failure}", field="sort_by", value=list(keys)) from failure


def _recorded(batches: Iterator[pa.RecordBatch], failures: list[BaseException]) -> Iterator[pa.RecordBatch]:
    """Notes what the source raises, of which only the text comes out of DuckDB."""
    try:
        yield from batches
    except Exception as failure:
        failures.append(failure)
        raise


def _prepared(reader: pa.RecordBatchReader, axes: Sequence[str], number: bool) -> Iterator[pa.RecordBatch]:
    """With the codes of the curve, and the rows' numbers where they are wanted."""
    schema, rows = held_schema(reader.schema), 0
    for batch in reader:
        held = into_duckdb(batch, schema)
        if axes:
            for name, code in zip(CURVE, morton([batch[axis] for axis in axes]), strict=True):
                held = held.append_column(name, pa.array(code))
        if number:
            held = held.append_column(ROW, pa.array(np.arange(rows, rows + len(batch), dtype=np.uint64)))
        yield held
        rows += len(batch)


# ----------------------------------------------------------------------------------------------- types of DuckDB

_SAME: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_boolean,
    pa.types.is_date32,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
    pa.types.is_decimal128,
)


def held_schema(schema: pa.Schema) -> pa.Schema:
    """How DuckDB holds the columns without a loss, in the same order. Raises `Invalid` for those that it cannot hold.

    Numbers instead of names, since DuckDB does not tell `a` from `A`.
    """
    return pa.schema([(f"c{number}", _held(each.name, each.type)) for number, each in enumerate(schema)])


def _held(column: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _held(column, kind.value_type)
    if pa.types.is_temporal(kind) and kind != pa.month_day_nano_interval():
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_null(kind):
        return pa.bool_()
    if pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind):
        return pa.decimal128(kind.precision, kind.scale)
    if not _fits(kind):
        raise Invalid(f"is of type {kind}, which cannot be sorted along", field="column", value=column)
    return kind


def _fits(kind: pa.DataType) -> bool:
    """Whether a type goes through DuckDB and back by a cast, inside of other types too."""
    if pa.types.is_map(kind):
        return _fits(kind.key_type) and _fits(kind.item_type)
    if any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        return _fits(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_fits(kind.field(number).type) for number in range(kind.num_fields))
    if pa.types.is_timestamp(kind):  # with a zone, DuckDB has microseconds only
        return kind.tz is None or kind.unit == "us"
    return any(test(kind) for test in _SAME)


def to_duckdb(reader: pa.RecordBatchReader) -> Any:
    """A stream that DuckDB reads as it needs; of a reader itself, pyarrow would read up to a gigabyte ahead for it."""
    return reader.__arrow_c_stream__()


def into_duckdb(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in its `held_schema`."""
    arrays = []
    for array, each in zip(batch.columns, schema, strict=True):
        view = pa.types.is_temporal(array.type) and array.type != each.type
        arrays.append(array.view(each.type) if view else array.cast(each.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _back(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_null(kind):
        return pa.nulls(len(array))
    return array.view(kind) if pa.types.is_temporal(kind) else array.cast(kind)


# ------------------------------------------------------------------------------------------------- Morton's order


def morton(axes: Sequence[pa.Array]) -> tuple[Codes, Codes]:
    """The upper and the lower part of the code of points, whose axes are two or three integer columns.

    An axis has 32 bits: values from -2^31, which is 0, to 2^31 - 1; those beyond are taken for the nearest of these,
    and nulls for the largest. The upper part interleaves the upper 11 bits, the lower part the lower 21. Two axes leave
    the third one's bits empty, which does not change the order.
    """
    high, low = np.zeros((2, len(axes[0])), np.uint64)
    for number, axis in enumerate(axes):
        values = pc.fill_null(axis.cast(pa.int64()), 2**31 - 1).to_numpy(zero_copy_only=False)
        places = (np.clip(values, -(2**31), 2**31 - 1) + 2**31).astype(np.uint64)
        high |= _spread(places >> np.uint64(21)) << np.uint64(number)
        low |= _spread(places & np.uint64(0x1FFFFF)) << np.uint64(number)
    return high, low


_STEPS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def _spread(values: Codes) -> Codes:
    """The lower 21 bits, with two empty bits after each.

    Source: Sean Eron Anderson, Bit Twiddling Hacks, "Interleave bits by Binary Magic Numbers"; for three axes of 21
    bits as in libmorton's `morton3D_SplitBy3bits`.
    """
    for shift, mask in _STEPS:
        values = (values | (values << np.uint64(shift))) & np.uint64(mask)
    return values
