"""Routes of what is registered: datastacks, tables, their versions and history."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from feature_registry.api.people import Acting
from feature_registry.model import (
    Datastack,
    Entry,
    Event,
    Found,
    Lineage,
    MaterializationVersion,
    Metadata,
    Noun,
    Registration,
    Report,
    Search,
)

router = APIRouter(prefix="/v1", tags=["tables"])

Ref = Annotated[str, Path(description="datastack/name@mat_version; without @, the latest")]
DatastackName = Annotated[str, Path(description="the datastack's name")]
AsOf = Annotated[datetime | None, Query(description="the catalog as it was at this instant; unset: as it is")]
Force = Annotated[bool, Query(description="even if others were derived from it")]
ExportName = Annotated[str, Path(description="which export")]


class Deprecation(Noun):
    reason: str = ""
    superseded_by: str | None = None


@router.get("/datastacks")
def datastacks(registry: Acting) -> tuple[Datastack, ...]:
    """All datastacks."""
    return registry.datastacks()


@router.get("/datastacks/{datastack}/versions")
def mat_versions(datastack: DatastackName, registry: Acting) -> tuple[MaterializationVersion, ...]:
    """A datastack's materialization versions."""
    return registry.mat_versions(datastack)


@router.get("/tables")
def search(wanted: Annotated[Search, Query()], registry: Acting) -> Found:
    """Full-text search and filters over tables, a page at a time."""
    return registry.search(wanted)


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


@router.get("/tables/{table:path}")
def describe(table: Ref, registry: Acting, as_of: AsOf = None) -> Entry:
    """The entry of `datastack/name@mat_version`."""
    return registry.describe(table, as_of)


@router.delete("/tables/{table:path}")
def unregister(table: Ref, registry: Acting, force: Force = False) -> Entry:
    """Forgets a table version, and answers what it was; its data stay, and so do the table's metadata and history."""
    return registry.unregister(table, force)


@router.patch("/tables/{table:path}")
def edit(table: Ref, changes: Metadata, registry: Acting) -> Entry:
    """Changes what is said about a table."""
    return registry.edit(table, {name: getattr(changes, name) for name in changes.model_fields_set})


@router.get("/history/{table:path}")
def history(table: Ref, registry: Acting, as_of: AsOf = None) -> tuple[Event, ...]:
    """Every change of a table, oldest first."""
    return registry.history(table, as_of)


@router.get("/lineage/{table:path}")
def lineage(table: Ref, registry: Acting, as_of: AsOf = None) -> Lineage:
    """What a table version was derived from, and what was derived from it."""
    return registry.lineage(table, as_of)


@router.get("/resolve/{table:path}")
def resolve(table: Ref, registry: Acting, as_of: AsOf = None) -> Entry:
    """The table itself, or the newest of those that superseded it."""
    return registry.resolve(table, as_of)


@router.post("/publish/{table:path}")
def publish(table: Ref, registry: Acting) -> Entry:
    """Makes a draft visible to all."""
    return registry.publish(table)


@router.post("/deprecate/{table:path}")
def deprecate(table: Ref, deprecation: Deprecation, registry: Acting) -> Entry:
    """Marks a published version; it stays readable, with a warning that names its successor."""
    return registry.deprecate(table, deprecation.reason, deprecation.superseded_by)


@router.get("/exports/{name}")
def export(name: ExportName, registry: Acting) -> Response:
    """The catalog, without drafts, in one of the exports' forms."""
    return Response(registry.export(name), media_type="application/json")
