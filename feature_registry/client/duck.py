"""DuckDB on the tables of a datastack: each is a view, planned when a query first names it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from importlib.util import find_spec
from itertools import starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_registry.client.failures import explained
from feature_registry.client.filters import Where
from feature_registry.client.scan import seen, stored_schema
from feature_registry.client.table import ReadPlan, Table, told
from feature_registry.errors import Invalid, Unavailable, needed
from feature_registry.model import Inspection, Operator

if TYPE_CHECKING:
    import duckdb
    import polars as pl

_SIGNED = {"Int8": "TINYINT", "Int16": "SMALLINT", "Int32": "INTEGER", "Int64": "BIGINT", "Int128": "HUGEINT"}
_TYPES = _SIGNED | {f"U{polars}": f"U{sql}" for polars, sql in _SIGNED.items()}
_TYPES |= {"Float16": "FLOAT", "Float32": "FLOAT", "Float64": "DOUBLE", "Boolean": "BOOLEAN", "Binary": "BLOB"}
_TYPES |= {"Date": "DATE", "Time": "TIME", "Duration": "INTERVAL"}  # all else is VARCHAR
LONGEST_NAME = 130  # of a table, in bytes, with its quote
LONGEST_ARRAY = 100_000  # of DuckDB's arrays; longer ones are lists
# A link's bytes never change, so what was read of them is not asked for again.
_SETTINGS = {
    "enable_http_metadata_cache": True,
    "parquet_metadata_cache": True,
    "validate_external_file_cache": "NO_VALIDATION",
    "http_keep_alive": True,
    "http_retries": 12,  # with what follows, for 15 s: a server that is started again is away for some seconds
    "http_retry_wait_ms": 200,
    "http_retry_backoff": 1.3,
    "TimeZone": "UTC",  # not the machine's
    "python_scan_all_frames": True,  # names of Python frames are looked up beyond this wrapper
}


class Connection:
    """A DuckDB connection in memory. What it does not have itself is the connection's own, such as `register`."""

    def __init__(self, tables: Iterable[tuple[str, Table, Where]]) -> None:
        self._duckdb = needed("duckdb", "duckdb")
        self._connection: duckdb.DuckDBPyConnection = self._duckdb.connect()
        self._waiting: dict[str, tuple[str, Table, Where]] = {}
        self._plans: list[ReadPlan] = []
        _load_httpfs(self._connection)
        for name, value in _SETTINGS.items():
            self._connection.execute(f"SET {name} = {value!r}")
        for name, table, where in tables:
            if name.lower() in self._waiting:  # SQL's names know no case
                continue
            self._waiting[name.lower()] = (name, table, where)
            self._show(name, table, empty(table.schema))

    def sql(self, query: str, **options: Any) -> duckdb.DuckDBPyRelation:
        self.prepare(query)
        with explained(self._plans):
            return self._connection.sql(query, **options)

    query = sql

    def execute(self, query: str, *arguments: Any, **options: Any) -> Connection:
        self.prepare(query)
        with explained(self._plans):
            self._connection.execute(query, *arguments, **options)
        return self

    def table(self, name: str) -> duckdb.DuckDBPyRelation:
        return self.sql(f"FROM {quoted(name)}")

    def prepare(self, query: str) -> None:
        """Plans the tables that the query names and puts their files in the place of the empty views."""
        for name in self.named(query):
            found, table, where = self._waiting[name]
            plan = _planned(table, where)
            self._plans.append(plan)
            with explained(self._plans):
                self._show(found, table, reading(table, plan))
            del self._waiting[name]

    def _show(self, name: str, table: Table, query: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE VIEW {quoted(name)} AS {query}")
        self._connection.execute(f"COMMENT ON VIEW {quoted(name)} IS '{table.ref}'")

    def named(self, query: str) -> list[str]:
        """The tables not yet planned that a query names, in lower case.

        Read off the query's words: DuckDB's `get_table_names` sees through views, and refuses several statements. So
        a column's alias that is a table's name plans that table too; it costs a grant, and no byte.
        """
        words = list(dict.fromkeys(_words(self._duckdb, query)))
        if words and words[0] in ("describe", "desc", "show"):  # the placeholders know the answer
            return []
        return [word for word in words if word in self._waiting]

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _load_httpfs(connection: duckdb.DuckDBPyConnection) -> None:
    """From the file in its wheel, so that nothing is fetched; from DuckDB's own repository where there is no wheel."""
    wheel = find_spec("duckdb_extension_httpfs")
    places = list(wheel.submodule_search_locations or ()) if wheel else []
    version = connection.execute("SELECT version()").fetchall()[0][0]
    for place in places:
        file = Path(place) / "extensions" / version / "httpfs.duckdb_extension"
        if file.exists():
            connection.load_extension(str(file))
            return
    try:
        connection.install_extension("httpfs")
        connection.load_extension("httpfs")
    except Exception as failure:
        raise Unavailable(
            "DuckDB's extension httpfs is missing and cannot be fetched",
            field="duckdb",
            value=version,
            expected="pip install 'feature-registry[duckdb]'",
        ) from failure


def _words(library: Any, query: str) -> Iterator[str]:
    """The query's identifiers and keywords, unquoted, in lower case."""
    data = query.encode()  # the offsets are of bytes
    for start, kind in library.tokenize(query):
        if kind in (library.token_type.identifier, library.token_type.keyword):
            word = re.match(r'"?(\w*)', data[start : start + LONGEST_NAME].decode(errors="ignore"))
            yield word[1].lower() if word else ""


def empty(schema: pl.Schema) -> str:
    """A table with the columns and without rows."""
    columns = ", ".join(f"NULL::{sql_type(kind)} AS {quoted(name)}" for name, kind in schema.items())
    return f"SELECT {columns} WHERE false"


def sql_type(kind: pl.DataType) -> str:
    """DuckDB's name of a Polars type."""
    import polars as pl

    if isinstance(kind, pl.Datetime):
        if kind.time_zone is not None:
            return "TIMESTAMPTZ"
        return {"ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}[kind.time_unit]
    if isinstance(kind, pl.Decimal):
        return f"DECIMAL({kind.precision or 38},{kind.scale})"
    if isinstance(kind, (pl.List, pl.Array)):
        size = kind.size if isinstance(kind, pl.Array) and 0 < kind.size <= LONGEST_ARRAY else ""
        return f"{sql_type(_made(kind.inner))}[{size}]"
    if isinstance(kind, pl.Struct):
        return f"STRUCT({', '.join(f'{quoted(f.name)} {sql_type(_made(f.dtype))}' for f in kind.fields)})"
    return _TYPES.get(type(kind).__name__, "VARCHAR")


def _made(kind: Any) -> pl.DataType:
    made: pl.DataType = kind() if isinstance(kind, type) else kind
    return made


def _planned(table: Table, where: Where) -> ReadPlan:
    if where is not None and not isinstance(where, (list, tuple)):
        raise Invalid("is no filter of DuckDB's", field="where", value=str(where), expected="pyarrow's filters")
    return told(table.plan(where))


def reading(table: Table, plan: ReadPlan) -> str:
    """The query that reads the files of a plan."""
    inspection = seen(plan)
    if not plan.files:
        return empty(table.schema)
    types = {name: sql_type(kind) for name, kind in table.schema.items()}
    stored = stored_schema(inspection)
    partitions = {name: sql_type(stored[name]) for name in inspection.partition_columns}
    options = [f"union_by_name = {_evolved(inspection)}", f"hive_partitioning = {bool(partitions)}"]
    if partitions:
        options.append("hive_types = {" + ", ".join(f"{quoted(n)}: {kind}" for n, kind in partitions.items()) + "}")
    # Parquet's lists are read without their fixed size.
    cast = {*inspection.logical_types, *(name for name, kind in stored.items() if kind.is_nested())}
    columns = ", ".join(
        f"{quoted(name)}::{kind} AS {quoted(name)}" if name in cast else quoted(name) for name, kind in types.items()
    )
    files = ", ".join("'" + url.replace("'", "''") + "'" for url in plan.urls)
    rows = " OR ".join("(" + " AND ".join(starmap(_comparison, part)) + ")" for part in plan.filter.sent)
    condition = f" WHERE {rows}" if rows else ""
    return f"SELECT {columns} FROM read_parquet([{files}], {', '.join(options)}){condition}"  # noqa: S608 - all quoted


def _comparison(column: str, operator: Operator, value: Any) -> str:
    if operator in ("in", "not in"):
        values = ", ".join(map(_literal, value)) or "NULL"  # equal to nothing
        found = f"coalesce({quoted(column)} IN ({values}), false)"
        return found if operator == "in" else f"({quoted(column)} IS NOT NULL AND NOT {found})"
    return f"{quoted(column)} {operator} {_literal(value)}"


def _literal(value: Any) -> str:
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, datetime):
        return f"{'TIMESTAMP' if value.tzinfo is None else 'TIMESTAMPTZ'} '{value.isoformat(' ')}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    text = "'" + str(value).replace("'", "''") + "'"
    return f"{text}::DOUBLE" if isinstance(value, float) else text


def _evolved(inspection: Inspection) -> bool:
    """Whether files may lack columns of the table: then DuckDB must look into each of them first."""
    return inspection.format != "parquet" and inspection.snapshot not in (None, "0")
