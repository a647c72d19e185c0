"""Which layout of a table version a plan reads, and which of its files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_registry import formats, pruning
from feature_registry.catalog import texts
from feature_registry.errors import Invalid
from feature_registry.model import Entry, HashBuckets, Layout, PlanRequest
from feature_registry.pruning import Arranged
from feature_registry.registry import manifests


@dataclass(frozen=True, slots=True)
class Reading:
    """What a plan reads: `files` are all of the layout's, `kept` the row numbers in the whole manifest of those that
    can hold wanted rows. No layout is named where there is one only.
    """

    layout: str | None
    files: pa.Table
    kept: npt.NDArray[np.int64]
    why: tuple[str, ...]


def chosen(entry: Entry, request: PlanRequest, manifest: pa.Table, groups: pa.Table | None) -> Reading:
    """Of the layout that is asked for, else of the one that costs least. Raises `Invalid` for a wrong predicate, and
    for a column or a layout that there is not.
    """
    inspection, name = entry.version.inspection, request.layout
    schema = formats.stored_schema(inspection)
    _check_columns(request.columns, schema)
    texts.check(request.repeated, "where")
    where = pruning.coerce(request.where, schema)
    layouts = inspection.layouts or entry.version.layouts
    names = [layout.name for layout in layouts]
    if name is not None and name not in names:
        expected = names or "none, for there is one only"
        raise Invalid("is no layout of the table version", field="layout", value=name, expected=expected)
    if not inspection.layouts:
        pruned = pruning.prune(manifest, where, schema, _hash_buckets(entry, *layouts))
        return Reading(None, manifest, pruned.kept, pruned.why)
    arranged = [
        Arranged(layout.name, *manifests.of_layout(manifest, inspection, layout.name), _hash_buckets(entry, layout))
        for layout in layouts
    ]
    choice = pruning.choose(arranged, groups, where, schema, columns=request.columns, name=name)
    return Reading(choice.layout.name, choice.layout.files, choice.kept, choice.why)


def _hash_buckets(entry: Entry, *layouts: Layout) -> tuple[HashBuckets, ...]:
    """What the layouts declare, and what the table does for all of its versions."""
    declared = [each for layout in layouts for each in layout.hash_buckets]
    return tuple(dict.fromkeys((*declared, *entry.table.hash_buckets)))


def _check_columns(columns: tuple[str, ...] | None, schema: pa.Schema) -> None:
    unknown = [name for name in columns or () if name not in schema.names]
    if unknown:
        raise Invalid("is no column of the table", field="columns", value=unknown[0], expected=schema.names)
