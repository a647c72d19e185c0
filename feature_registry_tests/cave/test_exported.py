from __future__ import annotations

from feature_registry.cave.exported import exported, found, meanings, partitions, undecoded
from feature_registry.model import HashBuckets, Layout


def test_a_layout_is_said_as_cave_makes_it() -> None:
    buckets = HashBuckets(column="post_pt_root_id", partition_column="bucket", transform="bucket", buckets=16)
    axes = ("ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z")
    asked = (
        Layout(name="by_pre", sort_by=("pre_pt_root_id", "id")),
        Layout(name="by_post", sort_by=("post_pt_root_id",), hash_buckets=(buckets,)),
        Layout(name="by_place", sort_by=axes, curve="morton"),
        Layout(name="as_it_came"),
    )
    by_pre, by_post, by_place, as_it_came = exported(asked)
    assert by_pre.sort_by == ("pre_pt_root_id",)
    assert by_post.hash_buckets == (
        HashBuckets(
            column="post_pt_root_id", partition_column="post_pt_root_id_partition", transform="opaque", buckets=16
        ),
    )
    assert (by_place, as_it_came) == asked[2:]


def test_a_folder_that_cave_chose_is_known_by_its_name() -> None:
    columns = ["id", "ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z", "pre_pt_position"]
    assert found("ctr_pt_position_morton", columns) == Layout(
        name="ctr_pt_position_morton",
        sort_by=("ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z"),
        curve="morton",
    )
    assert found("id", columns) == Layout(name="id", sort_by=("id",))
    assert found("pre_pt_position_morton", columns) == Layout(name="pre_pt_position_morton")
    assert found("flat", columns) == Layout(name="flat")


def test_what_only_the_exporter_writes_is_recognised() -> None:
    types = {
        "id": "int64",
        "id_partition": "int32",
        "ctr_pt_position_x": "int32",
        "ctr_pt_position_morton": "int64",
        "pre_pt_position": "binary",
        "post_pt_position": "large_string",
        "wkt_position": "string",
        "chain_position": "int32",
        "partition": "int32",
        "space_partition": "string",
    }
    assert undecoded(types) == ["pre_pt_position", "post_pt_position", "wkt_position"]
    assert partitions(types) == ["id_partition"]
    said = meanings(types)
    assert sorted(said) == sorted([*undecoded(types), *partitions(types), "ctr_pt_position_morton"])
    assert "did not decode" in said["pre_pt_position"].description
    assert "hash of id" in said["id_partition"].description
    assert said["ctr_pt_position_morton"].description.startswith("Morton code of ctr_pt_position:")
