"""Each answer a second way: straight from the generator's arrays, with numpy and dicts, without a join."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feature_registry.demo import annotations, laboratory, outside, use_cases
from feature_registry.demo.cortex import DATASTACK, LATEST, RESOLUTION, VERSIONS, Cortex, build
from feature_registry_tests.demo.homes import CORTEX

Open = Callable[[int], Any]


@pytest.fixture(scope="module", params=["over HTTP", "embedded"])
def registry_at(request: pytest.FixtureRequest, made: Any) -> Open:
    """Opens a client at a materialization version."""
    from feature_registry.client import FeatureRegistry

    def over_http(mat_version: int) -> Any:
        return made.client(DATASTACK, mat_version=mat_version)

    def embedded(mat_version: int) -> Any:
        return FeatureRegistry(DATASTACK, mat_version=mat_version, server=made.registry)

    return over_http if request.param == "over HTTP" else embedded


# ------------------------------------------------------------------------------------- the truth, from the arrays


def synapse_rows(mat_version: int) -> np.ndarray:
    return np.flatnonzero(CORTEX.synapses["added"] <= mat_version)


def roots(pieces: np.ndarray, mat_version: int) -> np.ndarray:
    return np.array([0 if piece < 0 else CORTEX.roots[mat_version][piece] for piece in pieces], dtype=np.int64)


def pre_roots(mat_version: int) -> np.ndarray:
    return roots(CORTEX.synapses["pre_piece"][synapse_rows(mat_version)], mat_version)


def post_roots(mat_version: int) -> np.ndarray:
    return roots(CORTEX.synapses["post_piece"][synapse_rows(mat_version)], mat_version)


def proofread_axons(mat_version: int) -> tuple[set[int], int]:
    cells, outdated = set(), 0
    table = CORTEX.proofread
    for cell, judged, valid_id, axon in zip(
        table["cell"], table["judged"], table["valid_id"], table["status_axon"], strict=True
    ):
        if judged <= mat_version and axon:
            if CORTEX.roots[mat_version][cell] == valid_id:
                cells.add(int(valid_id))
            else:
                outdated += 1
    return cells, outdated


def nuclei_of(mat_version: int) -> dict[int, list[int]]:
    """root id -> rows of its nuclei"""
    found: dict[int, list[int]] = {}
    for row, root in enumerate(roots(CORTEX.nuclei["piece"], mat_version)):
        if root:
            found.setdefault(int(root), []).append(row)
    return found


def made_by_proofread(mat_version: int) -> dict[int, int]:
    """synapse id -> its row in the arrays"""
    cells, _ = proofread_axons(mat_version)
    rows = synapse_rows(mat_version)
    mine = [row for row, root in zip(rows, pre_roots(mat_version), strict=True) if int(root) in cells]
    return {int(CORTEX.synapses["id"][row]): int(row) for row in mine}


def nearest_points(mat_version: int, side: str) -> dict[int, tuple[float, np.ndarray] | None]:
    """synapse id -> distance to and embedding of the nearest point of the same root"""
    points = laboratory.segclr(CORTEX, mat_version)
    answer: dict[int, tuple[float, np.ndarray] | None] = {}
    for synapse, row in made_by_proofread(mat_version).items():
        root = roots(CORTEX.synapses[f"{side}_piece"][[row]], mat_version)[0]
        mine = np.flatnonzero(points["root_id"] == root)
        site = CORTEX.synapses[f"{side}_position"][row] * RESOLUTION.astype(float)
        distance = np.sqrt(((points["position"][mine].astype(float) - site) ** 2).sum(axis=1))
        if len(mine):
            best = int(np.argmin(distance))
            answer[synapse] = (float(distance[best]), points["embedding"][mine[best]])
        else:
            answer[synapse] = None
    return answer


# ------------------------------------------------------------------------------------------------------ the jobs


@pytest.mark.parametrize("mat_version", [1, 2])
def test_whole_synapse_table(registry_at: Open, tmp_path: Path, mat_version: int) -> None:
    files = use_cases.use_case_1(registry_at(mat_version), tmp_path)
    frame = pl.read_parquet(files).sort("id")
    rows = synapse_rows(mat_version)
    table = CORTEX.synapses
    expected = {
        "id": table["id"][rows],
        "size": table["size"][rows],
        "pre_pt_supervoxel_id": table["pre_supervoxel"][rows],
        "post_pt_supervoxel_id": table["post_supervoxel"][rows],
        "pre_pt_root_id": pre_roots(mat_version),
        "post_pt_root_id": post_roots(mat_version),
    }
    for point in ("pre", "ctr", "post"):
        for axis, name in enumerate("xyz"):
            expected[f"{point}_pt_position_{name}"] = table[f"{point}_position"][rows, axis]
    assert set(frame.columns) == set(expected)
    for name, values in expected.items():
        assert frame[name].to_list() == values.tolist(), name


@pytest.mark.parametrize("mat_version", VERSIONS)
def test_synapses_of_proofread_axons(registry_at: Open, mat_version: int) -> None:
    frame, lacking = use_cases.use_case_2(registry_at(mat_version))
    mine = made_by_proofread(mat_version)
    assert frame["id"].to_list() == sorted(mine)
    nuclei = nuclei_of(mat_version)
    distance, bouton = [], []
    for row in (mine[synapse] for synapse in sorted(mine)):
        found = nuclei.get(int(roots(CORTEX.synapses["post_piece"][[row]], mat_version)[0]), [])
        steps = (CORTEX.synapses["post_position"][row] - CORTEX.nuclei["position"][found]) * RESOLUTION.astype(float)
        distance.append(math.hypot(*steps[0]) if len(found) == 1 else None)
        bouton.append(0.03 + 60 * (int(CORTEX.synapses["size"][row]) * 4 * 4 * 40 / 1e9))
    assert frame["distance_to_post_soma"].to_list() == pytest.approx(distance, abs=1e-6)
    assert frame["bouton_volume"].to_list() == pytest.approx(bouton, abs=1e-6)
    assert list(lacking.values()) == [proofread_axons(mat_version)[1], distance.count(None), 0]


def test_something_was_dropped_and_something_lacks() -> None:
    """Else the test above would show nothing of it."""
    assert proofread_axons(LATEST)[1] > 0
    assert any(len(rows) > 1 for rows in nuclei_of(LATEST).values())


def test_folding_of_two_cell_types(registry_at: Open) -> None:
    frame = use_cases.use_case_3(registry_at(LATEST), "23P", "BC")
    ratios: dict[str, list[float]] = {"23P": [], "BC": []}
    for row, cell in enumerate(CORTEX.nuclei["cell"]):
        name = str(CORTEX.cell_type[cell])
        if name in ratios:
            box = (CORTEX.nuclei["bb_end"][row] - CORTEX.nuclei["bb_start"][row]) * RESOLUTION / 2000
            a, b, c = (float(half) ** 1.6075 for half in box)
            area = 4 * math.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075)
            radius = (3 * float(CORTEX.nuclei["volume"][row]) / (4 * math.pi)) ** (1 / 3)
            ratios[name].append(area / (4 * math.pi * radius**2))
    assert frame["cell_type"].to_list() == ["23P", "BC"]
    assert frame["nuclei"].to_list() == [len(ratios["23P"]), len(ratios["BC"])]
    assert frame["mean_fold_ratio"].to_list() == pytest.approx([np.mean(each) for each in ratios.values()], abs=1e-6)
    assert frame["sd_fold_ratio"].to_list() == pytest.approx(
        [np.std(each, ddof=1) for each in ratios.values()], abs=1e-6
    )


@pytest.mark.parametrize("mat_version", outside.SEGCLR_VERSIONS)
def test_embeddings_of_presynaptic_sites(registry_at: Open, mat_version: int) -> None:
    batches = list(use_cases.use_case_4(registry_at(mat_version)))
    expected = nearest_points(mat_version, "pre")
    ids = [synapse for batch in batches for synapse in batch["id"]]
    assert sorted(ids) == sorted(expected)
    assert max(batch.height for batch in batches) < len(expected) / 2
    for batch in batches:
        for row in batch.iter_rows(named=True):
            found = expected[row["id"]]
            vector = [row[name] for name in use_cases.EMBEDDING]
            if found is None:
                assert row["distance"] is None
                assert vector == [None] * len(vector)
            else:
                assert row["distance"] == pytest.approx(found[0], abs=1e-6)
                assert vector == found[1].tolist()


def test_synapses_like_one(registry_at: Open) -> None:
    pre, post = nearest_points(LATEST, "pre"), nearest_points(LATEST, "post")
    embedded = [synapse for synapse in sorted(pre) if pre[synapse] and post[synapse]]
    vectors = {s: np.concatenate([pre[s][1], post[s][1]]).astype(float) for s in embedded}  # type: ignore[index]
    for query in (embedded[0], embedded[-1]):
        mine = vectors[query]
        cosine = {s: float(v @ mine / np.linalg.norm(v) / np.linalg.norm(mine)) for s, v in vectors.items()}
        best = sorted((s for s in embedded if s != query), key=lambda s: (-round(cosine[s], 9), s))[:10]
        frame = use_cases.use_case_5(registry_at(LATEST), synapse=query)
        assert frame["id"].to_list() == best
        assert frame["similarity"].to_list() == pytest.approx([cosine[s] for s in best], abs=1e-6)
    assert use_cases.use_case_5(registry_at(LATEST), k=3)["query_id"].to_list() == [embedded[0]] * 3


def test_signatures_of_both_sides(registry_at: Open) -> None:
    frame = use_cases.use_case_6(registry_at(LATEST))
    made = laboratory.hks(CORTEX)
    signature = {(int(i), str(s)): v for i, s, v in zip(made["id"], made["side"], made["hks"], strict=True)}
    assert frame["id"].to_list() == CORTEX.synapses["id"][synapse_rows(LATEST)].tolist()
    nothing = np.full(made["hks"].shape[1], np.nan, np.float32)
    for side in ("pre", "post"):
        expected = np.array([signature.get((synapse, side), nothing) for synapse in frame["id"]])
        found = frame.select(pl.col(f"^{side}_hks_.*$")).to_numpy()
        assert np.array_equal(found, expected, equal_nan=True)
        assert frame[f"{side}_hks_0"].null_count() == np.isnan(expected[:, 0]).sum() > 0
    assert frame.width == 1 + 2 * made["hks"].shape[1]


def test_spines_near_the_soma(registry_at: Open) -> None:
    frame = use_cases.use_case_7(registry_at(LATEST))
    nuclei = nuclei_of(LATEST)
    spines = CORTEX.spines
    expected: dict[int, int] = {}
    for row in range(len(spines["id"])):
        synapse = spines["synapse_row"][row]
        root = int(roots(CORTEX.synapses["post_piece"][[synapse]], LATEST)[0])
        cells = CORTEX.nuclei["cell"][nuclei.get(root, [])]
        if spines["distance_to_soma"][row] <= 500 and len(cells) and CORTEX.excitatory[cells].all():
            expected[int(CORTEX.synapses["id"][synapse])] = row
    frame = frame.sort("synapse_id")
    assert frame["synapse_id"].to_list() == sorted(expected)
    for name in ("volume", "length", "area", "distance_to_soma"):
        assert frame[name].to_list() == pytest.approx([spines[name][expected[s]] for s in sorted(expected)], abs=1e-6)
    at = frame["distance_to_soma"].to_list()
    assert 499 in at
    assert 500 in at
    assert 501 not in at


def test_the_generator_is_pure() -> None:
    again: Cortex = build.__wrapped__(CORTEX.size)
    assert all(np.array_equal(again.roots[v], CORTEX.roots[v]) for v in VERSIONS)
    for name in ("synapses", "nuclei", "proofread", "spines"):
        for column, values in getattr(again, name).items():
            assert np.array_equal(values, getattr(CORTEX, name)[column])


def test_proofreading_changes_roots_and_keeps_supervoxels() -> None:
    before, after = (annotations.tables(CORTEX, v)["synapses"] for v in (1, LATEST))
    both = before.join(after, on="id", suffix="_after", validate="1:1")
    assert both.height == before.height < after.height
    assert both.filter(pl.col("pre_pt_supervoxel_id") != pl.col("pre_pt_supervoxel_id_after")).height == 0
    changed = both.filter(pl.col("pre_pt_root_id") != pl.col("pre_pt_root_id_after")).height
    assert 0 < changed < both.height / 2
    assert after["pre_pt_root_id"].min() > 2**53  # type: ignore[operator]
