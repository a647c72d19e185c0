"""Routes of access: plans, grants, and the links, which answer with a redirect and never with data."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from feature_registry.api.people import Acting
from feature_registry.model import Grant, Plan, PlanRequest
from feature_registry.registry import Registry
from feature_registry.registry.links import RangeNotSatisfiable


class LinkRoute(APIRoute):
    """Calls its endpoint straight from ASGI: one scan asks for hundreds of ranges, and resolving FastAPI's
    dependencies would take longer than the link itself.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.app = self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.endpoint(**scope["path_params"], request=Request(scope))
        await response(scope, receive, send)


router = APIRouter(tags=["access"])
links = APIRouter(tags=["access"], prefix="/v1/links", route_class=LinkRoute)

REDIRECT: dict[int | str, dict[str, Any]] = {
    307: {"description": "To a URL that is signed for just the range of the request", "headers": {"Location": {}}},
    416: {"description": "The range lies outside the file"},
}


@router.get("/health")
def health(registry: Acting) -> dict[str, Any]:
    """Whether the catalog answers."""
    return {"status": "ok", "newest_event": registry.newest_event()}


@router.post("/v1/plans", response_model=Plan)
def plan(request: PlanRequest, registry: Acting) -> Response:
    """Prunes, reserves the kept files' bytes, and gives links to them."""
    # Serialised here: FastAPI would validate each of 10,000 files again.
    return Response(registry.plan(request).model_dump_json(), media_type="application/json")


@router.get("/v1/grants/{grant}")
def grant(grant: str, registry: Acting) -> Grant:
    """A grant of one's own, with the bytes charged so far."""
    return registry.grant(grant)


@links.get("/{token}/{path:path}", status_code=307, responses=REDIRECT, response_class=Response)
async def follow(token: str, path: str, request: Request) -> Response:
    """One file of a grant. `path` only names it for the reader; the token alone says which file it is."""
    registry: Registry = request.app.state.registry
    try:
        url = await registry.access.follow(token, request.headers.get("range"))
    except RangeNotSatisfiable as outside:
        size = await registry.access.size(token)
        return Response(str(outside), 416, {"Content-Range": f"bytes */{size}"})
    return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})


@links.head("/{token}/{path:path}", responses=REDIRECT, response_class=Response)
async def head(token: str, path: str, request: Request) -> Response:
    """The size of one file of a grant; a signed URL serves GET only, and this costs nothing."""
    registry: Registry = request.app.state.registry
    size = await registry.access.size(token)
    return Response(headers={"Content-Length": str(size), "Accept-Ranges": "bytes", "Cache-Control": "no-store"})
