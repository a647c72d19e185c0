"""CAVE: which materialization versions exist, and its tables. Yields Arrow batches, writes nothing."""

from __future__ import annotations

import importlib
from typing import Protocol, runtime_checkable

from feature_registry.errors import Invalid
from feature_registry.model import Datastack, MaterializationVersion


@runtime_checkable
class VersionSource(Protocol):
    """Says which materialization versions a datastack has. Raises `NotFound` while it has no data at all, and
    `Unavailable` when the answer may come later.
    """

    def datastack(self) -> Datastack: ...

    def versions(self) -> list[MaterializationVersion]: ...


def load_version_source(path: str) -> VersionSource:
    """The source at `package.module:Class`, made without arguments."""
    module, _, name = path.partition(":")
    try:
        source = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError, TypeError) as wrong:
        raise Invalid(
            f"cannot be loaded: {wrong}", field="version_source", value=path, expected="package.module:Class"
        ) from wrong
    if not isinstance(source, VersionSource):
        raise Invalid(
            "is no version source", field="version_source", value=path, expected="methods datastack() and versions()"
        )
    return source
