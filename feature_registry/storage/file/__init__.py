"""`file://`: tables in folders of this machine, and signed URLs that its file server honours.

A URL is `{file_address}{path}?expires=UNIXSECONDS&range=bytes%3D0-99&etag=ETAG&signature=HEX`; `range` and `etag` are
there only if they are bound. The signature is an HMAC-SHA256 over the method, the expiry, both and the decoded path.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import math
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from feature_registry.errors import Denied, Invalid, NotFound, RegistryError, Unavailable
from feature_registry.location import Location
from feature_registry.storage import StoredObject

if TYPE_CHECKING:
    import pyarrow.fs

    from feature_registry.settings import Settings

CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=(\d{1,19}-\d{0,19}|-\d{1,19})")
_DRAFT = re.compile(r"\.draft-[0-9a-f]{16}")
"""Names of files that `write` has not finished; a writer that died leaves one behind, which nobody sees."""


class Storage:
    """The `Store` of local files. A symbolic link to a file is that file; one to a folder is not followed by `list`."""

    scheme = "file"

    def __init__(self, settings: Settings) -> None:
        self._address = settings.file_address
        self._settings = settings
        self._key: bytes | None = None

    def list(self, prefix: Location) -> Iterator[StoredObject]:
        return self._found(prefix, drafts=False)

    def unfinished(self, prefix: Location) -> Iterator[StoredObject]:
        return self._found(prefix, drafts=True)

    def _found(self, prefix: Location, drafts: bool) -> Iterator[StoredObject]:
        with _translated(prefix):
            found = sorted(_walk(prefix.key, drafts))
        for key, status in found:
            yield _stored(_location(key), status)

    def marks(self, prefix: Location) -> Mapping[str, tuple[int, str | None]]:
        marks: dict[str, tuple[int, str | None]] = {}
        with _translated(prefix):
            if Path(prefix.key).is_dir():
                _mark(prefix.key, "", marks)
            else:
                marks.update(("", (status.st_size, etag(status))) for _, status in _walk(prefix.key, drafts=False))
        return marks

    def head(self, location: Location) -> StoredObject:
        with _translated(location):
            status = Path(location.key).stat()
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(location.key)
        return _stored(location, status)

    def read(self, location: Location, start: int = 0, length: int | None = None) -> bytes:
        """The bytes from `start`; fewer than `length` where the file ends, none beyond its end."""
        if start < 0 or (length is not None and length < 0):
            raise Invalid("is negative", field="range", value=(start, length), expected="start and length of 0 or more")
        with _translated(location), Path(location.key).open("rb") as file:
            file.seek(start)
            return file.read() if length is None else file.read(length)

    def write(self, location: Location, data: bytes | Iterable[bytes]) -> None:
        target = Path(location.key)
        draft = target.with_name(f".draft-{secrets.token_hex(8)}")
        with _translated(location):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with draft.open("xb") as file:
                    for chunk in [data] if isinstance(data, bytes) else data:
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(target)
                _sync(target.parent)
            finally:
                draft.unlink(missing_ok=True)

    def delete(self, location: Location) -> None:
        with _translated(location):
            Path(location.key).unlink()

    def prune(self, prefix: Location) -> None:
        for folder, _, _ in os.walk(prefix.key, topdown=False):
            with contextlib.suppress(OSError):  # it is not empty, or gone
                Path(folder).rmdir()

    def settle(self, prefix: Location) -> None:
        root = self._settings.managed_root.key
        with _translated(prefix):
            files = [key for key, _ in _walk(prefix.key, drafts=False)]
            folders = {str(folder) for file in files for folder in Path(file).parents}
            with ThreadPoolExecutor(8) as pool:  # the file system's journal takes many at once
                list(pool.map(_sync, [*files, *(folder for folder in folders if folder.startswith(root))]))

    def checksum(self, location: Location) -> str | None:
        with _translated(location), Path(location.key).open("rb") as file:
            return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    def sign(
        self, location: Location, lifetime: timedelta, byte_range: str | None = None, etag: str | None = None
    ) -> str:
        if byte_range is not None and not _RANGE.fullmatch(byte_range):
            raise Invalid("is no single byte range", field="byte_range", value=byte_range, expected="bytes=0-99")
        if self._key is None:
            self._key = signing_key(self._settings)
        expires = math.ceil(time.time() + lifetime.total_seconds())
        signature = _signature(self._key, location.key, expires, byte_range or "", etag or "")
        bound = f"&range=bytes%3D{byte_range[6:]}" if byte_range else ""
        bound += f"&etag={etag}" if etag else ""
        return f"{self._address}{_quoted(location)}?expires={expires}{bound}&signature={signature}"

    def filesystem(self) -> tuple[pyarrow.fs.FileSystem, Any]:
        import pyarrow.fs

        key: Callable[[Location], str] = Location.key.fget  # type: ignore[attr-defined]
        return pyarrow.fs.LocalFileSystem(), key

    def uri(self, location: Location) -> str:
        return location.key

    def options(self) -> dict[str, str]:
        return {}


def etag(status: os.stat_result) -> str:
    """Changes when the file is replaced or touched. Without HTTP's quotes, so that it goes into a URL as it is."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def signing_key(settings: Settings) -> bytes:
    """The key of file URLs, so that no link is ever taken for one, nor the other way round."""
    return hmac.digest(settings.link_key, b"file url", "sha256")


class Refused(Exception):
    """Why a URL is not honoured: a code as S3 names it, and a sentence."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def verify(key: bytes, path: str, query: dict[str, str], byte_range: str | None, now: float | None = None) -> None:
    """Raises `Refused` unless the URL was signed with `key` for this decoded path and request and is in time.

    `byte_range` is the request's `Range` header, which must be the very one that is bound, if one is.
    """
    bound, known = query.get("range", ""), query.get("etag", "")
    try:
        expires, signature = int(query["expires"]), query["signature"]
    except (KeyError, ValueError):
        raise Refused("AccessDenied", "The URL carries no signature and expiry") from None
    if not hmac.compare_digest(_signature(key, path, expires, bound, known).encode(), signature.encode()):
        raise Refused("SignatureDoesNotMatch", "The signature does not match the method, path and query")
    if expires <= (time.time() if now is None else now):
        raise Refused("AccessDenied", "The URL has expired")
    if bound and byte_range != bound:
        raise Refused("SignatureDoesNotMatch", f"The URL is signed for the header Range: {bound}, and no other")


def _signature(key: bytes, path: str, expires: int, byte_range: str, etag: str) -> str:
    # The path comes last: it alone may hold a line feed.
    return hmac.digest(key, f"GET\n{expires}\n{byte_range}\n{etag}\n{path}".encode(), "sha256").hex()


@lru_cache(maxsize=16_384)
def _quoted(location: Location) -> str:
    return quote(location.key, safe="/=")  # engines look for `name=value/` in the address


def _walk(path: str, drafts: bool) -> Iterator[tuple[str, os.stat_result]]:
    """The keys of the files at and below a path, in no order."""
    if not Path(path).is_dir():
        if Path(path).is_file() and drafts == bool(_DRAFT.fullmatch(Path(path).name)):
            yield path, Path(path).stat()
        return
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, drafts)
            elif drafts == bool(_DRAFT.fullmatch(entry.name)):
                try:
                    status = entry.stat()
                except FileNotFoundError:  # deleted while we list, or a link to nothing
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield entry.path, status


def _mark(path: str, above: str, marks: dict[str, tuple[int, str | None]]) -> None:
    """What `_walk` finds but for drafts, at the least cost a file: each is looked up in its open folder."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    _mark(f"{path}/{name}", f"{above}{name}/", marks)
                elif name[0] != "." or not _DRAFT.fullmatch(name):
                    try:
                        status = entry.stat()
                    except FileNotFoundError:  # deleted while we list, or a link to nothing
                        continue
                    if stat.S_ISREG(status.st_mode):
                        marks[above + name] = (status.st_size, etag(status))
    finally:
        os.close(folder)


def _stored(location: Location, status: os.stat_result) -> StoredObject:
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return StoredObject(location, status.st_size, modified, etag(status))


def _location(key: str) -> Location:
    try:
        return Location(f"file://{quote(key)}")
    except UnicodeEncodeError:
        shown = key.encode(errors="backslashreplace").decode()
        raise Invalid("is a file name that is not UTF-8", field="location", value=shown) from None


def _sync(path: str | Path) -> None:
    """Makes a file's content, or a folder's list of files, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as failure:
        if failure.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that cannot, for folders
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(location: Location) -> Iterator[None]:
    """The operating system's errors as the registry's."""
    place: dict[str, Any] = {"field": "location", "value": str(location)}
    try:
        yield
    except RegistryError:
        raise
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as wrong:
        raise NotFound("is no file", **place) from wrong
    except FileExistsError as wrong:
        raise Invalid("lies below a file", **place) from wrong
    except PermissionError as wrong:
        raise Denied("may not be accessed by this process", **place) from wrong
    except (UnicodeEncodeError, ValueError) as wrong:
        raise Invalid("is no path of this machine", **place) from wrong
    except OSError as wrong:
        raise Unavailable(f"cannot be accessed: {wrong.strerror}", **place) from wrong
