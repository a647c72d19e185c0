# ruff: noqa: S608 - names are quoted, and the rest is ours
"""Two versions of a table compared key by key, by DuckDB over their links or paths, in bounded memory.

First all rows meet by their keys with a 64-bit hash of their values, which finds the keys that may differ: a key that
does not has one row in each version, with the same hash. That a change is missed has a chance of 2^-64 a key. Then the
rows of those keys, which are few as a rule, are compared value by value. Keys that several rows of a version have, or
that hold a null, name no row: all rows of such a key are compared together, as a multiset.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_registry.client import duck
from feature_registry.client.duck import quoted, sql_type
from feature_registry.client.failures import explained
from feature_registry.client.secrets import redacted
from feature_registry.errors import Conflict, Invalid, Unavailable, needed
from feature_registry.model import Difference, KeyDifference

if TYPE_CHECKING:
    import polars as pl

    from feature_registry.client.http import Service
    from feature_registry.client.table import ReadPlan, Table

MEMORY = "1200MB"
MARK = "11400714819323198485::UBIGINT"  # any number; tells a row of each version from two of one
EXAMPLES = 5
KINDS = ("added", "removed", "changed")


def difference(
    service: Service,
    old: Table,
    new: Table,
    *,
    key: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    into: str | PathLike[str] | None = None,
) -> Difference:
    """What the service's catalog knows, and the keys. Raises before anything is read, and writes files at the end."""
    folder = None if into is None else _free(Path(into))
    known = service.difference(old.ref, new.ref)
    if known.identical and folder is None:
        return known
    comparison = Comparison.of(old, new, key, columns)
    plans = [] if known.identical else [each.plan(columns=comparison.read) for each in (old, new)]
    with _opened(plans) as connection:
        for name, table, plan in zip(("old", "new"), (old, new), plans or (None, None), strict=True):
            # What comes over a network is fetched once.
            kept = "VIEW" if plan is None or plan.grant is None or plan.grant.mode == "direct" else "TEMP TABLE"
            connection.execute(f"CREATE {kept} {name} AS {comparison.side(table, plan)}")
        keys, warnings = _compared(connection, comparison)
        if folder is not None:
            _write(connection, comparison, folder)
    keys = keys.model_copy(update={"grants": tuple(plan.grant.id for plan in plans if plan.grant is not None)})
    return known.model_copy(
        update={"keys": known.keys or keys, "warnings": (*known.warnings, *comparison.warnings, *warnings)}
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """The columns that are compared: `k0`, `k1` ... are the key, `v0`, `v1` ... the values."""

    key: dict[str, str]  # name -> SQL's type in which both versions meet
    values: dict[str, str]
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, old: Table, new: Table, key: Sequence[str] | None, columns: Sequence[str] | None) -> Comparison:
        names = _listed("key", key) or new.entry.table.key or old.entry.table.key
        if not names:
            message = "is not declared, so say which columns name a row"
            raise Invalid(message, field="key", value=None, expected=list(new.schema))
        both = [name for name in new.schema if name in old.schema]
        wanted = [name for name in both if name not in names] if columns is None else _listed("columns", columns)
        for field, asked in (("key", names), ("columns", wanted)):
            for name in asked:
                if name not in both:
                    raise Invalid("is no column of both versions", field=field, value=name, expected=both)
        met = {name: _common(old.schema[name], new.schema[name]) for name in (*names, *wanted)}
        for name in names:
            if met[name] is None:
                found = [str(each.schema[name]) for each in (old, new)]
                raise Invalid("changed its type", field="key", value=name, expected=f"one type, and not {found}")
        lost = [name for name in wanted if met[name] is None]
        said = [f"{', '.join(lost)}: not compared, for no type holds the old and the new values"] if lost else []
        types = {name: kind for name, kind in met.items() if kind is not None}
        return cls(
            {name: types[name] for name in names},
            {name: types[name] for name in wanted if name in types and name not in names},
            tuple(said),
        )

    @property
    def read(self) -> list[str]:
        return [*self.key, *self.values]

    @property
    def keys(self) -> list[str]:
        return [f"k{number}" for number in range(len(self.key))]

    @property
    def flags(self) -> list[str]:
        """Of the values: whether they changed."""
        return [f"c{number}" for number in range(len(self.values))]

    @property
    def null(self) -> str:
        return " OR ".join(f"{name} IS NULL" for name in self.keys)

    @property
    def matches(self) -> str:
        return " AND ".join(f"s.{name} IS NOT DISTINCT FROM u.{name}" for name in self.keys)

    def side(self, table: Table, plan: ReadPlan | None) -> str:
        """The query for one version; without a plan, it has no rows."""
        source = duck.empty(table.schema) if plan is None else duck.reading(table, plan)
        keys = [f"{quoted(name)}::{kind} AS k{at}" for at, (name, kind) in enumerate(self.key.items())]
        values = [
            f"{_carried(f'{quoted(name)}::{kind}', kind)} AS v{at}"
            for at, (name, kind) in enumerate(self.values.items())
        ]
        return f"SELECT {', '.join([*keys, *values])} FROM ({source})"

    @property
    def differs(self) -> list[str]:
        """Nulls are equal, and so are NaNs; zeros of two signs are not."""
        return [
            f"o.v{at} IS DISTINCT FROM n.v{at}"
            + (f" OR (o.v{at} = 0 AND signbit(o.v{at}) <> signbit(n.v{at}))" if kind in _FLOATS else "")
            for at, kind in enumerate(self.values.values())
        ]

    @property
    def row(self) -> str:
        """A number for all values of a row."""
        signs = [f"v{at} = 0 AND signbit(v{at})" for at, kind in enumerate(self.values.values()) if kind in _FLOATS]
        parts = [*(f"v{at}" for at in range(len(self.values))), *signs]
        return f"hash({', '.join(parts) or 0})"


# ------------------------------------------------------------------------------------------------------- types

_INTEGERS = {f"{sign}{name}": sign for sign in ("", "U") for name in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")}
_FLOATS = ("FLOAT", "DOUBLE")
_TIMES = ("TIMESTAMP_MS", "TIMESTAMP")
_CARRIED = {*_INTEGERS, *_FLOATS, *_TIMES, "TIMESTAMPTZ", "TIMESTAMP_NS", "DATE", "TIME", "BOOLEAN", "HUGEINT"}
_IN_DOUBLES = {"TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER", "FLOAT"}


def _common(old: pl.DataType, new: pl.DataType) -> str | None:
    """The type that holds all values of both; None: there is none."""
    one, other = sql_type(old), sql_type(new)
    if one == other:
        return one
    if one in _INTEGERS and other in _INTEGERS:
        return "DECIMAL(20, 0)"  # which Parquet keeps exactly, unlike a HUGEINT
    if {one, other} <= {*_IN_DOUBLES, "DOUBLE"} and not {one, other} <= _INTEGERS.keys():
        return "DOUBLE"
    return "TIMESTAMP" if {one, other} == set(_TIMES) else None


def _carried(value: str, kind: str) -> str:
    """What stands for a value in the join. DuckDB's hash of a list does not tell an empty one from a null, nor where an
    inner list ends, so lists of lists and structs are hashed as text.
    """
    if kind in _CARRIED or kind.startswith("DECIMAL"):
        return value
    inner, bracket, size = kind.rpartition("[")
    if not bracket and not kind.startswith("STRUCT"):
        return f"hash({value}, {value} IS NULL)"
    if bracket and not inner.endswith("]") and not inner.startswith("STRUCT"):
        return f"hash({value}, {value} IS NULL" + (f", len({value}))" if size == "]" else ")")
    return f"hash({value}::VARCHAR, {value} IS NULL)"


def _listed(field: str, names: Sequence[str] | None) -> tuple[str, ...]:
    found = (names,) if isinstance(names, str) else tuple(names or ())
    if len(set(found)) != len(found):
        raise Invalid("repeats a column", field=field, value=list(found))
    return found


# --------------------------------------------------------------------------------------------------- comparing


def _compared(connection: Any, comparison: Comparison) -> tuple[KeyDifference, list[str]]:
    """Fills the table `differing`: the key, of changed keys which values changed, and the kind by its number."""
    flags, keys = comparison.flags, ", ".join(comparison.keys)
    rows = _one(connection, "SELECT count(*) FROM old")[0]
    _narrow(connection, comparison, rows)
    unclear = _find_unclear(connection, comparison)
    apart = f" s ANTI JOIN unclear u ON {comparison.matches}" if unclear else ""
    changed = [f"({each}) AS {flag}" for flag, each in zip(flags, comparison.differs, strict=True)]
    joined = (
        f"SELECT {', '.join([keys, *changed])}, "
        "CASE WHEN o.k0 IS NULL THEN 0 WHEN n.k0 IS NULL THEN 1 ELSE 2 END AS kind "
        f"FROM (FROM some_old{apart}) o FULL JOIN (FROM some_new{apart}) n USING ({keys})"
    )
    connection.execute(f"CREATE TEMP TABLE differing AS FROM ({joined}) WHERE {' OR '.join(['kind < 2', *flags])}")
    surplus, warnings = _compare_unclear(connection, comparison, unclear) if unclear else (0, [])
    counts = ", ".join(["count(*)", *(f"count(*) FILTER ({flag})" for flag in flags)])
    query = f"SELECT kind, {counts} FROM differing GROUP BY kind"
    sizes = {kind: found for kind, *found in connection.execute(query).fetchall()}
    added, removed, changes = (sizes.get(kind, [0])[0] for kind in range(3))
    found = KeyDifference(
        key=tuple(comparison.key),
        columns=tuple(comparison.values),
        added=added,
        removed=removed,
        changed=changes,
        same=rows - surplus - removed - changes,
        changed_values=dict(zip(comparison.values, sizes.get(2, [0] * (len(flags) + 1))[1:], strict=True)),
        ambiguous=unclear,
        examples={name: _examples(connection, keys, kind) for kind, name in enumerate(KINDS) if kind in sizes},
    )
    return found, warnings


def _narrow(connection: Any, comparison: Comparison, rows: int) -> None:
    """Makes `some_old` and `some_new`: the rows of all keys that may differ."""
    keys = ", ".join(comparison.keys)
    row = comparison.row
    sides = f"SELECT {keys}, {row} AS row FROM old UNION ALL SELECT {keys}, xor({row}, {MARK}) FROM new"
    odd = f"count(*) <> 2 OR bit_xor(row) <> {MARK} OR {comparison.null}"
    connection.execute(f"CREATE TEMP TABLE suspects AS SELECT {keys} FROM ({sides}) GROUP BY {keys} HAVING {odd}")
    few = _one(connection, "SELECT count(*) FROM suspects")[0] < rows / 2
    for side in ("old", "new"):
        chosen = f"{side} s" + (f" SEMI JOIN suspects u ON {comparison.matches}" if few else "")
        connection.execute(f"CREATE TEMP {'TABLE' if few else 'VIEW'} some_{side} AS SELECT s.* FROM {chosen}")


def _find_unclear(connection: Any, comparison: Comparison) -> int:
    """Fills the table `unclear` with the keys that name no row, and says how many they are."""
    keys = ", ".join(comparison.keys)
    found = " UNION ".join(
        f"SELECT {keys} FROM some_{side} GROUP BY {keys} HAVING count(*) > 1 OR {comparison.null}"
        for side in ("old", "new")
    )
    connection.execute(f"CREATE TEMP TABLE unclear AS {found}")
    return int(_one(connection, "SELECT count(*) FROM unclear")[0])


def _compare_unclear(connection: Any, comparison: Comparison, unclear: int) -> tuple[int, list[str]]:
    """Adds those that differ to `differing`; answers how many rows more than such keys the old version has."""
    keys = ", ".join(comparison.keys)
    sides = " UNION ALL ".join(
        f"SELECT {keys}, {old} AS old, {comparison.row}::HUGEINT AS row FROM some_{side} s "
        f"SEMI JOIN unclear u ON {comparison.matches}"
        for side, old in (("old", True), ("new", False))
    )
    counted = "count_if(old) AS o, count_if(NOT old) AS n, sum(CASE WHEN old THEN row ELSE -row END) AS d"
    connection.execute(f"CREATE TEMP TABLE several AS SELECT {keys}, {counted} FROM ({sides}) GROUP BY {keys}")
    nulls = ", ".join(["NULL"] * len(comparison.flags) + [""])
    connection.execute(
        f"INSERT INTO differing SELECT {keys}, {nulls}CASE WHEN o = 0 THEN 0 WHEN n = 0 THEN 1 ELSE 2 END "
        "FROM several WHERE o <> n OR d <> 0"
    )
    surplus, old, new, empty = _one(
        connection, f"SELECT sum(o) - count_if(o > 0), sum(o), sum(n), count_if({comparison.null}) FROM several"
    )
    return int(surplus), [
        f"{unclear:,} keys name no single row, {empty:,} of them for a null: all rows of such a key ({old:,} of the old"
        f" version, {new:,} of the new one) were compared together, and no column was counted for them"
    ]


def _examples(connection: Any, keys: str, kind: int) -> tuple[str, ...]:
    query = f"SELECT {keys} FROM differing WHERE kind = {kind} ORDER BY {keys} LIMIT {EXAMPLES}"
    return tuple(", ".join(map(str, row)) for row in connection.execute(query).fetchall())


def _one(connection: Any, query: str) -> Any:
    return connection.execute(query).fetchone()


# ----------------------------------------------------------------------------------------------------- the files


def _free(folder: Path) -> Path:
    for kind in KINDS:
        if (folder / f"{kind}.parquet").exists() or (folder.exists() and not folder.is_dir()):
            raise Conflict("holds such files already", field="into", value=str(folder), expected="another folder")
    return folder


def _write(connection: Any, comparison: Comparison, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    keys = [f"k{at} AS {quoted(name)}" for at, name in enumerate(comparison.key)]
    flags = [f"c{at} AS {quoted(name)}" for at, name in enumerate(comparison.values)]
    for number, kind in enumerate(KINDS):
        chosen = ", ".join([*keys, *flags] if kind == "changed" else keys)
        path = str(folder / f"{kind}.parquet").replace("'", "''")
        connection.execute(f"COPY (SELECT {chosen} FROM differing WHERE kind = {number}) TO '{path}' (FORMAT parquet)")


@contextmanager
def _opened(plans: Sequence[ReadPlan]) -> Iterator[Any]:
    """A DuckDB that goes to disk where its memory ends."""
    errors = needed("duckdb", "duckdb").Error
    with (
        tempfile.TemporaryDirectory(prefix="feature-registry-difference-") as folder,
        duck.Connection(()) as connection,
    ):
        spill = folder.replace("'", "''")
        for setting in (
            f"memory_limit = '{MEMORY}'",
            f"temp_directory = '{spill}'",
            "preserve_insertion_order = false",
            "enable_progress_bar = false",  # it would stand in the middle of the command's JSON
        ):
            connection.execute(f"SET {setting}")
        try:
            with explained(plans):
                yield connection
        except errors as failure:  # its text may hold a link, which is a secret
            raise Unavailable(f"cannot be compared: {redacted(str(failure))}", field="table") from None
