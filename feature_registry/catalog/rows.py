"""Writes rows, of which some may be there already."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

Row = dict[str, Any]


def insert(connection: sa.Connection, table: sa.Table, rows: list[Row]) -> None:
    if rows:
        connection.execute(sa.insert(table), rows)


def insert_new(connection: sa.Connection, table: sa.Table, rows: list[Row]) -> None:
    """Those that are there stay as they are, also when two writers come at once."""
    if rows:
        connection.execute(_inserting(connection.dialect.name, table), rows)


def upsert(connection: sa.Connection, table: sa.Table, keys: tuple[str, ...], rows: list[Row]) -> None:
    """Those that are there, by their keys, become as they are given."""
    if rows:
        others = tuple(name for name in rows[0] if name not in keys)
        connection.execute(_upserting(connection.dialect.name, table, keys, others), rows)


@cache
def _inserting(dialect: str, table: sa.Table) -> sa.Insert:
    inserting: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    return inserting.on_conflict_do_nothing()  # type: ignore[no-any-return]


@cache
def _upserting(dialect: str, table: sa.Table, keys: tuple[str, ...], others: tuple[str, ...]) -> sa.Insert:
    inserting: Any = (sqlite if dialect == "sqlite" else postgresql).insert(table)
    changes = {name: inserting.excluded[name] for name in others}
    return inserting.on_conflict_do_update(index_elements=keys, set_=changes)  # type: ignore[no-any-return]
