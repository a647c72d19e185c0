"""Values of a predicate, as its columns hold them."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.model import Condition, Where
from feature_registry.model.conditions import LISTS, Kind, checked, fitted, listed


def coerce(where: Where, schema: pa.Schema) -> Where:
    """The predicate with values as `fitted` makes them. Raises `Invalid` for a column that the table lacks, an unknown
    operator and a value that its column cannot hold. Nothing is pruned by columns of no kind.
    """
    return tuple(tuple(_condition(condition, schema) for condition in conditions) for conditions in where)


def plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _condition(condition: Any, schema: pa.Schema) -> Condition:
    column, operator, value = checked(condition, schema.names)
    kind = _kind(plain(schema.field(column).type))
    if operator not in LISTS:
        return column, operator, fitted(column, value, kind)
    values = listed(column, value)
    fast = _integers(values) if kind == "integer" else None
    return column, operator, tuple(fast or (fitted(column, each, kind) for each in values))


def _kind(kind: pa.DataType) -> Kind | None:
    """None for a type that is not looked into."""
    if pa.types.is_timestamp(kind):
        return "instant" if kind.tz else "local"
    named: list[tuple[Any, Kind]] = [
        (pa.types.is_integer, "integer"),
        (pa.types.is_floating, "float"),
        (pa.types.is_boolean, "boolean"),
        (is_text, "text"),
        (pa.types.is_date, "date"),
        (pa.types.is_decimal, "decimal"),
    ]
    return next((name for test, name in named if test(kind)), None)


def _integers(values: list[Any]) -> list[int] | None:
    """A million ids in a tenth of a second; None: look at each."""
    kinds = set(map(type, values))
    if kinds == {int}:
        return values
    if kinds != {str}:
        return None
    try:
        found: list[int] = pc.cast(pa.array(values, pa.string()), pa.int64()).to_pylist()
    except pa.ArrowInvalid:
        return None
    return found


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
