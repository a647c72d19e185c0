"""Which table versions nobody has looked at for the longest time."""

from __future__ import annotations

import heapq
from typing import Any

import sqlalchemy as sa

from feature_registry.catalog.schema import feature_tables, versions

_VERSIONS = (
    sa.select(
        versions.c.id,
        feature_tables.c.datastack,
        feature_tables.c.name,
        versions.c.patch,
    )
    .select_from(versions.join(feature_tables, feature_tables.c.id == versions.c.table_id))
    .where(versions.c.status != "draft")
    .execution_options(yield_per=10_000)
)


def longest(
    connection: sa.Connection, limit: int | None, datastack: str | None = None, name: str | None = None
) -> list[tuple[str, str, str]]:
    """(id, datastack, name) of versions that are no drafts, the longest unchecked first. Reads the checks of all, of
    a million within seconds.
    """
    said = {"datastack": datastack, "name": name}
    chosen = _VERSIONS.where(*(feature_tables.c[each] == value for each, value in said.items() if value is not None))
    aged = ((_at(row.patch), row.id, row.datastack, row.name) for row in connection.execute(chosen))
    ordered = sorted(aged) if limit is None else heapq.nsmallest(limit, aged)
    return [found[1:] for found in ordered]


def _at(patch: dict[str, Any] | None) -> str:
    """When somebody looked whether it is there, after its registration."""
    return max(
        (each.get("at") or "" for each in (patch or {}).get("checks", ()) if each["name"] == "exists"), default=""
    )
