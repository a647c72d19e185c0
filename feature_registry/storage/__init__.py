"""The storages: one module a scheme, `storage/NAME.py` is `NAME://`. Each offers a `Store` named `Storage`.

To add one, add its module and run the contract suite `feature_registry_tests/contracts/storage.py` over it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from feature_registry.errors import Invalid
from feature_registry.location import Location

if TYPE_CHECKING:
    import pyarrow.fs

    from feature_registry.settings import Settings


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One file of a store."""

    location: Location
    size: int
    modified: datetime
    etag: str | None


class Store(Protocol):
    """What a storage does. Every method raises `NotFound` for what is absent, `Denied` for what the store refuses and
    `Unavailable` for what may work later; each error names the location and no secret.
    """

    scheme: str

    def list(self, prefix: Location) -> Iterator[StoredObject]:
        """All files below the prefix, at any depth, sorted by key; a prefix without files yields none."""
        ...

    def marks(self, prefix: Location) -> Mapping[str, tuple[int, str | None]]:
        """Size and etag of what `list` yields, by the literal key below the prefix, at a tenth of the cost."""
        ...

    def unfinished(self, prefix: Location) -> Iterator[StoredObject]:
        """Files below the prefix that `write` began and did not finish, which `list` hides; a store in which a file
        appears whole has none.
        """
        ...

    def head(self, location: Location) -> StoredObject: ...

    def read(self, location: Location, start: int = 0, length: int | None = None) -> bytes: ...

    def write(self, location: Location, data: bytes | Iterable[bytes]) -> None:
        """Replaces the file; a reader sees the whole old one or the whole new one."""
        ...

    def delete(self, location: Location) -> None: ...

    def prune(self, prefix: Location) -> None:
        """Removes the empty folders at and below the prefix, in a store that has folders."""
        ...

    def settle(self, prefix: Location) -> None:
        """Returns when all files below the prefix, a place of the managed root, would survive a loss of power; most
        stores promise that anyway.
        """
        ...

    def checksum(self, location: Location) -> str | None:
        """`algorithm:hex` of the file's content; None where the store keeps none and reading it would cost."""
        ...

    def sign(
        self, location: Location, lifetime: timedelta, byte_range: str | None = None, etag: str | None = None
    ) -> str:
        """A URL that reads the file with GET, and nothing else, until the lifetime ends.

        `byte_range` is the very value of a `Range` header, such as `bytes=0-99`; the URL then serves only a request
        that carries it. With `etag`, a store that can bind it answers 412 when the file is another one by then.
        """
        ...

    def filesystem(self) -> tuple[pyarrow.fs.FileSystem, Any]:
        """pyarrow's view of the store, and a function from a `Location` to a path in it."""
        ...

    def uri(self, location: Location) -> str:
        """The location as the engines (Delta, Polars) spell it."""
        ...

    def options(self) -> dict[str, str]:
        """The storage options that the engines need for it."""
        ...


def schemes() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def open_store(location: Location, settings: Settings) -> Store:
    """The store that holds the location."""
    if location.scheme not in schemes():
        raise Invalid("has a scheme of no storage", field="location", value=str(location), expected=schemes())
    module = importlib.import_module(f"{__name__}.{location.scheme}")
    store: Store = module.Storage(settings)
    return store
