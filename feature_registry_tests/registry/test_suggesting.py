"""Suggestions from names, types and values; on made-up columns, and on real ones where they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_registry.model import Datastack, Metadata, Registration, Suggestions
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.test_real_data import DATA, FLYWIRE, MAGGOT, RESOLUTION, microns

BIG = 2**60
CELLS = pl.DataFrame({"id": [BIG + 7 * each for each in range(50)]})


class Laboratory:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry(Settings(home=folder / "home"))
        self.registry.record_datastack(Datastack(name="d", voxel_resolution=(4, 4, 40)))

    def said(self, frame: pl.DataFrame, name: str, **said: Any) -> Registration:
        path = self.folder / f"{name}.parquet"
        frame.write_parquet(path)
        return Registration(**{"location": path, "datastack": "d", "name": name, "mat_version": 7} | said)

    def suggest(self, frame: pl.DataFrame, name: str = "t", **said: Any) -> Suggestions:
        return self.registry.suggest(self.said(frame, name, **said))

    def register(self, frame: pl.DataFrame, name: str, **said: Any) -> None:
        whole = {"description": "Rows.", "owner": "lab", "license": "MIT", "publish": True}
        self.registry.register(self.said(frame, name, **whole | said))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Laboratory]:
    made = Laboratory(tmp_path)
    yield made
    made.registry.close()


def kinds(found: Suggestions) -> dict[str, Any]:
    return {name: column.kind.model_dump() for name, column in Metadata(**found.metadata).columns.items()}


def sureness(found: Suggestions, column: str) -> dict[str, str]:
    return {each.field: each.sure for each in found.suggestions if each.column == column}


def test_nodes_points_and_vectors_are_known_by_names_and_types(lab: Laboratory) -> None:
    frame = pl.DataFrame(
        {
            "root_id": [BIG, BIG],
            "pt_supervoxel_id": [BIG, BIG],
            "lvl2_id": [BIG, BIG],
            **{f"pt_position_{axis}": [1, 2] for axis in "xyz"},
            **{f"base_{axis}_nm": [1.5, 2.5] for axis in "xyz"},
            "ctr_pt_position": np.ones((2, 3), np.int32),
            "vector": np.ones((2, 64), np.float32),
            **{f"hks_{number}": [0.5, 0.25] for number in range(5)},
            "length_x": [1.0, 2.0],  # no point: its y and z are not there
        }
    )
    found = kinds(lab.suggest(frame))
    levels = {name: kind["level"] for name, kind in found.items() if kind["kind"] == "segmentation_node"}
    assert levels == {"root_id": "root_id", "pt_supervoxel_id": "supervoxel_id", "lvl2_id": "level2_id"}
    axes = {name: (kind["point"], kind["resolution"]) for name, kind in found.items() if kind["kind"] == "split_point"}
    assert axes == {
        **{f"pt_position_{axis}": ("pt_position", size) for axis, size in zip("xyz", (4, 4, 40), strict=True)},
        **{f"base_{axis}_nm": ("base", 1) for axis in "xyz"},
    }
    assert found["ctr_pt_position"] == {"kind": "packed_point", "resolution": (4, 4, 40)}
    dimensions = {name: kind["dimension"] for name, kind in found.items() if kind["kind"] == "embedding"}
    assert dimensions == {"vector": 64, **{f"hks_{number}": 5 for number in range(5)}}
    assert found.get("length_x", {}).get("kind") != "split_point"


def test_units_by_names_are_likely_where_they_are_spelled_and_else_only_possible(lab: Laboratory) -> None:
    frame = pl.DataFrame({"head_um3": [1.0], "depth_nm": [1.0], "size_voxels": [1], "n_spines": [3], "volume": [1.0]})
    found = lab.suggest(frame)
    units = {name: column.unit for name, column in Metadata(**found.metadata).columns.items()}
    assert units == {"head_um3": "um^3", "depth_nm": "nm", "size_voxels": "voxel", "n_spines": "1"}
    assert sureness(found, "volume") == {"columns": "possible"}


def test_a_key_is_what_is_unique_alone_or_with_another(lab: Laboratory) -> None:
    pair = pl.DataFrame({"root_id": [BIG, BIG, BIG + 1], "component_id": [0, 1, 0]})
    assert lab.suggest(pair).metadata["key"] == ["component_id", "root_id"]
    assert lab.suggest(pl.DataFrame({"id": [1, 2], "root_id": [BIG, BIG + 1]})).metadata["key"] == ["id"]
    assert "key" not in lab.suggest(pl.DataFrame({"id": [1, 1], "size": [1, 2]})).metadata


def test_a_reference_is_where_the_values_are_found(lab: Laboratory) -> None:
    lab.register(CELLS, "nucleus_detection", key=["id"])
    lab.register(pl.DataFrame({"id": range(1_000)}), "counted", key=["id"])
    frame = pl.DataFrame(
        {
            "nucleus_id": CELLS["id"].head(5),
            "cell_id": CELLS["id"].tail(5),
            "step_id": range(5),
            "other_id": [BIG + 1] * 5,
        }
    )
    found = lab.suggest(frame)
    assert found.metadata["references"] == {"nucleus_id": "nucleus_detection.id", "cell_id": "nucleus_detection.id"}
    assert sureness(found, "nucleus_id") == {"columns": "certain", "references": "certain"}
    assert sureness(found, "cell_id") == {"columns": "likely", "references": "likely"}
    assert sureness(found, "step_id") == {"references": "possible"}  # any table that counts its rows has these
    assert sureness(found, "other_id") == {}
    assert all(each.why for each in found.suggestions)


def test_what_is_suggested_is_what_a_registration_takes(lab: Laboratory) -> None:
    lab.register(CELLS, "cells", key=["id"])
    frame = CELLS.select(cell_id="id", size_nm=pl.lit(2.0))
    before = lab.registry.newest_event()
    found = lab.suggest(frame, "sizes")
    assert lab.registry.newest_event() == before
    said = json.loads(json.dumps(found.metadata))
    lab.register(frame, "sizes", **said)
    checks = {each.name: each.outcome for each in lab.registry.describe("d/sizes@7").version.checks}
    assert (checks["schema"], checks["key"], checks["references_cell_id"]) == ("passed", "passed", "passed")


needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data in ../shared/data, which is absent")


@needs_data
def test_real_synapses(lab: Laboratory) -> None:
    frame = microns().collect()
    found = lab.suggest(frame, "synapses_pni_2")
    assert found.metadata["key"] == ["id"]
    of = kinds(found)
    assert of["id"] == {"kind": "id", "table": "synapses_pni_2"}
    assert {of[f"{side}_pt_root_id"]["level"] for side in ("pre", "post")} == {"root_id"}
    assert {of[f"ctr_pt_position_{axis}"]["resolution"] for axis in "xyz"} == set(RESOLUTION.values())
    lab.register(frame, "synapses_pni_2", **found.metadata)
    shapes = frame.select(synapse_id="id", volume_um3=pl.col("size") * 1e-9).head(500)
    derived = lab.suggest(shapes, "shapes").metadata
    assert derived["references"] == {"synapse_id": "synapses_pni_2.id"}
    assert derived["key"] == ["synapse_id"]


@needs_data
def test_real_neurons(lab: Laboratory) -> None:
    for feather in sorted(FLYWIRE.glob("*.feather")):
        found = lab.suggest(pl.read_ipc(feather), "ranking")
        assert found.metadata["key"] == ["root_id"]
        assert kinds(found)["root_id"] == {"kind": "segmentation_node", "level": "root_id"}


@needs_data
def test_real_edges_point_to_their_nodes(lab: Laboratory) -> None:
    nodes, edges = (pl.read_csv(MAGGOT / f"{name}.csv.gz", infer_schema_length=None) for name in ("nodes", "edgelist"))
    [key] = lab.suggest(nodes, "nodes").metadata["key"]
    lab.register(nodes, "nodes", key=[key])
    found = lab.suggest(edges, "edgelist")
    points = {each.column: (each.value, each.sure) for each in found.suggestions if each.field == "references"}
    assert points == dict.fromkeys(("source", "target"), (f"nodes.{key}", "possible"))  # small numbers prove little
    assert found.metadata["key"] == ["source", "target"]
