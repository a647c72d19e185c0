"""The files of a manifest that can match a predicate, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.model import Condition, HashBuckets, Where
from feature_registry.model.conditions import LISTS
from feature_registry.pruning.bounds import Bounds, Mask, bounds_of, may_match, ordinal, ordinals, typed
from feature_registry.pruning.buckets import allowed
from feature_registry.pruning.values import plain

MOST_REASONS = 20


@dataclass(frozen=True, slots=True)
class Pruned:
    """`kept` are row numbers of the manifest, ascending, int64; `why` are lines for people."""

    kept: npt.NDArray[np.int64]
    why: tuple[str, ...]


def prune(manifest: pa.Table, where: Where, schema: pa.Schema, hash_buckets: Sequence[HashBuckets] = ()) -> Pruned:
    """The files that can hold rows for which one of the alternatives holds. `where` is `coerce`d, `schema` the stored
    one.
    """
    files = Files(manifest, schema, hash_buckets)
    everything = np.ones(len(manifest), bool)
    if not where:
        return Pruned(np.flatnonzero(everything), ("no condition was given: all files kept",))
    kept = ~everything
    why: list[str] = []
    for number, conditions in enumerate(where, 1):
        alternative = everything
        for condition in conditions:
            for name, mask in files.masks(condition):
                alternative = alternative & mask
                prefix = f"alternative {number}: " if len(where) > 1 else ""
                why.append(f"{prefix}{name}: {_count(mask)} of {len(mask)} files kept")
        kept |= alternative
    if len(why) > MOST_REASONS:
        why[MOST_REASONS:] = [f"and {len(why) - MOST_REASONS} reasons more"]
    if len(why) != 1:
        why.append(f"together: {_count(kept)} of {len(kept)} files kept")
    return Pruned(np.flatnonzero(kept), tuple(why))


class Files:
    """A manifest, and what was read out of it so far."""

    def __init__(self, manifest: pa.Table, schema: pa.Schema, hash_buckets: Sequence[HashBuckets]) -> None:
        self._manifest = manifest
        self._schema = schema
        self._hash_buckets = hash_buckets
        self._bounds: dict[str, Bounds | None] = {}

    def masks(self, condition: Condition) -> Iterator[tuple[str, Mask]]:
        """What was looked at, in words, and which files it leaves."""
        column, operator, value = condition
        if column not in self._bounds:
            self._bounds[column] = self._read(column)
        bounds = self._bounds[column]
        partitioned = f"partition.{column}" in self._manifest.column_names
        if bounds is None:
            yield f"{column} has no statistics", np.ones(len(self._manifest), bool)
        else:
            kind = plain(self._schema.field(column).type)
            wanted = ordinals(value, kind) if operator in LISTS else ordinal(value, kind)
            source = "partitions by" if partitioned else "statistics of"
            yield f"{source} {column}", may_match(bounds, operator, wanted)
        if operator in ("==", "in"):
            values = [value] if operator == "==" else list(value)
            for declared in self._hash_buckets:
                if declared.column == column:
                    yield from self._bucket_mask(declared, values)

    def _bucket_mask(self, declared: HashBuckets, values: list[Any]) -> Iterator[tuple[str, Mask]]:
        name = f"partition.{declared.partition_column}"
        found = allowed(declared, values) if name in self._manifest.column_names else None
        if found is None:
            return
        # A file whose bucket is not said may hold anything.
        inside = pc.is_in(self._manifest[name], value_set=pa.array([str(bucket) for bucket in found], pa.string()))
        number = pc.match_substring_regex(self._manifest[name], r"^(0|[1-9][0-9]*)$").fill_null(False)
        yield f"hash buckets of {declared.column}", pc.or_(inside, pc.invert(number)).to_numpy()

    def _read(self, column: str) -> Bounds | None:
        kind = plain(self._schema.field(column).type)
        names = self._manifest.column_names
        rows = self._manifest["rows"].combine_chunks()
        if f"partition.{column}" in names:
            values = typed(self._manifest[f"partition.{column}"].combine_chunks(), kind)
            if values is None:
                return None
            nulls = pc.if_else(values.is_null(), rows, 0)
            return bounds_of(values, values, nulls, rows, kind)
        if f"min.{column}" not in names or f"max.{column}" not in names:
            return None
        nulls = self._manifest[f"nulls.{column}"].combine_chunks() if f"nulls.{column}" in names else None
        low, high = (self._manifest[f"{part}.{column}"].combine_chunks() for part in ("min", "max"))
        return bounds_of(low, high, nulls, rows, kind)


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))
