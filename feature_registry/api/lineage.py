"""Routes of lineage: the walks up and down, and what is stale by them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from feature_registry.api.people import Acting
from feature_registry.api.tables import AsOf, Ref
from feature_registry.model import Direction, Lineage, Stale

router = APIRouter(prefix="/v1", tags=["lineage"])


@router.get("/lineage/{table:path}")
def lineage(  # noqa: PLR0917 - they are named in a query
    table: Ref,
    registry: Acting,
    as_of: AsOf = None,
    direction: Annotated[Direction, Query(description="up: what it was derived from; down: what from it")] = "both",
    depth: Annotated[int | None, Query(ge=1, le=1_000_000, description="generations; unset: all")] = None,
    columns: Annotated[bool, Query(description="also which columns come from which")] = False,
    column: Annotated[str | None, Query(description="of this column alone, as the tables say of theirs")] = None,
) -> Lineage:
    """What a table version was derived from, and what was derived from it, nearest first."""
    return registry.lineage(table, as_of, direction, depth, columns=columns, column=column)


@router.get("/stale")
def stale(
    registry: Acting, datastack: Annotated[str | None, Query(description="only what is in this datastack")] = None
) -> tuple[Stale, ...]:
    """The table versions that should be made again, and why."""
    return registry.stale(datastack)
