"""Values of a predicate, as its columns hold them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.errors import Invalid
from feature_registry.model import Condition, Operator, Where

OPERATORS: tuple[str, ...] = get_args(Operator)
LISTS = ("in", "not in")
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_FRACTION = re.compile(r"[.,][0-9]{7,}")
Convert = Callable[[Any], Any]


def coerce(where: Where, schema: pa.Schema) -> Where:
    """The predicate with values of its columns' Python types: int, float, bool, str, datetime, date, Decimal.

    Ids come as integers or strings, instants as ISO 8601. Raises `Invalid` for a column that the table lacks, an
    unknown operator, null (nothing compares to it) and a value that its column cannot hold; an integer may lie outside
    of its column's range. Columns of other types (nested, binary, times) are not looked into: nothing is pruned by
    them.
    """
    return tuple(tuple(_condition(condition, schema) for condition in conditions) for conditions in where)


def plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _condition(condition: Any, schema: pa.Schema) -> Condition:
    if not isinstance(condition, (tuple, list)) or len(condition) != 3:
        raise Invalid("is no condition", field="where", value=condition, expected="(column, operator, value)")
    column, operator, value = condition
    if column not in schema.names:
        raise Invalid("names a column that the table lacks", field="where", value=column, expected=schema.names)
    if operator not in OPERATORS:
        raise Invalid("is no operator", field="where", value=operator, expected=OPERATORS)
    kind = plain(schema.field(column).type)
    convert = _converter(column, kind)
    if operator not in LISTS:
        return column, operator, value if convert is None else convert(value)
    values = _listed(column, value)
    if convert is None:
        return column, operator, tuple(values)
    fast = _integers(values) if pa.types.is_integer(kind) else None
    return column, operator, tuple(map(convert, values)) if fast is None else tuple(fast)


def _listed(column: str, value: Any) -> list[Any]:
    for method in ("to_list", "to_pylist", "tolist"):  # of Polars and pandas, Arrow, numpy
        if hasattr(value, method):
            value = getattr(value, method)()
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, Iterable):
        raise _unfit(column, value, "a list of values")
    return list(value)


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


def _converter(column: str, kind: pa.DataType) -> Convert | None:
    """None for a type that is not looked into."""
    named = [
        (pa.types.is_integer, _integer, "an integer, or a string of digits; no float is an exact id"),
        (pa.types.is_floating, _float, "a number"),
        (pa.types.is_boolean, _boolean, "true or false"),
        (is_text, _text, "a string"),
        (pa.types.is_date, _date, "a date such as 2024-05-01"),
        (pa.types.is_decimal, _decimal, "a number"),
    ]
    if pa.types.is_timestamp(kind):
        instant, expected = (_instant, "with a zone") if kind.tz else (_local, "without a zone")
        return _checked(column, instant, f"a time {expected}, such as 2024-05-01T12:00:00{'Z' if kind.tz else ''}")
    for test, convert, expected in named:
        if test(kind):
            return _checked(column, convert, expected)
    return None


def _checked(column: str, convert: Convert, expected: str) -> Convert:
    def checked(value: Any) -> Any:
        if type(value).__module__ == "numpy" and hasattr(value, "item"):
            value = value.item()
        try:
            return convert(value)
        except (TypeError, ValueError, InvalidOperation, OverflowError):
            raise _unfit(column, value, expected) from None

    return checked


def _unfit(column: str, value: Any, expected: str) -> Invalid:
    shown = "null" if value is None else value
    return Invalid("does not fit its column", field=f"where.{column}", value=shown, expected=expected)


def _integer(value: Any) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError
    return float(value)


def _boolean(value: Any) -> bool:
    named = {"true": True, "false": False}
    if isinstance(value, str) and value.lower() in named:
        return named[value.lower()]
    if not isinstance(value, bool):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half a surrogate is in no file
    return value


def _date(value: Any) -> date:
    if isinstance(value, str):
        return date.fromisoformat(value)
    if isinstance(value, datetime) or not isinstance(value, date):
        raise TypeError
    return value


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
        raise TypeError
    found = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not found.is_finite():
        raise ValueError
    return found


def _instant(value: Any) -> datetime:
    found = _datetime(value)
    if found.utcoffset() is None:
        raise ValueError
    return found.astimezone(UTC)


def _local(value: Any) -> datetime:
    found = _datetime(value)
    if found.utcoffset() is not None:
        raise ValueError
    return found


def _datetime(value: Any) -> datetime:
    if isinstance(value, str):
        if _FRACTION.search(value):  # which Python would cut off
            raise ValueError
        return datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise TypeError
    return value


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
