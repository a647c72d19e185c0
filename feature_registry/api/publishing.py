"""Routes that change what is registered: published, deprecated, edited, transferred, unregistered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response

from feature_registry.api.people import Acting
from feature_registry.api.tables import Ref
from feature_registry.model import Dependents, Deprecation, Entry, Metadata, Owner

router = APIRouter(prefix="/v1", tags=["publishing"])

Force = Annotated[bool, Query(description="even if others were derived from it")]
IfMatch = Annotated[str | None, Header(description="the ETag of what the edit is based on; unset: the last one wins")]
Run = Annotated[str, Path(description="the run's id, as its table versions' producer says it")]


@router.patch("/tables/{table:path}")
def edit(table: Ref, changes: Metadata, registry: Acting, response: Response, if_match: IfMatch = None) -> Entry:
    """Changes what is said about a table; 409 with the difference if it was changed since."""
    based_on = None if if_match in (None, "*") else if_match.removeprefix("W/").strip('"')
    entry = registry.edit(table, {name: getattr(changes, name) for name in changes.model_fields_set}, based_on)
    response.headers["ETag"] = f'"{entry.table.etag}"'
    return entry


@router.delete("/tables/{table:path}")
def unregister(table: Ref, registry: Acting, force: Force = False) -> Entry:
    """Forgets a table version, and answers what it was; its data stay, and so do the table's metadata and history."""
    return registry.unregister(table, force)


@router.delete("/runs/{run_id:path}")
def unregister_run(run_id: Run, registry: Acting) -> tuple[Entry, ...]:
    """Forgets all table versions that a run made, or none, if others were derived from one."""
    return registry.unregister_run(run_id)


@router.get("/dependents/{table:path}")
def dependents(table: Ref, registry: Acting) -> Dependents:
    """All that depends on a table version, to be seen before it is deprecated or unregistered."""
    return registry.dependents(table)


@router.post("/publish/{table:path}")
def publish(table: Ref, registry: Acting) -> Entry:
    """Makes a draft visible to all."""
    return registry.publish(table)


@router.post("/deprecate/{table:path}")
def deprecate(table: Ref, deprecation: Deprecation, registry: Acting) -> Entry:
    """Marks a published version; it stays readable, with a warning that names its successor."""
    return registry.deprecate(table, deprecation.reason, deprecation.superseded_by)


@router.post("/transfer/{table:path}")
def transfer(table: Ref, owner: Owner, registry: Acting) -> Entry:
    """Gives a table to another owner, which its history tells."""
    return registry.transfer(table, owner.team, owner.person)
