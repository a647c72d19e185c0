"""What the columns of a table mean."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from feature_registry.model.noun import Nanometres, Noun, Resolution, Text


class Plain(Noun):
    """A value without a role in the volume."""

    kind: Literal["plain"] = "plain"


class TableId(Noun):
    """The id of a row of an annotation table; stays valid until that row is superseded."""

    kind: Literal["id"] = "id"
    table: str = Field(description="the table whose ids these are")


class SegmentationNode(Noun):
    """A node of the segmentation's hierarchy. A root id belongs to one materialization version only."""

    kind: Literal["segmentation_node"] = "segmentation_node"
    level: Literal["root_id", "supervoxel_id", "level2_id"]


class PackedPoint(Noun):
    """A point in one column, as a list of x, y, z."""

    kind: Literal["packed_point"] = "packed_point"
    resolution: Resolution = Field(description="nm of one unit along x, y, z; (1, 1, 1) is nm")


class SplitPoint(Noun):
    """One axis of a point that is spread over three columns."""

    kind: Literal["split_point"] = "split_point"
    point: str = Field(description="the point's name, the same on its three columns")
    axis: Literal["x", "y", "z"]
    resolution: Nanometres = Field(description="nm of one unit along this axis; 1 is nm")


class Embedding(Noun):
    """A vector in one column, or one element of a vector that is spread over columns."""

    kind: Literal["embedding"] = "embedding"
    dimension: int = Field(gt=0, lt=2**31)
    model: str | None = None


ColumnKind = Annotated[
    Annotated[Plain, Tag("plain")]
    | Annotated[TableId, Tag("id")]
    | Annotated[SegmentationNode, Tag("segmentation_node")]
    | Annotated[PackedPoint, Tag("packed_point")]
    | Annotated[SplitPoint, Tag("split_point")]
    | Annotated[Embedding, Tag("embedding")],
    Discriminator("kind"),
]


class Column(Noun):
    """What a column means. Its stored type is observed, never typed by hand, unless `type` asks for a check."""

    description: Text = ""
    unit: str | None = Field(None, description="of its values, such as nm, um^3, voxel", max_length=64)
    kind: ColumnKind = Plain()
    type: str | None = Field(None, description="the Arrow type that the data must have, such as int64")
    derived_from: tuple[str, ...] = Field((), description="table.column of its sources, for column lineage")

    def __init__(self, description: str = "", **fields: Any) -> None:
        super().__init__(**{"description": description, **fields})

    # Lets pydantic make the columns of a stored table without calling it, which would take five times as long.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class StoredField(Noun):
    """A column as the format saw it."""

    name: str
    type: str = Field(description="Arrow's name of the logical type")
    nullable: bool = True
