"""Counts the values by which what was searched for can be narrowed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from heapq import nsmallest
from typing import Any

import sqlalchemy as sa

from feature_registry.catalog.schema import datastacks, feature_tables, producers, versions
from feature_registry.catalog.schema import facets as held
from feature_registry.catalog.search import choose
from feature_registry.model import Facets, FacetValue, Search

# Of the tables' facets, those that many have in common: columns would be a list of all columns.
KINDS = ("tag", "key", "unit", "kind", "reference")
_ROWS = {
    "datastack": feature_tables.c.datastack,
    "team": feature_tables.c.team,
    "person": feature_tables.c.person,
    "license": feature_tables.c.license,
    "format": versions.c.format,
    "status": versions.c.status,
    "producer": producers.c.pipeline,
    "model": producers.c.model,
}


def facets(connection: sa.Connection, wanted: Search, person: str, now: datetime | None, most: int) -> Facets:
    """By facet, the values that most tables have, first those of most; a table counts once, whatever its versions."""
    chosen = choose(connection, wanted, now)
    if chosen is None:
        return Facets(tables=0)
    joined = chosen.joined.join(producers, producers.c.id == versions.c.producer_id)
    statement = sa.select(feature_tables.c.id, *_ROWS.values()).select_from(joined).where(*chosen.where)
    # The driver's own rows, whose values are as they are kept: thousands of SQLAlchemy's take longer than the query.
    rows = connection.execute(statement, {"person": person}).cursor.fetchall()
    columns = list(zip(*rows, strict=True)) or [()] * (1 + len(_ROWS))
    ids = set(columns[0])
    counts: defaultdict[str, Counter[Any]] = defaultdict(Counter)
    for name, values in zip(_ROWS, columns[1:], strict=True):
        counts[name] = Counter(values if len(ids) == len(values) else _once(columns[0], values))
    counts["owner"] = counts.pop("team") + counts.pop("person")
    volumes = {row.name: row.aligned_volume for row in connection.execute(_VOLUMES)}
    for datastack, count in counts["datastack"].items():
        counts["aligned_volume"][volumes.get(datastack)] += count
    for kind, value, count in connection.execute(_HELD[connection.dialect.name], _given(connection, ids)):
        counts[kind][value] = count
    listed = {name: _listed(counts[name], most) for name in sorted(counts)}
    return Facets(
        tables=len(ids), facets={name: each for name, each in listed.items() if each}, corrected=chosen.corrected
    )


def _once(ids: Iterable[int], values: Iterable[str]) -> Iterable[str]:
    return (value for _, value in set(zip(ids, values, strict=True)))


def _listed(counts: Counter[Any], most: int) -> tuple[FacetValue, ...]:
    del counts[None]
    first = nsmallest(most, counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(FacetValue(value=value, tables=count) for value, count in first)


def _given(connection: sa.Connection, ids: Iterable[int]) -> dict[str, Any]:
    """More ids than a statement takes parameters."""
    return {"ids": str(list(ids)) if connection.dialect.name == "sqlite" else list(ids)}


_VOLUMES = sa.select(datastacks.c.name, datastacks.c.aligned_volume)
_COUNT = sa.select(held.c.kind, held.c.value, sa.func.count()).where(held.c.kind.in_(KINDS))
_COUNT = _COUNT.group_by(held.c.kind, held.c.value)
_HELD = {
    "sqlite": _COUNT.where(held.c.table_id.in_(sa.text("SELECT value FROM json_each(:ids)"))),
    "postgresql": _COUNT.where(held.c.table_id == sa.func.any(sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger)))),
}
