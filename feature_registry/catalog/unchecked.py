"""Which table versions nobody has looked at for the longest time."""

from __future__ import annotations

import heapq
import json

import sqlalchemy as sa

from feature_registry.catalog.schema import feature_tables, versions


def longest(connection: sa.Connection, datastack: str | None, limit: int | None) -> list[str]:
    """The ids of versions that are no drafts, the longest unchecked first. Reads the checks of all: for a night."""
    joined = versions.join(feature_tables, feature_tables.c.id == versions.c.table_id)
    chosen = sa.select(versions.c.id, sa.cast(versions.c.checks, sa.Text).label("checks")).select_from(joined)
    chosen = chosen.where(versions.c.status != "draft")
    if datastack is not None:
        chosen = chosen.where(feature_tables.c.datastack == datastack)
    rows = connection.execution_options(yield_per=10_000).execute(chosen)
    aged = ((max((each.get("at") or "" for each in json.loads(row.checks)), default=""), row.id) for row in rows)
    ordered = sorted(aged) if limit is None else heapq.nsmallest(limit, aged)
    return [version_id for _, version_id in ordered]
