"""What CAVE's exporter leaves behind, known by the names and types of columns; where that is from, `exporter` says."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from feature_registry.cave.geometry import AXES
from feature_registry.model import Column, HashBuckets, Layout


def exported(layouts: Sequence[Layout]) -> tuple[Layout, ...]:
    """The layouts as the exporter makes them of those that were asked for: z-order over several columns sorts by none
    of them, and its hash is known to nobody else.
    """
    return tuple(
        each.model_copy(
            update={
                "sort_by": each.sort_by if each.curve else each.sort_by[:1],
                "hash_buckets": tuple(map(_opaque, each.hash_buckets[:1])),
            }
        )
        for each in layouts
    )


def _opaque(buckets: HashBuckets) -> HashBuckets:
    return buckets.model_copy(update={"partition_column": f"{buckets.column}_partition", "transform": "opaque"})


def found(folder: str, columns: Collection[str]) -> Layout:
    """The layout in a folder that CAVE made unasked: named by the column that parts and sorts it."""
    axes = tuple(f"{folder.removesuffix('_morton')}_{axis}" for axis in AXES)
    if folder.endswith("_morton") and all(axis in columns for axis in axes):
        return Layout(name=folder, sort_by=axes, curve="morton")
    return Layout(name=folder, sort_by=(folder,) if folder in columns else ())


def undecoded(types: Mapping[str, str]) -> list[str]:
    """The columns, by the names of their Arrow types, that hold points as EWKB or text."""
    return [name for name, kind in types.items() if name.endswith("_position") and re.search("binary|string", kind)]


def partitions(types: Mapping[str, str]) -> list[str]:
    """The columns that number the range or the hash of another one's values."""
    suffix = "_partition"
    return [name for name in types if name.endswith(suffix) and name.removesuffix(suffix) in types]


def meanings(types: Mapping[str, str]) -> dict[str, Column]:
    """Of the columns that nobody but the exporter writes."""
    said = dict.fromkeys(
        undecoded(types), "A point as EWKB of PostGIS, in voxels, which CAVE's exporter did not decode"
    )
    for name in partitions(types):
        said[name] = f"Number of the range or hash of {name.removesuffix('_partition')}, which only parts the files"
    for name in types:
        point = name.removesuffix("_morton")
        if point != name and f"{point}_x" in types:
            said[name] = f"Morton code of {point}: the lowest 21 bits of its axes in voxels, interleaved"
    return {name: Column(text) for name, text in said.items()}
