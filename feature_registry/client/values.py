"""Values of a filter, made into what their column holds, in plain Python."""

from __future__ import annotations

import math
import operator as operators
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from feature_registry.errors import Invalid
from feature_registry.model import Condition, Operator

if TYPE_CHECKING:
    import polars as pl

EXACT_IN_FLOAT = 2**53
Between = tuple[Any, Any]  # the nearest values that a column can hold, not above and not below; the same if it can


def listed(column: str, values: Any, dtype: pl.DataType) -> tuple[Any, ...]:
    """The values of an `in`, each once, in ascending order where they have one; nulls are equal to nothing and go.

    Takes any iterable: a list, a set, a Polars or pandas Series, a numpy or Arrow array.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise Invalid("takes a list of values", field=f"where.{column}", value=values, expected="a list")
    for method in ("to_list", "to_pylist", "tolist"):
        if hasattr(values, method):
            values = getattr(values, method)()
    plain = [value for value in values if value is not None]
    if dtype.is_integer() and set(map(type, plain)) <= {int}:
        found = set(plain)  # a million ids in a fraction of a second
    else:
        conditions = (converted(column, "==", value, dtype) for value in plain)
        found = {value for _, kept, value in conditions if kept == "=="}
    try:
        return tuple(sorted(found))
    except TypeError:
        return tuple(found)


def converted(column: str, operator: Operator, value: Any, dtype: pl.DataType) -> Condition:
    """The condition with its value as the column holds it. A fraction that is compared with integers or milliseconds
    moves to the next one that says the same; one that is equal to none becomes an empty list.
    """
    value = value.item() if type(value).__module__ == "numpy" else value
    convert, expected = _rule(dtype)
    if value is None:
        expected = "a value; ask for nulls with the expression pl.col(...).is_null()"
    try:
        below, above = convert(value)
    except (TypeError, ValueError, OverflowError):
        raise Invalid("does not fit its column", field=f"where.{column}", value=value, expected=expected) from None
    if below is above or below == above:
        return column, operator, below
    if operator in ("==", "!="):
        return column, "in" if operator == "==" else "not in", ()
    return column, operator, below if operator in (">", "<=") else above


def _rule(dtype: pl.DataType) -> tuple[Callable[[Any], Between], str]:
    """How a value becomes one of the column, and what it should be. The first raises TypeError, ValueError or
    OverflowError for one that cannot be.
    """
    import polars as pl

    if dtype.is_integer():
        return _integer, "an integer; a float beyond 2^53 is no exact id"
    if dtype.is_float():
        return partial(_float, dtype), "a number"
    if dtype == pl.Boolean:
        return _boolean, "true or false"
    if dtype == pl.Date:
        return _date, "a date such as 2024-05-01"
    if isinstance(dtype, pl.Datetime):
        zone, example = ("without a zone", "") if dtype.time_zone is None else ("with its zone", "Z")
        return partial(_instant, dtype), f"a time {zone}, such as 2024-05-01T12:00:00{example}"
    text = dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum))
    return partial(_as_it_is, str if text else object), "a string"


def _integer(value: Any) -> Between:
    if isinstance(value, float):
        if not abs(value) < EXACT_IN_FLOAT:  # nor is NaN
            raise ValueError
        return math.floor(value), math.ceil(value)
    number = int(value) if isinstance(value, str) else operators.index(value)
    return number, number


def _float(dtype: pl.DataType, value: Any) -> Between:
    import polars as pl

    number = float(value)
    if dtype != pl.Float64:
        number = pl.Series([number], dtype=dtype).item()  # what the column itself would hold
    return number, number


def _boolean(value: Any) -> Between:
    named = {"true": True, "false": False}
    return _as_it_is(bool, named.get(value.lower()) if isinstance(value, str) else value)


def _date(value: Any) -> Between:
    value = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(value, datetime):
        if value.time() != time.min:
            raise ValueError
        value = value.date()
    return _as_it_is(date, value)


def _instant(dtype: pl.Datetime, value: Any) -> Between:
    """In UTC where the column has a zone. No zone is guessed, neither a value's nor a column's."""
    value = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    if not isinstance(value, datetime) or (value.utcoffset() is None) is not (dtype.time_zone is None):
        raise ValueError
    value = value if dtype.time_zone is None else value.astimezone(UTC)
    beyond = timedelta(microseconds=value.microsecond % 1000 if dtype.time_unit == "ms" else 0)
    return value - beyond, value - beyond + timedelta(milliseconds=bool(beyond))


def _as_it_is(kind: type, value: Any) -> Between:
    if value is None or not isinstance(value, kind):
        raise TypeError
    return value, value
