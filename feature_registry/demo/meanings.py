"""What is said of several tables: how to cite them, and columns that CAVE's tables share, which are points in voxels
and the segmentation below them.
"""

from __future__ import annotations

from typing import Literal

from feature_registry.demo.cortex import RESOLUTION
from feature_registry.model import Column, SegmentationNode, SplitPoint, TableId

CITATION = (  # the software's, as in CITATION.cff: nobody measured these data
    "The Feature Registry developers, Feature Registry: a registry and pipeline for connectomics feature tables. "
    "Synthetic data, made by its demo."
)


def identity(table: str, description: str = "") -> Column:
    """The id of a row, its own or another table's."""
    return Column(description or f"The id of the row of {table}", unit="1", kind=TableId(table=table), type="int64")


def point(name: str, description: str) -> dict[str, Column]:
    """The three columns of a point in voxels."""
    axes = dict(zip("xyz", RESOLUTION.tolist(), strict=True))
    return {
        f"{name}_position_{axis}": Column(
            f"{description}, along {axis}",
            unit="voxel",
            kind=SplitPoint(point=f"{name}_position", axis=axis, resolution=resolution),
            type="int32",
        )
        for axis, resolution in axes.items()
    }


def node(level: Literal["root_id", "supervoxel_id"], description: str) -> Column:
    return Column(description, unit="1", kind=SegmentationNode(level=level), type="int64")


def bound_point(name: str, description: str) -> dict[str, Column]:
    """A point that CAVE bound to the segmentation."""
    return {
        **point(name, f"{description[0].upper()}{description[1:]}"),
        f"{name}_supervoxel_id": node("supervoxel_id", f"Supervoxel below {description}; 0: none"),
        f"{name}_root_id": node("root_id", f"Cell below {description}, at this version; 0: none"),
    }
