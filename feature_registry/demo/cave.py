"""A stand-in for CAVE's servers, small and in memory, with which `caveclient` itself can talk.

Its paths, statuses and fields are those of CAVE's info service and materialization engine. What it says may be changed
while it runs. CAVE's exporter is in `exporter.py`, whose routes are handed to `serving`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from feature_registry.cli.supervisor import bound, served
from feature_registry.model import Resolution

T = TypeVar("T")


@dataclass
class FrozenTable:
    """`said` are fields as CAVE names them: description, notice_text, user_id, reference_table, read_permission ..."""

    schema_type: str
    rows: int | None
    bound: bool = True
    said: dict[str, Any] = field(default_factory=dict)


@dataclass
class FrozenView:
    """`columns` have the types integer, float, number, string, boolean or SpatialPoint."""

    columns: dict[str, str]
    said: dict[str, Any] = field(default_factory=dict)


@dataclass
class FrozenVersion:
    """`parent` is the datastack of which it is a view, at the same number: REST does not say it."""

    time_stamp: datetime
    expires_on: datetime | None = None
    status: Literal["AVAILABLE", "RUNNING", "FAILED", "EXPIRED"] = "AVAILABLE"
    valid: bool = True
    parent: str | None = None
    merged: bool = False
    tables: dict[str, FrozenTable] = field(default_factory=dict)
    views: dict[str, FrozenView] = field(default_factory=dict)


@dataclass
class FollowedDatastack:
    aligned_volume: str
    chunked_graph: str
    resolution: Resolution
    versions: dict[int, FrozenVersion] = field(default_factory=dict)


@dataclass
class StandIn:
    """All that CAVE knows. `trouble` is what happens to requests whose path holds `trouble_at`: a status, an answer
    that takes `seconds`, HTML, or JSON of another shape. `asked` are the paths of all requests.
    """

    datastacks: dict[str, FollowedDatastack]
    token: str | None = None
    users: dict[int, str] = field(default_factory=dict)
    trouble: int | Literal["slow", "html", "other"] | None = None
    trouble_at: str = ""
    seconds: float = 5.0
    asked: list[str] = field(default_factory=list)

    def datastack(self, request: Request) -> FollowedDatastack:
        return _found(self.datastacks, request.path_params["datastack"])

    def version(self, request: Request) -> FrozenVersion:
        return _found(self.datastack(request).versions, request.path_params["version"])

    def views(self, request: Request) -> dict[str, FrozenView]:
        """Those of the parent: CAVE looks for views in the database."""
        version = self.version(request)
        if version.parent is None:
            return version.views
        return self.datastacks[version.parent].versions[request.path_params["version"]].views

    async def answer(self, request: Request, what: Callable[[StandIn, Request], Any]) -> Response:
        self.asked.append(request.url.path)
        if self.token is not None and request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"error": "invalid_token", "message": "invalid token"}, 401)
        trouble = self.trouble if self.trouble_at in request.url.path else None
        if isinstance(trouble, int):
            return JSONResponse({"message": "Internal Server Error"}, trouble)
        if trouble == "slow":
            await asyncio.sleep(self.seconds)
        if trouble == "html":
            return HTMLResponse("<html><body>Please log in</body></html>")
        return JSONResponse([{"nobody": 1.5}] if trouble == "other" else await run_in_threadpool(what, self, request))


@contextmanager
def serving(cave: StandIn, *further: BaseRoute, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Its address, which is the one of the global server and of every datastack's."""
    with bound(host, port, "cave_server") as listener, served(create_app(cave, further), listener):
        yield f"http://{host}:{listener.getsockname()[1]}"


def create_app(cave: StandIn, further: Sequence[BaseRoute] = ()) -> Starlette:
    def route(path: str, what: Callable[[StandIn, Request], Any]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await cave.answer(request, what)

        return Route(path, endpoint)

    return Starlette(routes=[*(route(path, what) for path, what in _ROUTES.items()), *further])


def _found(among: dict[Any, T], name: Any) -> T:
    if name not in among:
        raise HTTPException(404, f"{name} not found")
    return among[name]


def _info(cave: StandIn, request: Request) -> Any:
    name, stack = request.path_params["datastack"], cave.datastack(request)
    server = str(request.base_url).rstrip("/")
    return {
        "aligned_volume": {"id": 1, "name": stack.aligned_volume, "display_name": stack.aligned_volume},
        "datastack": name,
        "segmentation_source": f"graphene://https://segmentation.invalid/segmentation/table/{stack.chunked_graph}",
        "local_server": server,
        "synapse_table": None,
        "description": None,
        **{f"viewer_resolution_{axis}": nm for axis, nm in zip("xyz", stack.resolution, strict=True)},
    }


def _users(cave: StandIn, request: Request) -> Any:
    wanted = [int(each) for each in request.query_params.get("id", "").split(",") if each]
    return [{"id": each, "name": cave.users[each]} for each in wanted if each in cave.users]


def _wanted_versions(cave: StandIn, request: Request) -> dict[int, FrozenVersion]:
    expired = request.query_params.get("expired", "").lower() == "true"
    return {number: each for number, each in cave.datastack(request).versions.items() if each.valid or expired}


def _versions_metadata(cave: StandIn, request: Request) -> Any:
    datastack, versions = request.path_params["datastack"], _wanted_versions(cave, request)
    if not versions:
        raise HTTPException(404, "No valid versions found")
    return [_version_metadata(datastack, number, each) for number, each in versions.items()]


def _version_metadata(datastack: str, number: int, version: FrozenVersion) -> dict[str, Any]:
    return {
        "id": number,
        "datastack": datastack,
        "version": number,
        "time_stamp": _written(version.time_stamp),
        "expires_on": version.expires_on and _written(version.expires_on),
        "status": version.status,
        "valid": version.valid,
        "is_merged": version.merged,
    }


def _one_version(cave: StandIn, request: Request) -> Any:
    return _version_metadata(request.path_params["datastack"], request.path_params["version"], cave.version(request))


def _tables(cave: StandIn, request: Request) -> Any:
    tables = list(cave.version(request).tables)
    if not tables:
        raise HTTPException(404)
    return tables


def _table(cave: StandIn, request: Request) -> Any:
    name = request.path_params["name"]
    return _table_metadata(cave, request, name, _found(cave.version(request).tables, name))


def _table_metadata(cave: StandIn, request: Request, name: str, table: FrozenTable) -> dict[str, Any]:
    stack, frozen = cave.datastack(request), _written(cave.version(request).time_stamp)
    bound_to = {"pcg_table_name": stack.chunked_graph, "last_updated": frozen} if table.bound else {}
    return {
        "aligned_volume": stack.aligned_volume,
        "table_name": name,
        "schema": table.schema_type,
        "schema_type": table.schema_type,
        "valid": True,
        "created": frozen,
        "last_modified": frozen,
        "user_id": "1",
        "description": "",
        "notice_text": None,
        "reference_table": None,
        "flat_segmentation_source": None,
        "write_permission": "PRIVATE",
        "read_permission": "PUBLIC",
        **_voxel_resolution(stack),
        **bound_to,
        **table.said,
    }


def _views(cave: StandIn, request: Request) -> Any:
    return {name: _view_metadata(cave, request, each) for name, each in cave.views(request).items()}


def _view_metadata(cave: StandIn, request: Request, view: FrozenView) -> dict[str, Any]:
    said = {"description": "", "notice_text": None, "live_compatible": False}
    about = {"datastack_name": request.path_params["datastack"], **_voxel_resolution(cave.datastack(request))}
    return said | about | view.said


def _schema(view: FrozenView) -> dict[str, Any]:
    return {name: {"type": kind} for name, kind in view.columns.items()}


def _voxel_resolution(stack: FollowedDatastack) -> dict[str, float]:
    return {f"voxel_resolution_{axis}": nm for axis, nm in zip("xyz", stack.resolution, strict=True)}


def _written(at: datetime) -> str:
    """UTC, which is not said; `caveclient` does not read it without microseconds."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def _named_view(cave: StandIn, request: Request) -> FrozenView:
    return _found(cave.views(request), request.path_params["name"])


_DATASTACK = "/materialize/api/v{api:int}/datastack/{datastack}"
_VERSION = f"{_DATASTACK}/version/{{version:int}}"
_ROUTES: dict[str, Callable[[StandIn, Request], Any]] = {
    "/auth/api/v1/user": _users,
    "/info/api/v2/datastacks": lambda cave, _: list(cave.datastacks),
    "/info/api/v2/datastack/full/{datastack}": _info,
    "/materialize/api/versions": lambda cave, _: [2, 3],
    f"{_DATASTACK}/versions": lambda cave, request: list(_wanted_versions(cave, request)),
    f"{_DATASTACK}/metadata": _versions_metadata,
    _VERSION: _one_version,
    f"{_VERSION}/tables": _tables,
    f"{_VERSION}/tables/metadata": lambda cave, request: [
        _table_metadata(cave, request, *each) for each in cave.version(request).tables.items()
    ],
    f"{_VERSION}/table/{{name}}/metadata": _table,
    f"{_VERSION}/table/{{name}}/count": lambda cave, request: (
        _found(cave.version(request).tables, request.path_params["name"]).rows
    ),
    f"{_VERSION}/views": _views,
    f"{_VERSION}/views/schemas": lambda cave, request: {
        name: _schema(view) for name, view in cave.views(request).items()
    },
    f"{_VERSION}/views/{{name}}/metadata": lambda cave, request: _view_metadata(
        cave, request, _named_view(cave, request)
    ),
    f"{_VERSION}/views/{{name}}/schema": lambda cave, request: _schema(_named_view(cave, request)),
}
