"""What a condition may be and its value becomes, by the kind of its column: the same where it is asked and answered."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

from feature_registry.errors import Invalid
from feature_registry.model.access import Condition, Operator

Kind = Literal["integer", "float", "boolean", "text", "date", "decimal", "instant", "local"]

LISTS = ("in", "not in")
OPERATORS: tuple[Operator, ...] = get_args(Operator)
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_FRACTION = re.compile(r"[.,][0-9]{7,}")


def checked(condition: Any, columns: Collection[str]) -> Condition:
    """A condition on one of the columns, its value not looked at. `=` is `==`."""
    if not isinstance(condition, (tuple, list)) or len(condition) != 3 or not isinstance(condition[0], str):
        raise Invalid("is no condition", field="where", value=condition, expected="(column, operator, value)")
    column, operator, value = condition
    known(column, columns)
    operator = "==" if operator == "=" else operator
    if operator not in OPERATORS:
        raise Invalid("is no operator", field="where", value=operator, expected=list(OPERATORS))
    return column, operator, value


def known(column: Any, columns: Collection[str]) -> None:
    if column not in columns:
        raise Invalid("names a column that the table lacks", field="where", value=column, expected=list(columns))


def fitted(column: str, value: Any, kind: Kind | None) -> Any:
    """The value as Python has it: int, float, bool, str, date, Decimal, datetime in UTC, datetime without a zone.

    Ids come as integers or strings, instants as ISO 8601. Raises `Invalid` for null (nothing compares to it) and for a
    value that its column cannot hold; an integer may lie outside of its column's range. Values of columns of no kind
    (nested, binary, times) stay as they are.
    """
    if type(value).__module__ == "numpy" and hasattr(value, "item"):
        value = value.item()
    if kind is None:
        return value
    convert, expected = _RULES[kind]
    try:
        return convert(value)
    except (TypeError, ValueError, InvalidOperation, OverflowError):
        raise unfit(column, value, expected) from None


def listed(column: str, values: Any) -> list[Any]:
    """The values of an `in`, out of a list, a set, a Polars or pandas Series, a numpy or Arrow array."""
    for method in ("to_list", "to_pylist", "tolist"):
        if hasattr(values, method):
            values = getattr(values, method)()
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        raise unfit(column, values, "a list of values")
    return list(values)


def unfit(column: str, value: Any, expected: str) -> Invalid:
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


_RULES: dict[Kind, tuple[Callable[[Any], Any], str]] = {
    "integer": (_integer, "an integer, or a string of digits; no float is an exact id"),
    "float": (_float, "a number"),
    "boolean": (_boolean, "true or false"),
    "text": (_text, "a string"),
    "date": (_date, "a date such as 2024-05-01"),
    "decimal": (_decimal, "a number"),
    "instant": (_instant, "a time with a zone, such as 2024-05-01T12:00:00Z"),
    "local": (_local, "a time without a zone, such as 2024-05-01T12:00:00"),
}
