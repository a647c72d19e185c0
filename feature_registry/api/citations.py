"""The route of citations."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from feature_registry import exports
from feature_registry.api.people import Acting
from feature_registry.registry.citing import Style

router = APIRouter(prefix="/v1", tags=["tables"])

Refs = Annotated[list[str], Query(description="datastack/name@mat_version; repeated, all of them", max_length=1_000)]
WithLineage = Annotated[bool, Query(description="with all that they were computed from")]


In = Annotated[Style, Query(description="the form of the list")]
LISTED: dict[int | str, dict[str, Any]] = {200: {"description": "The list, in its own media type"}}


@router.get("/citations", response_class=Response, responses=LISTED)
def citations(registry: Acting, table: Refs, style: In = "bibtex", lineage: WithLineage = True) -> Response:
    """How to cite tables: each work once, and which tables it covers."""
    return Response(registry.cite(table, style, lineage), media_type=exports.media_type(style))
