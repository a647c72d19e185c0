"""Values of a filter, made into what their column holds, in plain Python."""

from __future__ import annotations

import math
import operator as operators
import struct
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from feature_registry.errors import Invalid
from feature_registry.model import Condition, Operator

if TYPE_CHECKING:
    import polars as pl

EXACT_IN_FLOAT = 2**53


def listed(column: str, values: Any, dtype: pl.DataType) -> tuple[Any, ...]:
    """The values of an `in`, each once, in ascending order where they have one; nulls are equal to nothing and go.

    Takes any iterable: a list, a set, a Polars or pandas Series, a numpy or Arrow array.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise Invalid("takes a list of values", field=f"where.{column}", value=values, expected="a list")
    found: set[Any] = set()
    plain = [value for value in _plain(values) if value is not None]
    if dtype.is_integer() and set(map(type, plain)) <= {int}:
        found.update(plain)  # a million ids in a fraction of a second
    else:
        for value in plain:
            _, kept, one = converted(column, "==", value, dtype)
            if kept == "==":
                found.add(one)
    try:
        return tuple(sorted(found))
    except TypeError:
        return tuple(found)


def _plain(values: Any) -> Iterable[Any]:
    for method in ("to_list", "to_pylist", "tolist"):
        if hasattr(values, method):
            plain = getattr(values, method)()
            return plain if isinstance(plain, list) else [plain]
    return list(values)


def converted(column: str, operator: Operator, value: Any, dtype: pl.DataType) -> Condition:
    """The condition with its value as the column holds it. A fraction that is compared with integers or milliseconds
    moves to the next one that says the same; one that is equal to none becomes an empty list.
    """
    import polars as pl

    value = value.item() if type(value).__module__ == "numpy" else value
    if value is None:
        raise _unfit(column, value, "a value; ask for nulls with the expression pl.col(...).is_null()")
    if dtype.is_integer():
        return _integer(column, operator, value)
    if dtype.is_float():
        return column, operator, _float(column, value, dtype)
    if dtype == pl.Boolean:
        return column, operator, _boolean(column, value)
    if dtype == pl.Date:
        return column, operator, _date(column, _parsed(column, value))
    if isinstance(dtype, pl.Datetime):
        return _counted(column, operator, _instant(column, _parsed(column, value), dtype), dtype)
    if (dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum))) and not isinstance(value, str):
        raise _unfit(column, value, "a string")
    return column, operator, value


def _integer(column: str, operator: Operator, value: Any) -> Condition:
    if isinstance(value, float):
        if math.isnan(value) or abs(value) >= EXACT_IN_FLOAT:
            raise _unfit(column, value, "an integer; a float beyond 2^53 is no exact id")
        if value.is_integer():
            return column, operator, int(value)
        if operator in ("==", "!="):
            return column, "in" if operator == "==" else "not in", ()
        return column, operator, math.floor(value) if operator in (">", "<=") else math.ceil(value)
    try:
        return column, operator, int(value) if isinstance(value, str) else operators.index(value)
    except (TypeError, ValueError):
        raise _unfit(column, value, "an integer") from None


def _float(column: str, value: Any, dtype: pl.DataType) -> float:
    import polars as pl

    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise _unfit(column, value, "a number") from None
    if dtype == pl.Float32 and math.isfinite(number):
        try:
            return float(struct.unpack("f", struct.pack("f", number))[0])  # what the column itself would hold
        except OverflowError:
            return math.copysign(math.inf, number)
    return number


def _boolean(column: str, value: Any) -> bool:
    named = {"true": True, "false": False}
    if isinstance(value, str) and value.lower() in named:
        return named[value.lower()]
    if not isinstance(value, bool):
        raise _unfit(column, value, "true or false")
    return value


def _parsed(column: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise _unfit(column, value, "a date or time such as 2024-05-01T12:00:00+00:00") from None


def _date(column: str, value: Any) -> date:
    if isinstance(value, datetime) and value == datetime.combine(value.date(), datetime.min.time(), value.tzinfo):
        return value.date()
    if isinstance(value, datetime) or not isinstance(value, date):
        raise _unfit(column, value, "a date")
    return value


def _instant(column: str, value: Any, dtype: pl.Datetime) -> datetime:
    """In UTC where the column has a zone. No zone is guessed, neither a value's nor a column's."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, datetime.min.time())
    if not isinstance(value, datetime):
        raise _unfit(column, value, "a date and time")
    if dtype.time_zone is None and value.utcoffset() is not None:
        raise _unfit(column, value, "a time without a zone, as the column's, such as 2024-05-01T12:00:00")
    if dtype.time_zone is not None and value.utcoffset() is None:
        raise _unfit(column, value, "a time with its zone, such as 2024-05-01T12:00:00Z")
    return value if dtype.time_zone is None else value.astimezone(UTC)


def _counted(column: str, operator: Operator, value: datetime, dtype: pl.Datetime) -> Condition:
    beyond = timedelta(microseconds=value.microsecond % 1000)
    if dtype.time_unit != "ms" or not beyond:
        return column, operator, value
    if operator in ("==", "!="):
        return column, "in" if operator == "==" else "not in", ()
    return column, operator, value - beyond + timedelta(milliseconds=operator in ("<", ">="))


def _unfit(column: str, value: Any, expected: str) -> Invalid:
    return Invalid("does not fit its column", field=f"where.{column}", value=value, expected=expected)
