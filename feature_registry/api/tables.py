"""Routes of what is registered: datastacks, tables, their versions and history."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from feature_registry import exports
from feature_registry.api.people import Acting
from feature_registry.model import (
    Datastack,
    Entry,
    Event,
    MaterializationVersion,
)
from feature_registry.model.noun import Moment

router = APIRouter(prefix="/v1", tags=["tables"])

Ref = Annotated[str, Path(description="datastack/name@mat_version, without @ the latest, or a version's UUID")]
DatastackName = Annotated[str, Path(description="the datastack's name")]
AsOf = Annotated[Moment | None, Query(description="the catalog as it was at this instant; unset: as it is")]
Nearest = Annotated[bool, Query(description="whether the newest older version will do where this one is not there")]
ExportName = Annotated[str, Path(description="which export")]
Public = Annotated[bool, Query(description="without what may not be handed on")]


@router.get("/datastacks")
def datastacks(registry: Acting) -> tuple[Datastack, ...]:
    """All datastacks."""
    return registry.datastacks()


@router.get("/datastacks/{datastack}/versions")
def mat_versions(datastack: DatastackName, registry: Acting) -> tuple[MaterializationVersion, ...]:
    """A datastack's materialization versions."""
    return registry.mat_versions(datastack)


@router.get("/tables/{table:path}")
def describe(table: Ref, registry: Acting, response: Response, as_of: AsOf = None, nearest: Nearest = False) -> Entry:
    """The entry of `datastack/name@mat_version`; its ETag is that of the table's metadata."""
    entry = registry.describe(table, as_of, nearest)
    response.headers["ETag"] = f'"{entry.table.etag}"'
    return entry


@router.get("/history/{table:path}")
def history(table: Ref, registry: Acting, as_of: AsOf = None) -> tuple[Event, ...]:
    """Every change of a table, oldest first."""
    return registry.history(table, as_of)


@router.get("/resolve/{table:path}")
def resolve(table: Ref, registry: Acting, as_of: AsOf = None, nearest: Nearest = False) -> Entry:
    """The table itself, or the newest of those that superseded it, at the same version if there is one."""
    return registry.resolve(table, as_of, nearest)


@router.get("/exports/{name}")
def export(name: ExportName, registry: Acting, public: Public = False) -> Response:
    """The catalog, without drafts, in one of the exports' forms; X-Withheld counts what is left out of a public one."""
    text = registry.export(name, public)
    headers = {"X-Withheld": str(text.withheld)} if public else None
    return Response(text, headers=headers, media_type=exports.media_type(name))
