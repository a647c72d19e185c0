"""Which table version an input is loaded from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa

from feature_registry.errors import Invalid, NotFound
from feature_registry.model import TableRef, TableVersion
from feature_registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Source:
    """A table that is read: `name` of the same datastack, `datastack/name`, or one of them pinned with `@507`."""

    text: str
    ref: TableRef
    pinned: bool
    annotation: Any = None

    @classmethod
    def parse(cls, text: str, datastack: str, annotation: Any = None) -> Source:
        ref = TableRef.parse(text if "/" in text else f"{datastack}/{text}")
        if ref.revision is not None:
            raise Invalid("pins a revision", field="ins", value=text, expected="datastack/name@mat_version")
        return cls(text, ref, "@" in text, annotation)

    @property
    def asset_key(self) -> dg.AssetKey:
        return dg.AssetKey([self.ref.datastack, self.ref.name])


@dataclass(frozen=True, slots=True)
class Step:
    """Who reads: an asset of a datastack at a materialization version (None: it has no versions), in a run."""

    datastack: str
    mat_version: int | None
    run_id: str

    def find(self, registry: Registry, source: Source) -> TableVersion:
        """The revision that this run made, else the newest published one. Raises `NotFound` with what exists.

        A pinned reference is exact. Otherwise a table of the same datastack is wanted at the asset's own version, and
        unversioned where it has no versions; another datastack counts its versions by itself, so its latest is taken.
        """
        ref = source.ref
        wanted = self._wanted(registry, source)
        for mat_version in wanted:
            found = registry.find(ref.datastack, ref.name, mat_version, self.run_id)
            if found is not None:
                return found
        at = "latest" if not wanted else "unversioned" if wanted[0] is None else wanted[0]
        draft = registry.describe(f"{ref.datastack}/{ref.name}@{at}")  # else it raises, and says what exists
        raise NotFound("is a draft only", field="table", value=str(draft.ref), expected="a published table version")

    def _wanted(self, registry: Registry, source: Source) -> list[int | None]:
        ref = source.ref
        if isinstance(ref.mat_version, int):
            return [ref.mat_version]
        if ref.mat_version == "unversioned":
            return [None]
        if source.pinned:
            return _latest(registry, ref)
        if self.mat_version is None or ref.datastack != self.datastack:
            return [*_latest(registry, ref), None]
        return [self.mat_version, None]


def annotated(frame: pl.LazyFrame, annotation: Any) -> Any:
    """The frame as the parameter is annotated; lazily, unless it asks for more."""
    if annotation is pl.DataFrame:
        return frame.collect(engine="streaming")
    if annotation is pa.Table:
        return frame.collect(engine="streaming").to_arrow()
    return frame


def _latest(registry: Registry, ref: TableRef) -> list[int | None]:
    try:
        return [registry.describe(f"{ref.datastack}/{ref.name}@latest").version.mat_version]
    except NotFound:
        return []
