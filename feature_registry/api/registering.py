"""Routes of registration: what it would say, what one may say, and what the present policies would refuse."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from feature_registry.api.people import Acting
from feature_registry.model import Registration, Report, Suggestions, Violation

router = APIRouter(prefix="/v1", tags=["tables"])


@router.post("/tables", status_code=201, responses={200: {"model": Report, "description": "It was there before"}})
def register(registration: Registration, registry: Acting, response: Response) -> Report:
    """Registers the table at a location; 200 if the same location and snapshot was registered before."""
    report = registry.register(registration)
    response.status_code = 201 if report.created else 200
    return report


@router.post("/tables/preview")
def preview(registration: Registration, registry: Acting) -> Report:
    """The report of a registration, without registering."""
    return registry.preview(registration)


@router.post("/suggestions")
def suggest(registration: Registration, registry: Acting) -> Suggestions:
    """What one may say of a table that is to be registered, from its names, types and values."""
    return registry.suggest(registration)


@router.get("/lint")
def lint(
    registry: Acting, datastack: Annotated[str | None, Query(description="only this one's tables")] = None
) -> tuple[Violation, ...]:
    """The entries that violate the present policies; they stay readable."""
    return registry.lint(datastack)
