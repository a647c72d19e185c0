"""Whole files of a table version into a folder: in parallel, resumable, checked.

A file is written beside its place as `NAME.part` and moved there once its size and checksum are right, so that what
bears its name is complete. The folder's `table.json` says what it holds.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import httpx

from feature_registry.client.failures import refused
from feature_registry.client.scan import seen
from feature_registry.client.secrets import keep_out_of_logs
from feature_registry.errors import Conflict, Invalid, NotFound, RegistryError, Unavailable
from feature_registry.model import Column, Plan, PlannedFile

if TYPE_CHECKING:
    from feature_registry.client.filters import Where
    from feature_registry.client.table import Table

Advance = Callable[[int], None]

PARALLEL = 8
CHUNK = 1 << 20  # bytes
TRIES = 6  # of a file, without a byte gained in between
PAUSE = 0.5  # seconds before the second try, doubled each time
TIMEOUT = httpx.Timeout(60, connect=10)
MANIFEST = "table.json"
TERMS = {"license", "usage_constraints", "redistribution", "citation"}  # under which copies are used


def download(table: Table, folder: str | PathLike[str], where: Where, show: bool, layout: str | None) -> list[Path]:
    """The files that the read needs, fetched now or there before.

    Raises `Conflict` if the folder holds another table version or layout, or if a file is no longer what was
    registered, and `Unavailable` if a file cannot be had now; what was fetched until then stays, and a second call
    goes on from it.
    """
    root = Path(folder)
    layout = _layout(root, table, layout)
    outline = table.plan(where, dry_run=True, layout=layout)  # nothing is granted for what is there already
    targets = [_target(root, file, outline) for file in outline.files]
    _claim(root, outline, [str(target.relative_to(root)) for target in targets])
    missing = {str(t) for t, file in zip(targets, outline.files, strict=True) if not _complete(t, file)}
    if missing:
        plan = table.plan(where, layout=outline.layout or layout)
        wanted = [(_target(root, file, plan), file) for file in plan.files]
        _fetch_all([(target, file) for target, file in wanted if str(target) in missing], table.ref, show)
    return targets


def _fetch_all(wanted: list[tuple[Path, PlannedFile]], table: str, show: bool) -> None:
    keep_out_of_logs()
    stop = threading.Event()
    limits = httpx.Limits(max_connections=2 * PARALLEL)
    with (
        httpx.Client(follow_redirects=True, timeout=TIMEOUT, limits=limits) as http,
        _bar("downloading", sum(file.size for _, file in wanted), show) as advance,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        fetches = [_Fetch(http, target, file, table=table, advance=advance, stop=stop) for target, file in wanted]
        pending = [pool.submit(fetch.run) for fetch in fetches]
        try:
            for future in pending:
                future.result()
        except BaseException:
            stop.set()  # the others keep their parts
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _Stopped(Exception):
    """Another file failed, or the user interrupted."""


class _Fetch:
    """One file on its way."""

    def __init__(
        self,
        http: httpx.Client,
        target: Path,
        file: PlannedFile,
        *,
        table: str,
        advance: Advance,
        stop: threading.Event,
    ) -> None:
        self.http, self.target, self.file, self.table = http, target, file, table
        self.advance, self.stop = advance, stop
        self.part = target.with_name(f"{target.name}.part")

    def run(self) -> None:
        """Puts the file in its place."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        with self.part.open("ab") as part:
            _lock(part, self.target)
            resumed = part.tell() > 0
            try:
                self._fill(part)
            except (Conflict, NotFound):
                self.part.unlink()
                raise
            wrong = self._wrong(part)
            if wrong and resumed:  # what was there before may be at fault
                self.advance(-self.file.size)
                part.truncate(0)
                self._fill(part)
                wrong = self._wrong(part)
            if wrong:
                self.part.unlink()
                raise Conflict(
                    f"is no longer the file that was registered: {wrong}", field="file", value=self.file.path
                )
            part.flush()
            os.fsync(part.fileno())
            self.part.replace(self.target)

    def _fill(self, part: IO[bytes]) -> None:
        self.advance(min(part.seek(0, os.SEEK_END), self.file.size))
        left = TRIES
        while (have := part.seek(0, os.SEEK_END)) < self.file.size:
            try:
                self._append(part, have)
                part.flush()
                if part.tell() == have:
                    raise httpx.ReadError("no byte came")
            except (httpx.TransportError, Unavailable) as failure:
                part.flush()
                left = TRIES if part.tell() > have else left - 1
                if left <= 0:
                    raise Unavailable(
                        f"cannot be read: {_said(failure)}", field="file", value=self.file.path
                    ) from failure
                if self.stop.wait(PAUSE * 2 ** (TRIES - 1 - left)):
                    raise _Stopped from None

    def _append(self, part: IO[bytes], have: int) -> None:
        for chunk in self._chunks(part, have):
            if self.stop.is_set():
                raise _Stopped
            part.write(chunk)
            self.advance(len(chunk))

    def _chunks(self, part: IO[bytes], have: int) -> Iterator[bytes]:
        url = self.file.url or ""
        if not url.startswith(("http://", "https://")):  # embedded: a path
            with Path(url.removeprefix("file://")).open("rb") as source:
                source.seek(have)
                while chunk := source.read(CHUNK):
                    yield chunk
            return
        # The range is said even from the start: a link without one is charged whole, also when the read breaks off.
        headers = {"Range": f"bytes={have}-{self.file.size - 1}", "Accept-Encoding": "identity"}
        with self.http.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 200 and have:  # a server that knows no ranges
                self.advance(-have)
                part.truncate(0)
            elif answer.status_code not in (200, 206):
                raise _refusal(answer, self.table, self.file.path)
            yield from answer.iter_bytes(CHUNK)

    def _wrong(self, part: IO[bytes]) -> str | None:
        part.flush()
        size = part.seek(0, os.SEEK_END)
        if size != self.file.size:
            return f"{size:,} bytes instead of {self.file.size:,}"
        return None if _matches(self.part, self.file.checksum) else "another checksum"


def _refusal(answer: httpx.Response, table: str, path: str) -> RegistryError:
    answer.read()
    again = f"the storage answered {answer.status_code}"
    # A signed URL that ended on the way, and a store that is busy, may do better the next time.
    if answer.headers.get("content-type") == "application/problem+json" or answer.status_code in (404, 412, 416):
        return refused(answer.status_code, table, path, answer.text) or Unavailable(again, field="file", value=path)
    return Unavailable(again, field="file", value=path)


def _said(failure: Exception) -> str:
    return failure.message if isinstance(failure, RegistryError) else f"{type(failure).__name__} {failure}".strip()


def _target(root: Path, file: PlannedFile, plan: Plan) -> Path:
    """Where a file goes: its path below the table, or below its layout, where there are several."""
    path = file.path if plan.layout is None else file.path.removeprefix(f"{plan.layout}/")
    relative = PurePosixPath(path or plan.entry.version.inspection.location.name)
    if relative.is_absolute() or ".." in relative.parts or "\0" in file.path:
        raise Invalid("leads out of the folder", field="file", value=file.path, expected="a path below the table")
    return root / relative


def _complete(target: Path, file: PlannedFile) -> bool:
    return target.is_file() and target.stat().st_size == file.size and _matches(target, file.checksum)


def _matches(path: Path, checksum: str | None) -> bool:
    """Whether the file has the checksum; true where there is none, or none that Python computes."""
    algorithm, _, expected = (checksum or "").partition(":")
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == expected.lower()


def _lock(part: IO[bytes], target: Path) -> None:
    """One process a file; the lock ends with the process, however it ends."""
    try:
        import fcntl
    except ModuleNotFoundError:  # not POSIX
        return
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Conflict("is being downloaded by another process", field="file", value=str(target)) from None


def _layout(root: Path, table: Table, layout: str | None) -> str | None:
    """The layout that the folder holds, by its `table.json`; else the one that is asked for."""
    if not (root / MANIFEST).exists():
        return layout
    try:
        holds = json.loads((root / MANIFEST).read_text())
        ref, held = holds["ref"], holds.get("layout")
    except (ValueError, KeyError, TypeError, AttributeError):
        ref, held = "something else", None
    if ref != table.ref:
        raise Conflict("holds another table version", field="folder", value=ref, expected=table.ref)
    if held is not None and layout not in (None, held):
        raise Conflict("holds another layout", field="folder", value=held, expected=layout)
    return held or layout


def _claim(root: Path, plan: Plan, files: list[str]) -> None:
    """Says in the folder's `table.json` what it holds."""
    manifest = root / MANIFEST
    root.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_facts(plan, files), indent=2)
    if not manifest.exists() or manifest.read_text() != text:
        draft = root / f".{MANIFEST}.{os.getpid()}"
        draft.write_text(text)
        draft.replace(manifest)


def _facts(plan: Plan, files: list[str]) -> dict[str, Any]:
    table, found = plan.entry.table, seen(plan)
    columns = [(field, table.columns.get(field.name, Column())) for field in found.fields]
    return {
        "ref": str(plan.entry.ref),
        "version_id": plan.entry.version.id,
        "layout": plan.layout,
        **table.model_dump(mode="json", include={"description", "key", *TERMS}),
        "columns": [field.model_dump() | said.model_dump(mode="json", exclude={"type"}) for field, said in columns],
        **found.model_dump(mode="json", include={"partition_columns", "logical_types", "arrow_schema"}),
        "files": files,
    }


@contextmanager
def _bar(what: str, total: int, show: bool) -> Iterator[Advance]:
    """Yields a function that advances a bar on standard error by so many bytes, from any thread."""
    if not show:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as drawn:
        task = drawn.add_task(what, total=total)
        yield lambda count: drawn.advance(task, count)
