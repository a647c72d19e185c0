"""Routes of access: plans and grants."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from feature_registry.api.people import Acting
from feature_registry.model import Grant, Plan, PlanRequest
from feature_registry.registry import licences

router = APIRouter(tags=["access"])


@router.get("/health")
def health(registry: Acting) -> dict[str, Any]:
    """Whether the catalog answers."""
    return {"status": "ok", "newest_event": registry.newest_event()}


@router.post("/v1/plans", response_model=Plan)
def plan(request: PlanRequest, registry: Acting) -> Response:
    """Prunes, reserves the kept files' bytes, and gives links to them."""
    made = registry.plan(request)
    # Serialised here: FastAPI would validate each of 10,000 files again.
    headers = licences.links(made.entry.table.license)
    return Response(made.model_dump_json(), headers=headers, media_type="application/json")


@router.get("/v1/grants/{grant}")
def grant(grant: Annotated[str, Path(description="the grant's id, as a plan says it")], registry: Acting) -> Grant:
    """A grant of one's own, with the bytes charged so far."""
    return registry.grant(grant)
