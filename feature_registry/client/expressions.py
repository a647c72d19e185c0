"""A Polars expression as pyarrow's filters, as far as it goes.

Whether a node is `left < right` is asked by building that from its inputs and comparing the two: only Polars' public
interface is used, and what is not recognised is not sent. The result holds wherever the expression does; the reverse
need not be so.
"""

from __future__ import annotations

import math
import operator as operators
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from functools import reduce
from typing import TYPE_CHECKING, Any, cast

from feature_registry.client.values import converted, listed
from feature_registry.errors import Invalid
from feature_registry.model import Condition, Operator

if TYPE_CHECKING:
    import polars as pl

Dnf = tuple[tuple[Condition, ...], ...]
Schema = Mapping[str, "pl.DataType"]

MAX_ALTERNATIVES = 64
MAX_CONDITIONS = 512  # of all alternatives together
_COMPARISONS: dict[Operator, Callable[[Any, Any], Any]] = {
    "==": operators.eq,
    "!=": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
_NEGATED: dict[Operator, Operator] = {
    "==": "!=",
    "!=": "==",
    "<": ">=",
    ">=": "<",
    ">": "<=",
    "<=": ">",
    "in": "not in",
    "not in": "in",
}
_MIRRORED: dict[Operator, Operator] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_CLOSED: dict[str, tuple[Operator, Operator]] = {
    "both": (">=", "<="),
    "left": (">=", "<"),
    "right": (">", "<="),
    "none": (">", "<"),
}


def translated(expression: pl.Expr, schema: Schema) -> Dnf:
    """What of the expression the filters can say; empty when that is nothing."""
    try:
        return _translated(expression, schema, negated=False) or ()
    except RecursionError:
        return ()


def _translated(expression: pl.Expr, schema: Schema, negated: bool) -> Dnf | None:
    """None: may be anything."""
    expression = expression.meta.undo_aliases()
    if expression.meta.has_multiple_outputs():
        return None
    for joint in (operators.and_, operators.or_):
        operands = _operands(expression, joint)
        if len(operands) > 1:
            parts = (_translated(operand, schema, negated) for operand in operands)
            return _all(parts) if (joint is operators.and_) is not negated else _any(parts)
    inputs = expression.meta.pop()
    if len(inputs) == 1 and expression.meta.eq(~inputs[0]):
        return _translated(inputs[0], schema, not negated)
    try:
        found = _leaf(expression, inputs[::-1], schema, negated)
    except Invalid:  # a literal that is no value of the column: Polars will say what it thinks of it
        return None
    return found


def _operands(expression: pl.Expr, joint: Callable[[Any, Any], Any]) -> list[pl.Expr]:
    """The operands of a chain such as `a & b & c`, in order; the expression alone if it is no such chain."""
    found, waiting = [], [expression]
    while waiting:
        node = waiting.pop()
        inputs = node.meta.pop()
        if len(inputs) == 2 and node.meta.eq(joint(inputs[1], inputs[0])):
            waiting += inputs  # right before left: the left one is taken first
        else:
            found.append(node)
    return found


def _leaf(expression: pl.Expr, inputs: list[pl.Expr], schema: Schema, negated: bool) -> Dnf | None:
    if not inputs:
        return _flag(expression, schema, negated)
    subject, *others = inputs
    if len(others) == 1:
        for operator, compare in _COMPARISONS.items():
            if expression.meta.eq(compare(subject, others[0])):
                if subject.meta.is_literal():
                    return _one(_condition(others[0], _MIRRORED[operator], subject, schema, negated))
                return _one(_condition(subject, operator, others[0], schema, negated))
        if expression.meta.eq(subject.is_in(others[0])):
            return _one(_membership(subject, others[0], schema, negated))
    if len(others) == 2:
        for closed, (above, below) in _CLOSED.items():
            if expression.meta.eq(subject.is_between(others[0], others[1], closed=cast(Any, closed))):
                bounds = zip((above, below), others, strict=True)
                parts = [_one(_condition(subject, operator, bound, schema, negated)) for operator, bound in bounds]
                return _any(parts) if negated else _all(parts)
    return None


def _flag(expression: pl.Expr, schema: Schema, negated: bool) -> Dnf | None:
    import polars as pl

    if expression.meta.is_column() and schema.get(expression.meta.output_name()) == pl.Boolean:
        return (((expression.meta.output_name(), "==", not negated),),)
    return None


def _condition(
    subject: pl.Expr, operator: Operator, literal: pl.Expr, schema: Schema, negated: bool
) -> Condition | None:
    import polars as pl

    if not (subject.meta.is_column() and literal.meta.is_literal()):
        return None
    name = subject.meta.output_name()
    value = _value(pl.select(literal).to_series())
    if name not in schema or value is None:
        return None
    if schema[name] == pl.Float32 and not literal.meta.eq(pl.lit(value)):
        return None  # a double is compared as a double, which no bound of single precision says
    return converted(name, _NEGATED[operator] if negated else operator, value, schema[name])


def _membership(subject: pl.Expr, literal: pl.Expr, schema: Schema, negated: bool) -> Condition | None:
    import polars as pl

    if not (subject.meta.is_column() and literal.meta.is_literal()):
        return None
    name = subject.meta.output_name()
    values = pl.select(literal).to_series()
    if isinstance(values.dtype, (pl.List, pl.Array)):
        values = values.explode()
    if name not in schema or schema[name].is_float() or values.dtype.is_float() or _exact(values) is None:
        return None
    return name, "not in" if negated else "in", listed(name, values, schema[name])


def _exact(values: pl.Series) -> pl.Series | None:
    """The series, if Python has its values exactly and the filters can carry them."""
    import polars as pl

    dtype = values.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return None
    plain = dtype.is_integer() or dtype.is_float() or isinstance(dtype, (pl.Datetime, pl.Categorical, pl.Enum))
    return values if plain or dtype in (pl.Boolean, pl.String, pl.Date) else None


def _value(series: pl.Series) -> bool | int | float | str | date | datetime | None:
    if len(series) != 1 or _exact(series) is None:
        return None
    value = series.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return cast("bool | int | float | str | date | datetime | None", value)


def _one(condition: Condition | None) -> Dnf | None:
    return None if condition is None else ((condition,),)


def _all(parts: Iterable[Dnf | None]) -> Dnf | None:
    """Both hold: every pair of alternatives. A part that would make too many of them is left out."""
    known = [part for part in parts if part is not None]
    return reduce(_crossed, sorted(known, key=len)) if known else None


def _crossed(left: Dnf, right: Dnf) -> Dnf:
    crossed = tuple(one + other for one in left for other in right)
    return left if _too_many(crossed) else crossed


def _any(parts: Iterable[Dnf | None]) -> Dnf | None:
    alternatives: list[tuple[Condition, ...]] = []
    equal: dict[str, set[Any]] = {}  # column -> values, of alternatives that are `==` or `in` alone
    for part in parts:
        if part is None:
            return None
        for conjunction in part:
            column, operator, value = conjunction[0]
            if len(conjunction) == 1 and operator in ("==", "in"):
                equal.setdefault(column, set()).update(value if operator == "in" else [value])
            else:
                alternatives.append(conjunction)
    alternatives += [((column, "in", tuple(sorted(values))),) for column, values in equal.items()]
    return None if _too_many(tuple(alternatives)) else tuple(alternatives)


def _too_many(dnf: Dnf) -> bool:
    return len(dnf) > MAX_ALTERNATIVES or sum(map(len, dnf)) > MAX_CONDITIONS
