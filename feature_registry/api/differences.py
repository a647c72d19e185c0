"""The route of what the catalog knows of a difference; rows are compared by the client, where the bytes are its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from feature_registry.api.people import Acting
from feature_registry.model import Difference

router = APIRouter(prefix="/v1", tags=["tables"])

Ref = Annotated[str, Query(description="datastack/name@mat_version")]


@router.get("/differences")
def difference(old: Ref, new: Ref, registry: Acting) -> Difference:
    """What differs between two table versions by the catalog: schema, rows, bytes. No data are read."""
    return registry.difference(old, new)
