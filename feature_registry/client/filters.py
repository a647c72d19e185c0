"""`where` in its two forms, pyarrow's conditions or a Polars expression, made ready to be sent and to be applied.

What is sent may be weaker than what is meant, because the filter is applied to the rows in any case: it only decides
which files are worth a link. An integer never passes through a float.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import starmap
from operator import and_, or_
from typing import TYPE_CHECKING, Any

from feature_registry.client.expressions import COMPARISONS, Dnf, translated
from feature_registry.client.values import converted, listed
from feature_registry.errors import Invalid
from feature_registry.model import Condition, Operator
from feature_registry.model.conditions import LISTS, checked, known

if TYPE_CHECKING:
    import polars as pl

Where = Any  # pyarrow's filters, a Polars expression, or a list of expressions that all hold

EVERYTHING: Dnf = ()
SHORT_LIST = 10_000  # values up to which Polars skips row groups by the list itself


@dataclass(frozen=True)
class Filter:
    """`sent` goes into the plan's request; `stored` filters the columns as the files hold them, before their cast to
    logical types, and `logical` afterwards. None: nothing to filter.
    """

    sent: Dnf = EVERYTHING
    stored: pl.Expr | None = None
    logical: pl.Expr | None = None


def build(where: Where, schema: Mapping[str, pl.DataType], logical_types: Mapping[str, str]) -> Filter:
    """The filter of a table with this stored schema.

    Raises `Invalid` for a column that the table lacks, for an operator that there is not and for a value that cannot
    be one of its column, such as an id in a float that is too large for it to be exact.
    """
    import polars as pl

    if where is None:
        return Filter()
    if isinstance(where, pl.Expr) or (isinstance(where, (list, tuple)) and where and isinstance(where[0], pl.Expr)):
        expression = where if isinstance(where, pl.Expr) else reduce(and_, where)
        for name in () if expression.meta.has_multiple_outputs() else expression.meta.root_names():
            known(name, schema)
        sent = translated(expression, schema)
        if set(logical_types) & set(expression.meta.root_names()):
            return Filter(sent, _expression(sent, schema), expression)
        return Filter(sent, expression)
    sent = _normal_form(where, schema)
    return Filter(sent, _expression(sent, schema))


def _normal_form(where: Any, schema: Mapping[str, pl.DataType]) -> Dnf:
    if not isinstance(where, (list, tuple)):
        raise Invalid(
            "is no filter",
            field="where",
            value=type(where).__name__,
            expected="[(column, operator, value), ...] or a Polars expression",
        )
    if len(where) == 0:
        return EVERYTHING
    if _is_condition(where):
        where = [where]
    alternatives = [where] if all(_is_condition(part) for part in where) else where
    conjunctions = [tuple(_condition(condition, schema) for condition in part) for part in alternatives]
    return EVERYTHING if () in conjunctions else tuple(conjunctions)


def _is_condition(part: Any) -> bool:
    return isinstance(part, (list, tuple)) and len(part) > 0 and isinstance(part[0], str)


def _condition(condition: Any, schema: Mapping[str, pl.DataType]) -> Condition:
    column, operator, value = checked(condition, schema)
    if operator in LISTS:
        return column, operator, listed(column, value, schema[column])
    return converted(column, operator, value, schema[column])


def _expression(dnf: Dnf, schema: Mapping[str, pl.DataType]) -> pl.Expr | None:
    """The conditions over the stored columns."""
    if dnf == EVERYTHING:
        return None
    return reduce(or_, (reduce(and_, starmap(partial(_compared, schema), part)) for part in dnf))


def _compared(schema: Mapping[str, pl.DataType], name: str, operator: Operator, value: Any) -> pl.Expr:
    import polars as pl

    column, dtype = pl.col(name), schema[name]
    if operator == "in":
        return _contained(column, value, dtype)
    if operator == "not in":
        return column.is_not_null() & ~_contained(column, value, dtype)
    if dtype.is_integer():
        smallest, largest = _bounds(dtype)
        if not smallest <= value <= largest:  # beyond the type: the answer is the same for every row
            always = operator == "!=" or operator in (("<", "<=") if value > largest else (">", ">="))
            return column.is_not_null() if always else pl.lit(False)
    if isinstance(dtype, pl.Datetime):
        literal = pl.lit(value).cast(dtype)  # `lit` itself takes no value of another zone than the type's
    else:
        literal = pl.lit(value) if dtype.is_nested() or dtype == pl.Categorical else pl.lit(value, dtype=dtype)
    found: pl.Expr = COMPARISONS[operator](column, literal)
    return found


def _bounds(dtype: pl.DataType) -> tuple[int, int]:
    bits = int(str(dtype).lower().removeprefix("u").removeprefix("int"))
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype.is_signed_integer() else (0, 2**bits - 1)


def _contained(column: pl.Expr, values: Sequence[Any], dtype: pl.DataType) -> pl.Expr:
    """Whether the column is one of the values; those that its type cannot hold are in no row."""
    import polars as pl

    if dtype.is_integer():
        smallest, largest = _bounds(dtype)
        if values and not smallest <= min(values) <= max(values) <= largest:
            values = [value for value in values if smallest <= value <= largest]
    if len(values) == 0:
        return pl.lit(False)
    if dtype == pl.Categorical:
        return column.is_in(list(values))
    found = pl.Series(values, dtype=dtype)
    if len(found) <= SHORT_LIST or not dtype.is_integer():
        return column.is_in(pl.lit(list(values), dtype=pl.List(dtype)))
    # Polars skips no row groups by a long imploded list, so their bounds do.
    return column.is_between(found.min(), found.max()) & column.is_in(found.implode())
