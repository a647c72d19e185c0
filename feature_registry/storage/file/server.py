"""Serves the signed URLs of `file://`, and nothing else, on a port of its own.

As S3 does: HEAD on a URL signed for GET is refused, a malformed or a multiple `Range` is ignored, and errors carry
S3's codes. A file is served only under its normalised path. Below a prefix of the settings (`managed`,
`allowed_prefixes`) symbolic links must stay below it. A file elsewhere, which only a caller in process can have
registered, must have no link on its way, or none below `home`. Whoever may write in a table's folder could otherwise
have any file served, such as the registry's secret.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage.file import CHUNK, Refused, etag, signing_key, verify

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_STATUS = {"NoSuchKey": 404, "MethodNotAllowed": 405, "PreconditionFailed": 412, "InvalidRange": 416}


def create_app(settings: Settings, log_path: Path | None = None) -> Starlette:
    """The file server. `app.state.bytes_sent` counts the bodies' bytes of files, `app.state.requests` the requests.

    `log_path` gets a JSON line a request: time (s since 1970), method, path, range, status, bytes handed to the
    connection, which is all that was sent also when the client breaks off.
    """
    app = Starlette()
    app.state.bytes_sent = 0
    app.state.requests = 0
    app.router.default = FileServer(app.state, settings, log_path)  # a route's pattern stops at a line feed
    return app


class FileServer:
    """The ASGI application behind `create_app`."""

    def __init__(self, state: Any, settings: Settings, log_path: Path | None) -> None:
        self._state = state
        self._key = signing_key(settings)
        self._roots = Roots(settings)
        self._log = None if log_path is None else _opened_log(log_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        byte_range = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"range"), None)
        delivery = Delivery(send, lambda status, sent: self._account(scope, byte_range, status, sent))
        try:
            path = _checked_path(scope)
            query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
            _check_method(scope["method"])
            verify(self._key, path, query, byte_range)
            await self._serve(path, byte_range, query.get("etag"), receive, delivery)
        except Refused as refused:
            status = _STATUS.get(refused.code, 403)
            body = JSONResponse({"code": refused.code, "message": str(refused)}, status)
            delivery.counts = False
            await body(scope, receive, delivery)
        finally:
            delivery.end()

    async def _serve(
        self, path: str, byte_range: str | None, known: str | None, receive: Receive, delivery: Delivery
    ) -> None:
        part = await run_in_threadpool(Part, path, byte_range, known, self._roots)
        try:
            await delivery({"type": "http.response.start", "status": part.status, "headers": part.headers})
            if part.left == len(part.first):
                await delivery({"type": "http.response.body", "body": part.first})
                return
            stream = asyncio.ensure_future(_stream(part, delivery))
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                await asyncio.wait({stream, gone}, return_when=asyncio.FIRST_COMPLETED)
                if stream.done():
                    stream.result()
            finally:
                stream.cancel()
                gone.cancel()
                await asyncio.gather(stream, gone, return_exceptions=True)  # no thread may read a closed file
        finally:
            os.close(part.descriptor)

    def _account(self, scope: Scope, byte_range: str | None, status: int, sent: int) -> None:
        self._state.requests += 1
        self._state.bytes_sent += sent
        if self._log is not None:
            line = {
                "time": round(time.time(), 6),
                "method": scope["method"],
                "path": scope["path"],
                "range": byte_range,
                "status": status,
                "bytes": sent,
            }
            os.write(self._log, json.dumps(line).encode() + b"\n")  # one write: lines of several workers stay whole


class Delivery:
    """An ASGI `send` that counts what passes through it, and reports it once.

    It reports before the last bytes are sent: who has read the answer finds it in the log.
    """

    def __init__(self, send: Send, report: Callable[[int, int], None]) -> None:
        self._send = send
        self._report: Callable[[int, int], None] | None = report
        self.status = 0
        self.sent = 0
        self.counts = True

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            if self.counts:
                self.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.end()
        await self._send(message)

    def end(self) -> None:
        report, self._report = self._report, None
        if report is not None:
            report(self.status, self.sent)


class Part:
    """An open file, the part of it that was asked for, and the first chunk of that. Raises `Refused`, also where
    `known`, the ETag of the file that the URL was signed for, is another one's.
    """

    def __init__(self, path: str, byte_range: str | None, known: str | None, roots: Roots) -> None:
        self.descriptor = _opened(path, roots)
        try:
            status = os.fstat(self.descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Refused("NoSuchKey", "There is no such file")
            if known and known != etag(status):
                raise Refused("PreconditionFailed", "The file changed since its table was registered")
            wanted = _wanted(byte_range, status.st_size)
            self.offset, end = wanted or (0, status.st_size)
            self.left = end - self.offset
            self.status = 206 if wanted else 200
            self.headers = _headers(status, self.offset, end, partial=wanted is not None)
            self.first = os.pread(self.descriptor, min(CHUNK, self.left), self.offset)
        except BaseException:
            os.close(self.descriptor)
            raise

    def next(self) -> bytes:
        """The next chunk; none at the end of the part, or of a file that was truncated under us."""
        chunk = self.first or os.pread(self.descriptor, min(CHUNK, self.left), self.offset)
        self.first = b""
        self.offset += len(chunk)
        self.left -= len(chunk)
        return chunk


async def _stream(part: Part, delivery: Delivery) -> None:
    chunk = part.next()
    while chunk and part.left:
        await delivery({"type": "http.response.body", "body": chunk, "more_body": True})
        chunk = await run_in_threadpool(part.next)
    if part.left:
        raise RuntimeError("the file became shorter while it was sent")  # uvicorn then cuts the connection
    await delivery({"type": "http.response.body", "body": chunk})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _opened_log(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _check_method(method: str) -> None:
    if method == "HEAD":
        raise Refused("SignatureDoesNotMatch", "The URL is signed for GET")
    if method != "GET":
        raise Refused("MethodNotAllowed", "Only GET is served")


def _checked_path(scope: Scope) -> str:
    """The decoded path, if it is normalised and its slashes are its own."""
    raw: bytes = scope["raw_path"].split(b"?")[0]
    path: str = scope["path"]
    if b"%2f" in raw.lower() or "\0" in path or not path.startswith("/") or path != os.path.normpath(path):
        raise Refused("AccessDenied", "The path is not normalised")
    return path


@contextmanager
def _as_refusals() -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise Refused("AccessDenied", "The file may not be read by the server") from None
    except (OSError, ValueError):
        raise Refused("NoSuchKey", "There is no such file") from None


def _opened(path: str, roots: Roots) -> int:
    with _as_refusals():
        real = os.path.realpath(path, strict=True)
        if not roots.permit(path, real):
            raise Refused("AccessDenied", "A symbolic link leads out of the allowed prefixes")
        # Without O_NONBLOCK, opening a pipe would wait for its writer.
        return os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)


class Roots:
    """Where symbolic links may lead."""

    def __init__(self, settings: Settings) -> None:
        prefixes = [prefix.key for prefix in settings.prefixes if prefix.scheme == "file"]
        self._prefixes = [(prefix, os.path.realpath(prefix)) for prefix in prefixes]
        self._home = Location(settings.home).key
        self._real_home = os.path.realpath(self._home)

    def permit(self, path: str, real: str) -> bool:
        holding = [target for prefix, target in self._prefixes if _holds(prefix, path)]
        if holding:
            return all(_holds(target, real) for target in holding)
        return real == (self._real_home + path[len(self._home) :] if _holds(self._home, path) else path)


def _holds(root: str, path: str) -> bool:
    return path.startswith(root if root.endswith("/") else f"{root}/")


def _wanted(byte_range: str | None, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a `Range` header; None: the whole file."""
    found = _RANGE.fullmatch(byte_range or "")
    first, last = found.groups() if found else ("", "")
    if not (first or last) or (first and last and int(last) < int(first)):
        return None
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise Refused("InvalidRange", f"The range is outside of the file's {size} bytes")
    return start, end


def _headers(status: os.stat_result, start: int, end: int, partial: bool) -> list[tuple[bytes, bytes]]:
    headers = {
        "content-type": "application/octet-stream",
        "content-length": str(end - start),
        "accept-ranges": "bytes",
        "etag": f'"{etag(status)}"',
    }
    if partial:
        headers["content-range"] = f"bytes {start}-{end - 1}/{status.st_size}"
    return [(name.encode(), value.encode()) for name, value in headers.items()]
