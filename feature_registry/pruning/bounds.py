"""Bounds of a column in every file, and the files whose bounds leave room for a condition."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.model.conditions import LISTS
from feature_registry.pruning.values import is_nan, is_text

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS = {"s": 10**6, "ms": 10**3, "us": 1}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one column, an element a file. Where `low_known` is false, `low` says nothing; the same for `high`.

    `low` and `high` are numpy numbers, or objects that Python orders as the column does. Instants are microseconds.
    """

    low: Values
    high: Values
    low_known: Mask
    high_known: Mask
    no_value: Mask  # all rows are null, or there are none
    some_null: Mask  # or it is not known


def bounds_of(
    low: pa.Array, high: pa.Array, nulls: pa.Array | None, rows: pa.Array, kind: pa.DataType
) -> Bounds | None:
    """None for a type that is not looked into. Bounds in the wrong order are no bounds."""
    lows, highs = _ordinals(low, kind, upper=False), _ordinals(high, kind, upper=True)
    if lows is None or highs is None:
        return None
    (lower, low_known), (upper, high_known) = lows, highs
    sane = ~(low_known & high_known & (lower > upper))
    count = pa.nulls(len(rows), pa.int64()) if nulls is None else nulls
    empty = pc.or_kleene(pc.equal(rows, 0), pc.equal(rows, count)).fill_null(False)
    return Bounds(
        low=lower,
        high=upper,
        low_known=low_known & sane,
        high_known=high_known & sane,
        no_value=_numpy(empty),
        some_null=_numpy(pc.not_equal(count, 0).fill_null(True)),
    )


def typed(texts: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Partition values, which are texts, in their column's type; None if they cannot be read so."""
    try:
        if pa.types.is_timestamp(kind) and kind.tz:
            return texts.cast(pa.timestamp(kind.unit)).cast(kind)
        return texts.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def ordinal(value: Any, kind: pa.DataType) -> Any:
    """A coerced value as it compares with the bounds of its column's type."""
    if isinstance(value, datetime):
        return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return (value - _EPOCH.date()).days
    return int(value) if pa.types.is_boolean(kind) else value


def ordinals(values: Sequence[Any], kind: pa.DataType) -> Sequence[Any]:
    """A million ids are as they are."""
    if pa.types.is_integer(kind) or is_text(kind):
        return values
    return [ordinal(value, kind) for value in values]


def _ordinals(values: pa.Array, kind: pa.DataType, upper: bool) -> tuple[Values, Mask] | None:
    """The bounds, and which of them are known."""
    if pa.types.is_timestamp(kind):
        return _microseconds(values, kind.unit, upper)
    known: Mask = _numpy(values.is_valid())
    if is_text(kind) or pa.types.is_decimal(kind):
        filled: list[Any] = values.fill_null("" if is_text(kind) else Decimal(0)).to_pylist()
        return np.fromiter(filled, object, len(filled)), known
    if pa.types.is_floating(kind):
        numbers: Values = _numpy(values.cast(pa.float64()).fill_null(0))
        if not pa.types.is_float64(kind):  # engines compare in single precision, so a bound reaches to its neighbours
            numbers = np.nextafter(numbers.astype(np.float32), np.float32(np.inf if upper else -np.inf)).astype(float)
        return numbers, known & ~np.isnan(numbers)
    for test, steps in _WHOLE:
        if test(kind):
            for step in steps:
                values = values.cast(step)
            return _numpy(values.fill_null(0)), known
    return None


_WHOLE: tuple[tuple[Callable[[pa.DataType], bool], tuple[pa.DataType, ...]], ...] = (
    (pa.types.is_signed_integer, (pa.int64(),)),
    (pa.types.is_unsigned_integer, (pa.uint64(),)),
    (pa.types.is_boolean, (pa.uint8(),)),
    (pa.types.is_date, (pa.date32(), pa.int32())),
)


def _microseconds(values: pa.Array, unit: str, upper: bool) -> tuple[Values, Mask]:
    """Rounded outwards; what would leave int64 is unknown."""
    ticks = values.cast(pa.int64())
    known = _numpy(ticks.is_valid())
    numbers = _numpy(ticks.fill_null(0))
    if unit == "ns":
        return (-(-numbers // 1000) if upper else numbers // 1000), known & (numbers > np.iinfo(np.int64).min)
    factor = _MICROSECONDS[unit]
    inside = np.abs(numbers // 2) < 2**62 // factor
    return np.where(inside, numbers, 0) * factor, known & inside


def _numpy(values: pa.Array) -> Any:
    return values.to_numpy(zero_copy_only=False)


def may_match(bounds: Bounds, operator: str, value: Any) -> Mask:
    """The files that may hold a row for which the condition holds."""
    if operator in LISTS:
        return _listed(bounds, value) & ~bounds.no_value if operator == "in" else ~_only_among(bounds, value)
    if is_nan(value):
        return ~bounds.no_value
    below, above = bounds.low_known & (bounds.low > value), bounds.high_known & (bounds.high < value)
    tests: dict[str, Callable[[], Mask]] = {
        "==": lambda: ~below & ~above,
        "!=": lambda: ~(bounds.low_known & bounds.high_known & (bounds.low == value) & (bounds.high == value)),
        "<": lambda: ~(bounds.low_known & (bounds.low >= value)),
        "<=": lambda: ~below,
        ">": lambda: ~(bounds.high_known & (bounds.high <= value)),
        ">=": lambda: ~above,
    }
    mask: Mask = tests[operator]() & ~bounds.no_value
    return mask


def _listed(bounds: Bounds, values: Sequence[Any]) -> Mask:
    """The files between whose bounds one of the values lies."""
    if bounds.low.dtype.kind == "f" and any(map(is_nan, values)):
        return np.ones(len(bounds.low), bool)
    count, left, right = _searched(bounds, values)
    after = np.where(bounds.low_known, left, 0)
    before = np.where(bounds.high_known, right, count)
    mask: Mask = before > after
    return mask


def _only_among(bounds: Bounds, values: Sequence[Any]) -> Mask:
    """The files that hold one value and no null, which is among the values."""
    _, left, right = _searched(bounds, values)
    one = bounds.low_known & bounds.high_known & (bounds.low == bounds.high) & ~bounds.some_null
    mask: Mask = one & (right > left)
    return mask


def _searched(bounds: Bounds, values: Sequence[Any]) -> tuple[int, Values, Values]:
    """How many values there are, how many of them lie before each file's low, and how many not after its high."""
    if bounds.low.dtype == object:
        ordered = sorted(set(values))
        left = [bisect.bisect_left(ordered, low) for low in bounds.low]
        right = [bisect.bisect_right(ordered, high) for high in bounds.high]
        return len(ordered), np.array(left, np.int64), np.array(right, np.int64)
    try:
        found = np.sort(np.array(values, bounds.low.dtype))
    except OverflowError:
        limits = np.iinfo(bounds.low.dtype)
        found = np.sort(np.array([each for each in values if limits.min <= each <= limits.max], bounds.low.dtype))
    return len(found), np.searchsorted(found, bounds.low, "left"), np.searchsorted(found, bounds.high, "right")
