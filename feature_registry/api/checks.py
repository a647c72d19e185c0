"""Routes that look again at what is registered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from feature_registry.api.people import Acting
from feature_registry.api.tables import Ref
from feature_registry.model import Entry

router = APIRouter(prefix="/v1", tags=["checks"])


@router.post("/checks/{table:path}")
def check(table: Ref, registry: Acting) -> Entry:
    """Whether a table version is there, and as it was when it was registered; the answer's warnings say what is not."""
    return registry.check(table)


@router.post("/checks")
def check_all(
    registry: Acting,
    datastack: Annotated[str | None, Query(description="only this one")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="so many table versions")] = 10,
) -> tuple[Entry, ...]:
    """The next ones, those first that nobody looked at for the longest time."""
    return tuple(registry.check_all(datastack, limit))
