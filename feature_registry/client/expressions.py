"""A Polars expression as pyarrow's filters, as far as it goes.

Whether a node is `left < right` is asked by building that from its inputs and comparing the two: only Polars' public
interface is used, and what is not recognised is not sent. The result holds wherever the expression does; the reverse
need not be so.
"""

from __future__ import annotations

import math
import operator as operators
from collections.abc import Callable, Iterable, Mapping
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
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operators.eq,
    "!=": operators.ne,
    "<": operators.lt,
    "<=": operators.le,
    ">": operators.gt,
    ">=": operators.ge,
}
_OPPOSITES = [("==", "!="), ("<", ">="), (">", "<="), ("in", "not in")]
_NEGATED = dict(_OPPOSITES) | {other: one for one, other in _OPPOSITES}
_MIRROR = str.maketrans("<>", "><")
_CLOSED = {"both": (">=", "<="), "left": (">=", "<"), "right": (">", "<="), "none": (">", "<")}


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
        return _leaf(expression, inputs[::-1], schema, negated)
    except Invalid:  # a literal that is no value of the column: Polars will say what it thinks of it
        return None


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
        for operator, compare in COMPARISONS.items():
            if expression.meta.eq(compare(subject, others[0])):
                if subject.meta.is_literal():
                    return _condition(others[0], operator.translate(_MIRROR), subject, schema, negated)
                return _condition(subject, operator, others[0], schema, negated)
        if expression.meta.eq(subject.is_in(others[0])):
            return _condition(subject, "in", others[0], schema, negated)
    if len(others) == 2:
        for closed, bounds in _CLOSED.items():
            if expression.meta.eq(subject.is_between(others[0], others[1], closed=cast(Any, closed))):
                pairs = zip(bounds, others, strict=True)
                parts = [_condition(subject, operator, bound, schema, negated) for operator, bound in pairs]
                return _any(parts) if negated else _all(parts)
    return None


def _flag(expression: pl.Expr, schema: Schema, negated: bool) -> Dnf | None:
    import polars as pl

    if expression.meta.is_column() and schema.get(expression.meta.output_name()) == pl.Boolean:
        return (((expression.meta.output_name(), "==", not negated),),)
    return None


def _condition(subject: pl.Expr, operator: str, literal: pl.Expr, schema: Schema, negated: bool) -> Dnf | None:
    import polars as pl

    if not (subject.meta.is_column() and literal.meta.is_literal() and subject.meta.output_name() in schema):
        return None
    name, values = subject.meta.output_name(), pl.select(literal).to_series()
    dtype = schema[name]
    said = cast(Operator, _NEGATED[operator] if negated else operator)
    if operator == "in":
        values = values.explode() if isinstance(values.dtype, (pl.List, pl.Array)) else values
        if dtype.is_float() or values.dtype.is_float() or not _exact(values.dtype):
            return None
        return (((name, said, listed(name, values, dtype)),),)
    value = values.item() if len(values) == 1 and _exact(values.dtype) else None
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    # A double is compared as a double, which no bound of single precision says.
    double = dtype == pl.Float32 and not literal.meta.eq(pl.lit(value))
    return None if double else ((converted(name, said, value, dtype),),)


def _exact(dtype: pl.DataType) -> bool:
    """Whether Python has such values exactly and the filters can carry them."""
    import polars as pl

    if isinstance(dtype, pl.Datetime):
        return dtype.time_unit != "ns"
    return dtype.is_integer() or dtype.is_float() or dtype in (pl.Boolean, pl.String, pl.Date, pl.Categorical, pl.Enum)


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
