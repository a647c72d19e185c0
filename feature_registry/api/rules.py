"""The route of what the named rules found last; they are run where the tables are, and not for whoever asks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from feature_registry.api.people import Acting
from feature_registry.model import RuleReport

router = APIRouter(prefix="/v1", tags=["checks"])


@router.get("/rules")
def rules(
    registry: Acting, datastack: Annotated[str | None, Query(description="only this one")] = None
) -> tuple[RuleReport, ...]:
    """Which feature tables lack which keys and materialization versions, as it was found last."""
    return registry.rules(datastack)
