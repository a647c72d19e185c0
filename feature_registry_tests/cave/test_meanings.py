from __future__ import annotations

import pytest

from feature_registry.cave import SourceTable
from feature_registry.cave.meanings import columns, references
from feature_registry.model import Metadata, SegmentationNode, SplitPoint, TableId


def flat(point: str) -> list[str]:
    return [f"{point}_position_{axis}" for axis in "xyz"]


def bound(point: str) -> list[str]:
    return [*flat(point), f"{point}_supervoxel_id", f"{point}_root_id"]


def table(name: str = "synapses", **said: object) -> SourceTable:
    return SourceTable("minnie65", 1507, name, **({"resolution": (4, 4, 40)} | said))  # type: ignore[arg-type]


SYNAPSE = ["id", "valid", *bound("pre_pt"), *bound("post_pt"), *flat("ctr_pt"), "size"]


def test_points_are_in_voxels() -> None:
    found = columns(SYNAPSE, table())
    for point in ("pre_pt", "ctr_pt", "post_pt"):
        for name, axis, nm in zip(flat(point), "xyz", (4, 4, 40), strict=True):
            assert found[name].kind == SplitPoint(point=f"{point}_position", axis=axis, resolution=nm)
            assert found[name].unit == "voxel"


def test_what_lies_below_a_point() -> None:
    found = columns(SYNAPSE, table())
    assert found["pre_pt_root_id"].kind == SegmentationNode(level="root_id")
    assert found["post_pt_supervoxel_id"].kind == SegmentationNode(level="supervoxel_id")
    assert found["pre_pt_root_id"].description.endswith("below pre_pt_position; 0: none")
    assert columns(["root_id", "orig_root_id"], table())["orig_root_id"].kind == SegmentationNode(level="root_id")
    assert "below" not in columns(["pre_pt_root_id"], table())["pre_pt_root_id"].description


def test_what_names_do_not_say_is_left_out() -> None:
    said = columns([*SYNAPSE, "valid_id", "pre_nuc_id", "created", "volume"], table())
    assert set(said) == set(SYNAPSE) - {"valid", "size"}
    vector = ["direction_x", "direction_y", "direction_z", "ctr_pt_position_x", "pt_position"]
    assert columns(vector, table()) == {}


def test_points_of_an_unknown_resolution_are_said_to_be_in_voxels() -> None:
    found = columns(flat("pt"), table(resolution=None))
    assert {(each.unit, each.kind.kind) for each in found.values()} == {("voxel", "plain")}


@pytest.mark.parametrize("column", ["target_id", "id_ref"])
def test_a_reference(column: str) -> None:
    names, about = ["id", column, "cell_type"], table("cell_types", reference_table="nucleus_detection")
    found = columns(names, about)
    assert found["id"].kind == TableId(table="cell_types")
    assert found[column].kind == TableId(table="nucleus_detection")
    said = Metadata(columns=found, references=references(names, about))
    assert said.references == {column: "nucleus_detection.id"}


def test_a_target_of_nobody_knows_what() -> None:
    names = ["id", "target_id"]
    assert set(columns(names, table())) == {"id"}
    assert references(names, table()) == references(["id"], table(reference_table="synapses")) == {}


def test_units_are_those_of_the_schema() -> None:
    names = ["id", *bound("pt"), "volume", *flat("bb_start"), *flat("bb_end")]
    found = columns(names, table("nucleus_detection", schema_type="nucleus_detection"))
    assert found["volume"].unit == "um^3"
    assert isinstance(found["bb_end_position_z"].kind, SplitPoint)
    assert "volume" not in columns(names, table("spines", schema_type="spine_with_info"))


def test_points_of_views_that_are_called_otherwise() -> None:
    names = [f"pt_position_lookup_{axis}" for axis in "xyz"]
    found = columns(names, table("nucleus_detection_lookup_v1", view=True))
    assert {each.kind.point for each in found.values() if isinstance(each.kind, SplitPoint)} == {"pt_position_lookup"}
