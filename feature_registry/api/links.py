"""The links: they answer with a redirect and never with data.

One scan asks for hundreds of ranges, so a link is answered before FastAPI's routing and dependencies, which would take
longer than the link itself. The routes below do the same for whoever reads the documentation.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from feature_registry.api import problems
from feature_registry.errors import RegistryError
from feature_registry.registry import Registry
from feature_registry.registry.access import Access
from feature_registry.registry.links import RangeNotSatisfiable

PREFIX = "/v1/links/"
LARGEST_BODY = 64 * 2**20  # a million ids to look for are a third of it
ANSWERS: dict[int | str, dict[str, Any]] = {
    307: {
        "description": "To a URL that is signed for just the range of the request",
        "headers": {"Location": {}, "Link": {}},
    },
    416: {"description": "The range lies outside the file"},
}
SIZE: dict[int | str, dict[str, Any]] = {200: {"description": "Content-Length is the file's size"}}
Token = Annotated[str, Path(description="the secret that says which file of which grant")]
FilePath = Annotated[str, Path(description="the file's name, for the reader alone")]
router = APIRouter(tags=["access"], prefix=PREFIX.rstrip("/"))


class LinksFirst(FastAPI):
    """An application that answers links by itself, and leaves everything else to FastAPI."""

    def openapi(self) -> dict[str, Any]:
        return problems.documented(super().openapi())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX) and scope["method"] in ("GET", "HEAD"):
            token = scope["path"][len(PREFIX) :].partition("/")[0]
            response = await _answer(self.state.registry, token, Request(scope))
            await response(scope, receive, send)
        else:
            await super().__call__(scope, _bounded(scope, receive), send)


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """A body of any size would be held in memory, three times, before anybody looks at it."""
    read = 0

    async def received() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if max(read, *announced) > LARGEST_BODY:
            raise HTTPException(413, f"the body is larger than {LARGEST_BODY:,} bytes")
        return message

    said = (value for name, value in scope.get("headers", ()) if name == b"content-length")
    announced = [0, *(int(value) for value in said if value.isdigit())]
    return received


@router.get("/{token}/{path:path}", status_code=307, responses=ANSWERS, response_class=Response)
async def follow(token: Token, path: FilePath, request: Request) -> Response:
    """One file of a grant. `path` only names it for the reader; the token alone says which file it is."""
    return await _answer(request.app.state.registry, token, request)


@router.head("/{token}/{path:path}", responses=SIZE, response_class=Response)
async def head(token: Token, path: FilePath, request: Request) -> Response:
    """The size of one file of a grant; a signed URL serves GET only, and this costs nothing."""
    return await _answer(request.app.state.registry, token, request)


async def _answer(registry: Registry, token: str, request: Request) -> Response:
    access = registry.access
    try:
        if request.method == "HEAD":
            size = str(await access.size(token))
            return Response(headers={"Content-Length": size, "Accept-Ranges": "bytes", "Cache-Control": "no-store"})
        url = await access.follow(token, request.headers.get("range"))
        return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store", **access.terms(token)})
    except RangeNotSatisfiable as outside:
        return await _outside(access, token, outside)
    except RegistryError as error:
        return problems.answer(error)


async def _outside(access: Access, token: str, error: RangeNotSatisfiable) -> Response:
    return Response(str(error), 416, {"Content-Range": f"bytes */{await access.size(token)}"})
