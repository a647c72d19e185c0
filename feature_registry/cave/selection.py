"""What is read of a table of a frozen database, as SQL, and how it becomes the columns of a dump.

Names are quoted by psycopg. The statement that reads and those that count have the same relations and the same WHERE.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import islice
from typing import Any

import pyarrow as pa
from psycopg import sql

from feature_registry.cave import BOOKKEEPING, ColumnStatistics
from feature_registry.cave.geometry import AXES, Extent, voxels
from feature_registry.errors import Invalid

GEOMETRY = "geometry"
_INTEGERS = {"int2", "int4", "int8"}
_FLOATS = {"float4", "float8"}
_MOMENTS = {"date", "timestamp", "timestamptz"}
_ARRAYS = {f"_{name}" for name in (*_INTEGERS, *_FLOATS, "bool", "text")}
_KEPT = _INTEGERS | _FLOATS | _ARRAYS | {"bool", "text", "varchar", "date", "timestamptz", "bytea"}
_DECIMAL_DIGITS = 38
_REAL = "FILTER (WHERE {column} <> 'NaN')"  # PostgreSQL holds NaN to be the greatest number
_UNORDERED = ("NULL::text",) * 3
_OF_TEXT = ('min({value} COLLATE "C")', 'max({value} COLLATE "C")', "NULL::text")
_OF_FLOATS = (f"min({{column}}) {_REAL}", f"max({{column}}) {_REAL}", f"sum({{column}}::float8) {_REAL}")
_AGGREGATES: dict[
    str, tuple[str, ...]
] = {  # minimum, maximum and sum; exact sums as text, which holds any number of digits
    **dict.fromkeys(_INTEGERS, ("min({column})", "max({column})", "sum({column})::text")),
    **dict.fromkeys(_FLOATS, _OF_FLOATS),
    **dict.fromkeys(_MOMENTS, ("min({value})", "max({value})", "NULL::text")),
    "decimal": ("min({column})::text", "max({column})::text", "sum({column})::text"),
    "bool": ("bool_and({column})", "bool_or({column})", "sum({column}::int)::text"),
    "bytea": _UNORDERED,
}

COLUMNS = """
SELECT a.attname::text, coalesce(b.typname, t.typname)::text,
    format_type(coalesce(b.oid, t.oid), CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END)
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typname <> 'geometry'
WHERE a.attrelid = to_regclass(quote_ident($1)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class SelectedColumn:
    """A column of a relation: `relation` is its alias, `type` the name of its type (a domain's is that beneath it, but
    `geometry` stays: so PostGIS and a plain PostgreSQL with a domain of that name share one path).
    """

    relation: str
    name: str
    type: str
    declared: str

    @property
    def names(self) -> list[str]:
        """In the dump."""
        return [f"{self.name}_{axis}" for axis in AXES] if self.type == GEOMETRY else [self.name]

    @property
    def decimal(self) -> pa.Decimal128Type | None:
        """Of a numeric that says its digits; others stay text, for a float would change them."""
        digits = re.fullmatch(r"numeric\((\d+),(\d+)\)", self.declared)
        fits = digits is not None and int(digits[2]) <= int(digits[1]) <= _DECIMAL_DIGITS
        return pa.decimal128(int(digits[1]), int(digits[2])) if digits is not None and fits else None

    @property
    def column(self) -> sql.Composable:
        return sql.Identifier(self.relation, self.name)

    @property
    def value(self) -> sql.Composable:
        """The column as a type that Arrow and the formats have."""
        if self.type in _KEPT:
            return self.column
        if self.type == "timestamp":  # CAVE's are naive UTC
            return sql.SQL("({} AT TIME ZONE 'UTC')").format(self.column)
        target = "bytea" if self.type == GEOMETRY else "text[]" if self.type.startswith("_") else "text"
        return sql.SQL("({}::{})").format(self.column, sql.SQL(target))

    def arrow(self, column: pa.Array, ids: pa.Array | None) -> list[pa.Array]:
        if self.type == GEOMETRY:
            return list(voxels(column, self.name, ids))
        if self.decimal is None:
            return [column]
        try:
            return [column.cast(self.decimal)]
        except pa.ArrowInvalid:
            raise Invalid("holds NaN, which is no decimal number", field=self.name, expected=self.declared) from None

    def fields(self, kind: pa.DataType) -> list[pa.Field]:
        kind = pa.int32() if self.type == GEOMETRY else self.decimal or _plain(kind)
        return [pa.field(name, kind) for name in self.names]

    def aggregates(self, postgis: bool) -> list[sql.Composable]:
        """Values present, and for each of `names` minimum, maximum and sum."""
        templates: tuple[str, ...] = (
            _AGGREGATES["decimal"] if self.decimal is not None else _AGGREGATES.get(self.type, _OF_TEXT)
        )
        if self.type == GEOMETRY:
            axes = [f"ST_{axis.upper()}({{column}})::bigint" for axis in AXES] if postgis else []
            templates = tuple(of for axis in axes for of in (f"min({axis})", f"max({axis})", f"sum({axis})::text"))
        elif self.type.startswith("_"):
            templates = _UNORDERED
        made = [sql.SQL(each).format(column=self.column, value=self.value) for each in templates]
        return [sql.SQL("count({})").format(self.column), *made]

    def statistics(self, rows: int, found: Sequence[Any], extent: Extent | None) -> list[ColumnStatistics]:
        """From what `aggregates` found; `extent` is that of a geometry whose coordinates the server cannot read."""
        present, *others = found
        if extent is not None:
            others = [
                each for triple in zip(extent.minimum, extent.maximum, extent.total, strict=True) for each in triple
            ]
        values = [self._number(each) if isinstance(each, str) else each for each in others]
        return [
            ColumnStatistics(name, rows, rows - present, *values[3 * place : 3 * place + 3])
            for place, name in enumerate(self.names)
        ]

    def _number(self, text: str) -> Any:
        if self.decimal is not None:
            return Decimal(text)
        return int(text) if self.type in {*_INTEGERS, "bool", GEOMETRY} else text


@dataclass(frozen=True, slots=True)
class Selection:
    """`relations` are names by alias, joined on `id`; `valid` is the column that says which rows count, if one does."""

    relations: dict[str, str]
    columns: tuple[SelectedColumn, ...]
    valid: sql.Composable | None

    @classmethod
    def of(cls, relations: dict[str, str], columns: Iterable[SelectedColumn], keep_invalid: bool) -> Selection:
        columns = list(columns)
        flag = next((each for each in columns if (each.name, each.type) == ("valid", "bool")), None)
        dropped = BOOKKEEPING if keep_invalid or flag is None else BOOKKEEPING | {flag.name}
        kept = tuple(_flattened([each for each in columns if each.name not in dropped]))
        return cls(relations, kept, flag.column if flag is not None and not keep_invalid else None)

    @property
    def statement(self) -> str:
        columns = [sql.SQL("{} AS {}").format(each.value, sql.Identifier(each.name)) for each in self.columns]
        return self._select(columns)

    def counting(self, postgis: bool) -> str:
        """One row: how many rows, then the aggregates of each column."""
        return self._select(
            [sql.SQL("count(*)"), *(part for each in self.columns for part in each.aggregates(postgis))]
        )

    def values(self, counted: Sequence[Any], postgis: bool) -> Iterator[tuple[SelectedColumn, list[Any]]]:
        """What `counting` answered after the rows, by column."""
        rest = iter(counted)
        for column in self.columns:
            yield column, list(islice(rest, len(column.aggregates(postgis))))

    def apart(self) -> list[Selection]:
        """Each relation on its own; together they say the same where the join pairs each row with one of the other."""
        alone = []
        for alias, name in self.relations.items():
            columns = tuple(each for each in self.columns if each.relation == alias)
            where = self.valid if self.valid is not None and alias == next(iter(self.relations)) else None
            alone.append(replace(self, relations={alias: name}, columns=columns, valid=where))
        return alone

    def _select(self, parts: Sequence[sql.Composable]) -> str:
        sources = [
            sql.SQL("{} AS {}").format(*map(sql.Identifier, (name, alias))) for alias, name in self.relations.items()
        ]
        first, *others = sources
        joined = [sql.SQL(" JOIN {} USING (id)").format(other) for other in others]
        where = sql.SQL("") if self.valid is None else sql.SQL(" WHERE {}").format(self.valid)
        statement = sql.SQL("SELECT {} FROM {}{}{}").format(
            sql.SQL(", ").join(parts), first, sql.SQL("").join(joined), where
        )
        return statement.as_string(None)


def _flattened(columns: list[SelectedColumn]) -> list[SelectedColumn]:
    """In the order of CAVE's flattened schemas: what a point is bound to follows its position."""
    by_name: dict[str, SelectedColumn] = {}
    for column in columns:
        by_name.setdefault(column.name, column)  # `id` is in both of a split table
    ordered: dict[str, SelectedColumn] = {}
    for name, column in by_name.items():
        ordered.setdefault(name, column)
        if column.type == GEOMETRY:
            point = name.removesuffix("_position")
            bound = [f"{point}_supervoxel_id", f"{point}_root_id"]
            ordered.update({each: by_name[each] for each in bound if each in by_name and each not in ordered})
    return list(ordered.values())


def _plain(kind: pa.DataType) -> pa.DataType:
    """Without the driver's remarks on the elements of a list."""
    return pa.list_(kind.value_type) if pa.types.is_list(kind) else kind
