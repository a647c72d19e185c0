"""How Arrow's types are stored in Delta Lake, which has fewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.errors import Invalid

_WIDER = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.int64()}
_WIDER |= {pa.float16(): pa.float32()}
_KEPT = ("boolean", "signed_integer", "float32", "float64", "string", "binary", "decimal128")
_OTHERWISE: dict[str, Callable[[pa.DataType], pa.DataType]] = {
    **dict.fromkeys(["large_string", "string_view"], lambda kind: pa.string()),
    **dict.fromkeys(["large_binary", "binary_view", "fixed_size_binary"], lambda kind: pa.binary()),
    **dict.fromkeys(["decimal32", "decimal64"], lambda kind: pa.decimal128(kind.precision, kind.scale)),
    "date": lambda kind: pa.date32(),
}


def storable(schema: pa.Schema) -> tuple[pa.Schema, dict[str, str]]:
    """The schema that Delta stores, and the logical types of the columns for which it loses the type.

    Strings and binaries of another encoding, date64 and narrow decimals are not worth a cast back. Raises `Invalid`,
    naming the column, for types that Delta has no counterpart of, and for narrow types inside of others.
    """
    stored, logical = [], {}
    for each in schema:
        kind = _stored(each.name, each.type)
        stored.append(each.with_type(kind).remove_metadata())
        if (
            each.type in _WIDER
            or pa.types.is_fixed_size_list(each.type)
            or (pa.types.is_timestamp(kind) and kind != each.type)
        ):
            logical[each.name] = str(each.type)
    if len({name.lower() for name in schema.names}) < len(schema.names):
        raise Invalid("has names that are equal but for case", field="columns", value=schema.names)
    return pa.schema(stored), logical


def converted(data: pa.RecordBatchReader, schema: pa.Schema) -> pa.RecordBatchReader:
    """The batches in the stored schema. Raises `Invalid`, naming column and value, where a value does not fit."""
    if data.schema.equals(schema):
        return data

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in data:
            columns = [_cast(batch.column(i), each) for i, each in enumerate(schema)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _stored(column: str, kind: pa.DataType, nested: bool = False) -> pa.DataType:
    """Types inside of others are not cast back on read, so they must be stored as they are."""
    if pa.types.is_dictionary(kind):
        return _stored(column, kind.value_type, nested)
    if any(getattr(pa.types, f"is_{name}")(kind) for name in _KEPT):
        return kind
    for name, stored in _OTHERWISE.items():
        if getattr(pa.types, f"is_{name}")(kind):
            return stored(kind)
    if pa.types.is_timestamp(kind) and (not nested or kind.unit == "us"):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if not nested and kind in _WIDER:
        return _WIDER[kind]
    if pa.types.is_nested(kind) and not (nested and pa.types.is_fixed_size_list(kind)):
        return _stored_nested(column, kind)
    where = "inside of another type " if nested else ""
    raise Invalid(f"is of type {kind}, which Delta cannot hold {where}".strip(), field="column", value=column)


def _stored_nested(column: str, kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([_element(column, kind.field(number)) for number in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_element(column, kind.key_field).type, _element(column, kind.item_field))
    if any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)):
        return pa.list_(_element(column, kind.value_field))
    raise Invalid(f"is of type {kind}, which Delta cannot hold", field="column", value=column)


def _element(column: str, each: pa.Field) -> pa.Field:
    return each.with_type(_stored(column, each.type, nested=True))


def _cast(values: pa.Array, each: pa.Field) -> pa.Array:
    if values.type == each.type:
        return values
    try:
        return pc.cast(values, each.type)
    except pa.ArrowInvalid as wrong:
        shown = pc.max(values).as_py() if pa.types.is_integer(values.type) else str(wrong)
        expected = "at most 2^63-1" if pa.types.is_integer(values.type) else f"values that are whole as {each.type}"
        raise Invalid("does not fit into Delta", field=each.name, value=shown, expected=expected) from None
    except pa.ArrowNotImplementedError:
        raise Invalid(
            f"is of type {values.type}, which cannot be cast to {each.type}", field="column", value=each.name
        ) from None
