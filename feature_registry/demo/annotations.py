"""The cortex as flat tables: points as voxels, each with what of the segmentation lies below it."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from feature_registry.demo.cortex import Arrays, Cortex, Ints, voxels

TABLES = ("synapses", "nucleus_detection", "cell_types", "proofreading_status", "spines")


def tables(cortex: Cortex, mat_version: int) -> dict[str, pl.DataFrame]:
    """The annotation tables of one version."""
    made = (_synapses, _nuclei, _cell_types, _proofreading, _spines)
    return {name: table(cortex, mat_version) for name, table in zip(TABLES, made, strict=True)}


def _rows(arrays: Arrays, chosen: NDArray[Any]) -> Arrays:
    return {name: values[chosen] for name, values in arrays.items()}


def _point(name: str, position: NDArray[Any]) -> dict[str, pl.Series]:
    return {f"{name}_position_{axis}": pl.Series(position[:, i], dtype=pl.Int32) for i, axis in enumerate("xyz")}


def _bound(name: str, rows: Arrays, roots: Ints, side: str = "") -> dict[str, Any]:
    """A point, and what of the segmentation lies below it; 0 where nothing does."""
    piece = rows[f"{side}piece"]
    return {
        **_point(name, rows[f"{side}position"]),
        f"{name}_supervoxel_id": rows[f"{side}supervoxel"],
        f"{name}_root_id": np.where(piece < 0, 0, roots[piece]),
    }


def _synapses(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    rows = _rows(cortex.synapses, cortex.synapses["added"] <= mat_version)
    roots = cortex.roots[mat_version]
    columns = {
        "id": rows["id"],
        "created": rows["created"],
        "size": rows["size"],
        **_bound("pre_pt", rows, roots, "pre_"),
        **_point("ctr_pt", rows["ctr_position"]),
        **_bound("post_pt", rows, roots, "post_"),
    }
    return pl.DataFrame(columns)


def _nuclei(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    nuclei = cortex.nuclei
    columns = {
        "id": nuclei["id"],
        "volume": nuclei["volume"],
        **_bound("pt", nuclei, cortex.roots[mat_version]),
        **_point("bb_start", nuclei["bb_start"]),
        **_point("bb_end", nuclei["bb_end"]),
    }
    return pl.DataFrame(columns)


def _cell_types(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    cell = cortex.nuclei["cell"]
    columns = {
        "id": np.arange(1, len(cell) + 1),
        "target_id": cortex.nuclei["id"],
        "classification_system": np.where(cortex.excitatory[cell], "excitatory_neuron", "inhibitory_neuron"),
        "cell_type": cortex.cell_type[cell],
    }
    return pl.DataFrame(columns)


def _proofreading(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    rows = _rows(cortex.proofread, cortex.proofread["judged"] <= mat_version)
    cell = rows["cell"]
    said = ("id", "valid_id", "status_axon", "status_dendrite", "strategy_axon", "strategy_dendrite")
    soma = {"position": voxels(cortex.soma[cell]), "supervoxel": cortex.supervoxels[cell, 0], "piece": cell}
    return pl.DataFrame({name: rows[name] for name in said} | _bound("pt", soma, cortex.roots[mat_version]))


def _spines(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    spines = _rows(cortex.spines, cortex.synapses["added"][cortex.spines["synapse_row"]] <= mat_version)
    synapses = _rows(cortex.synapses, spines["synapse_row"])
    columns = {
        "id": spines["id"],
        "target_id": synapses["id"],
        "spine_volume": spines["volume"],
        **_bound("pt", synapses, cortex.roots[mat_version], "post_"),
    }
    return pl.DataFrame(columns)
