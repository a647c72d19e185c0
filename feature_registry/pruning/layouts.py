"""The layout of a table version in which a predicate touches the fewest bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.model import HashBuckets, Where
from feature_registry.pruning.files import prune

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Arranged:
    """The files of one of several layouts: their row numbers in the manifest of all, and those rows of it."""

    name: str
    numbers: Numbers
    files: pa.Table
    hash_buckets: tuple[HashBuckets, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A layout, and which of its files are read: `kept` are their row numbers in the manifest of all layouts. `read`
    are the bytes of the wanted columns in their row groups that can match, `size` those of the whole files.
    """

    layout: Arranged
    kept: Numbers
    read: int
    size: int
    why: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.read:,} of {self.size:,} bytes in {len(self.kept):,} of {len(self.layout.numbers):,} files"


def choose(
    layouts: Sequence[Arranged],
    groups: pa.Table | None,
    where: Where,
    schema: pa.Schema,
    *,
    columns: Sequence[str] | None = None,
    name: str | None = None,
) -> Choice:
    """The layout that is named, else the one with the fewest bytes in row groups that can match, then in files, then
    the first.

    `groups` is the manifest of the row groups; None: nothing is known of them, so files are read whole. `columns` are
    those that are wanted beside those of `where`; None: all.
    """
    able = None
    if groups is not None:
        kept = pa.array(prune(groups, where, schema).kept)
        able = pa.table({"file": groups["file"], "size": _read(groups, where, columns)}).take(kept)
    choices = [_pruned(layout, able, where, schema) for layout in layouts]
    named = [each for each in choices if each.layout.name == name]
    best = min(named or choices, key=lambda each: (each.read, each.size))
    asked = " was asked for" * bool(named)
    others = [f"layout {each.layout.name} would be {each}" for each in choices if each is not best]
    return replace(best, why=(f"layout {best.layout.name}{asked}: {best}", *others, *best.why))


def _pruned(layout: Arranged, able: pa.Table | None, where: Where, schema: pa.Schema) -> Choice:
    """`able` are the row groups of all layouts that can match: a file of which none can is left out."""
    pruned = prune(layout.files, where, schema, layout.hash_buckets)
    kept, why = pruned.kept, pruned.why
    if able is None:
        size = _total(layout.files.take(pa.array(kept)))
        return Choice(layout, layout.numbers[kept], size, size, why)
    touched = able.filter(pa.array(np.isin(able["file"].to_numpy(), layout.numbers[kept])))
    if where:
        kept = kept[np.isin(layout.numbers[kept], touched["file"].to_numpy())]
        why = (*why, f"row groups that can match: {len(touched):,}, in {len(kept):,} of these files")
    size = _total(layout.files.take(pa.array(kept)))
    return Choice(layout, layout.numbers[kept], _total(touched), size, why)


def _read(groups: pa.Table, where: Where, columns: Sequence[str] | None) -> pa.ChunkedArray:
    """The bytes of each row group that are read."""
    if columns is None:
        return groups["size"]
    wanted = {f"size.{name}" for name in columns} | {f"size.{name}" for part in where for name, _, _ in part}
    # A layout's files lack the columns that it is partitioned by.
    sizes = [groups[name].fill_null(0) for name in wanted if name in groups.column_names]
    return reduce(pc.add, sizes, pa.chunked_array([np.zeros(len(groups), np.int64)]))


def _total(parts: pa.Table) -> int:
    return pc.sum(parts["size"]).as_py() or 0
