"""Values of a filter, made into what their column holds, in plain Python."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from feature_registry.model import Condition, Operator
from feature_registry.model import conditions as rules
from feature_registry.model.conditions import Kind

if TYPE_CHECKING:
    import polars as pl

EXACT_IN_FLOAT = 2**53


def listed(column: str, values: Any, dtype: pl.DataType) -> tuple[Any, ...]:
    """The values of an `in`, each once, in ascending order where they have one; nulls are equal to nothing and go."""
    plain = [value for value in rules.listed(column, values) if value is not None]
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
    if value is None:
        raise rules.unfit(column, value, "a value; ask for nulls with the expression pl.col(...).is_null()")
    below, above = _nearest(column, value, dtype)
    if below is above or below == above:
        return column, operator, below
    if operator in ("==", "!="):
        return column, "in" if operator == "==" else "not in", ()
    return column, operator, below if operator in (">", "<=") else above


def _nearest(column: str, value: Any, dtype: pl.DataType) -> tuple[Any, Any]:
    """The nearest values that the column can hold, not above and not below; the same if it can hold the value."""
    import polars as pl

    kind = _kind(dtype)
    if kind == "integer" and isinstance(value, float) and abs(value) < EXACT_IN_FLOAT:
        return math.floor(value), math.ceil(value)
    if kind == "date" and isinstance(value, datetime) and value.time() == time.min:
        value = value.date()
    if kind == "local" and isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    found = rules.fitted(column, value, kind)
    if kind == "float" and dtype != pl.Float64:
        found = pl.Series([found], dtype=dtype).item()  # what the column itself would hold
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ms" and found.microsecond % 1000:
        below = found - timedelta(microseconds=found.microsecond % 1000)
        return below, below + timedelta(milliseconds=1)
    return found, found


def _kind(dtype: pl.DataType) -> Kind | None:
    import polars as pl

    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "float"
    if isinstance(dtype, pl.Datetime):
        return "local" if dtype.time_zone is None else "instant"
    named: list[tuple[Any, Kind]] = [
        (pl.Boolean, "boolean"),
        (pl.Date, "date"),
        (pl.String, "text"),
        (pl.Categorical, "text"),
        (pl.Enum, "text"),
        (pl.Decimal, "decimal"),
    ]
    return next((kind for each, kind in named if dtype == each), None)
