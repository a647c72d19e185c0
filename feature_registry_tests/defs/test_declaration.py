from __future__ import annotations

from typing import Any

import pytest

from feature_registry.defs.declaration import code_hash, declare, reference_check
from feature_registry.errors import Invalid
from feature_registry.model import Column, HashBuckets, Layout, Owner

OPAQUE = HashBuckets(column="id", partition_column="bucket", transform="opaque", buckets=8)
SAID: dict[str, Any] = {"owner": "celltypes-team", "description": "Shapes.", "license": "MIT", "publish": True}


def declared(**fields: Any) -> Any:
    return declare("minnie65_public", "shapes", **(SAID | fields))


def test_only_what_was_said_is_metadata() -> None:
    said = declared(tags=["nucleus"]).metadata
    described = {"description": "Shapes.", "license": "MIT", "tags": ("nucleus",)}
    assert said == {"owner": Owner(team="celltypes-team")} | described


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"licence": "CC-BY-4.0"}, "licence"),
        ({"owner": {}}, "owner"),
        ({"references": {"nucleus_id": "nucleus_detection"}}, "references"),
        ({"invalidation_radius": -1}, "invalidation_radius"),
        ({"mutability": "sometimes"}, "mutability"),
        ({"format": "csv"}, "format"),
        ({"blocking": ["keys"]}, "blocking"),
        ({"blocking": "key"}, "blocking"),
        ({"sort_by": "id"}, "sort_by"),
        ({"sort_by": ["id"], "layouts": [Layout(name="one")]}, "sort_by"),
        ({"partition_by": ["id"], "layouts": [Layout(name="one")]}, "partition_by"),
        ({"layouts": [Layout(name="one"), Layout(name="One")]}, "layouts"),
        ({"layouts": [Layout(name="one", sort_by=("x",), curve="morton")]}, "layouts.one.sort_by"),
        ({"layouts": [Layout(name="one", hash_buckets=(OPAQUE,))]}, "transform"),
        ({"bytes_per_file": 0}, "bytes_per_file"),
        ({"rows_per_group": 0}, "rows_per_group"),
        ({"checks": {"key": len}}, "checks"),
        ({"checks": {"no name": len}}, "checks"),
        ({"columns": {"volume": Column("Volume", type="flaot64")}}, "columns.volume.type"),
        ({"owner": None}, "owner"),
        ({"description": ""}, "description"),
        ({"license": None}, "license"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        declared(**fields)
    assert refused.value.field == field


def test_an_unknown_field_lists_the_known_ones() -> None:
    with pytest.raises(Invalid) as refused:
        declared(licence="CC-BY-4.0")
    assert "license" in refused.value.expected


def test_the_name_must_be_one() -> None:
    with pytest.raises(Invalid) as refused:
        declare("minnie65_public", "a-b", **SAID)
    assert refused.value.field == "name"


def test_all_that_publishing_needs_is_named_at_once() -> None:
    with pytest.raises(Invalid, match="description, owner, license"):
        declare("minnie65_public", "shapes", publish=True)


def test_a_feature_starts_as_a_draft_which_needs_no_owner() -> None:
    declaration = declare("minnie65_public", "shapes")
    assert (declaration.metadata, declaration.publish) == ({}, False)


def test_a_reference_may_block_alone() -> None:
    said = declared(references={"nucleus-id": "nuclei.id"}, blocking=["references_nucleus_id"])
    assert said.blocking == {reference_check("nucleus-id")}


def test_an_odd_column_still_names_its_layout() -> None:
    assert [layout.name for layout in declared(sort_by=["post root/ä", "id"]).layouts] == ["by_post_root__"]


def test_several_layouts_are_compared() -> None:
    assert set(declared(layouts=[Layout(name="one"), Layout(name="two")]).checks) == {"layouts"}
    assert set(declared(layouts=[Layout(name="one")]).checks) == set()


def test_the_code_hash_is_of_what_runs() -> None:
    def one(frame: Any) -> Any:
        """Says this."""
        return frame.head(1)  # and that

    def two(frame: Any) -> Any:
        return frame.head(2)

    first = code_hash(one)
    assert first is not None

    def one(frame: Any) -> Any:  # type: ignore[no-redef]
        return frame.head(1)

    assert code_hash(one) == first != code_hash(two)
    assert code_hash(len) is None
