"""What the columns of CAVE's tables mean, by their names once points are flattened: of dumps out of the database, by
CAVE's exporter and of old CSV files alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from feature_registry.cave import SourceTable
from feature_registry.cave.geometry import AXES
from feature_registry.model import Column, SegmentationNode, SplitPoint, TableId

# Of the schema types whose descriptions (CAVEconnectome/EMAnnotationSchemas) say a unit.
_UNITS = {("nucleus_detection", "volume"): "um^3"}
_TARGETS = ("target_id", "id_ref")
_LEVELS: dict[str, tuple[Literal["root_id", "supervoxel_id"], str]] = {
    "root_id": ("root_id", "Root id, at this materialization version"),
    "supervoxel_id": ("supervoxel_id", "Supervoxel"),
}


def columns(names: Collection[str], table: SourceTable) -> dict[str, Column]:
    """Of the columns whose names say what they mean; `valid_id` is none of them, for it is a root id of the past."""
    return {name: column for name in names if (column := _meaning(name, names, table)) is not None}


def references(names: Collection[str], table: SourceTable) -> dict[str, str]:
    """Column -> table.column of the annotation table that the table is about."""
    if table.reference_table is None:
        return {}
    return {name: f"{table.reference_table}.id" for name in names if name in _TARGETS}


def _meaning(name: str, names: Collection[str], table: SourceTable) -> Column | None:
    if name == "id":
        return Column(f"The id of the row of {table.name}", kind=TableId(table=table.name))
    if name in _TARGETS and (target := table.reference_table):
        return Column(f"The id of the row of {target} that it is about", kind=TableId(table=target))
    if node := re.fullmatch(r"(?:(.+)_)?(root_id|supervoxel_id)", name):
        level, what = _LEVELS[node[2]]
        place = f" below {node[1]}_position; 0: none" if f"{node[1]}_position_x" in names else ""
        return Column(f"{what}{place}", kind=SegmentationNode(level=level))
    if unit := _UNITS.get((table.schema_type or "", name)):
        return Column(unit=unit)
    return _axis(name, names, table)


def _axis(name: str, names: Collection[str], table: SourceTable) -> Column | None:
    """One of the three columns of a point, which is in voxels of the table's own resolution."""
    point, _, axis = name.rpartition("_")
    if "position" not in point or not all(f"{point}_{each}" in names for each in AXES) or axis not in AXES:
        return None
    said = f"{point}, along {axis}"
    if table.resolution is None:
        return Column(said, unit="voxel")
    resolution = table.resolution[AXES.index(axis)]
    return Column(said, unit="voxel", kind=SplitPoint(point=point, axis=axis, resolution=resolution))
