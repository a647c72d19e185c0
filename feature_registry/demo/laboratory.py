"""What other labs compute on the cortex, as numpy arrays: SegCLR embeddings, heat kernel signatures, spine shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from feature_registry.demo.cortex import (
    EMBEDDING_DIMENSION,
    EXCITATORY,
    HKS_DIMENSION,
    INHIBITORY,
    LATEST,
    Arrays,
    Cortex,
    Floats,
    Ints,
    nanometres,
)

LEAST_POINTS, MOST_POINTS = 20, 60  # of a root
JITTER = 300  # nm between a synapse and the embedded point near it
TYPES = (*EXCITATORY, *INHIBITORY, "fragment")


def _drawn(cortex: Cortex, topic: int, mat_version: int = 0) -> np.random.Generator:
    return np.random.default_rng([cortex.size.seed, topic, mat_version])


def segclr(cortex: Cortex, mat_version: int) -> Arrays:
    """Points along each root: `root_id`, `position` (nm, float32), `embedding` (unit length, float32).

    A point lies near a synapse of the root. One root in a hundred has none.
    """
    rng = _drawn(cortex, 1, mat_version)
    piece, position = _sites(cortex, mat_version)
    root = cortex.roots[mat_version][piece]
    roots, group = np.unique(root, return_inverse=True)
    wanted = rng.integers(LEAST_POINTS, MOST_POINTS + 1, len(roots)) * (rng.random(len(roots)) > 0.01)
    order = np.lexsort((rng.random(len(root)), group))
    starts = np.searchsorted(group[order], np.arange(len(roots)))
    rank = np.arange(len(root)) - starts[group[order]]
    chosen = order[rank < wanted[group[order]]]
    return {
        "root_id": root[chosen],
        "position": (position[chosen] + rng.normal(0, JITTER, (len(chosen), 3))).astype(np.float32),
        "embedding": _embeddings(cortex, rng, piece[chosen]),
    }


def _sites(cortex: Cortex, mat_version: int) -> tuple[Ints, Floats]:
    """The piece and the position in nm of both sides of every synapse of the version."""
    rows = cortex.synapses
    here = rows["added"] <= mat_version
    post = here & (rows["post_piece"] >= 0)
    pieces = np.concatenate([rows["pre_piece"][here], rows["post_piece"][post]])
    return pieces, nanometres(np.concatenate([rows["pre_position"][here], rows["post_position"][post]]))


def _embeddings(cortex: Cortex, rng: np.random.Generator, piece: Ints) -> NDArray[np.float32]:
    """A centre for every cell type and compartment, spread by noise, on the unit sphere."""
    cells = cortex.size.cells
    centres = _drawn(cortex, 2).normal(size=(len(TYPES), 2, EMBEDDING_DIMENSION))
    names = np.append(cortex.cell_type, "fragment")
    row = np.array([TYPES.index(name) for name in names])[np.where(piece < 2 * cells, piece % cells, cells)]
    axon = (piece >= cells) & (piece < 2 * cells)
    vectors = centres[row, axon.astype(int)] + rng.normal(0, 0.6, (len(piece), EMBEDDING_DIMENSION))
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit.astype(np.float32)


def hks(cortex: Cortex) -> Arrays:
    """Heat kernel signatures of both sides of the latest version's synapses: `id`, `side`, `hks` (float32).

    Heat that is left at a point after growing times; about 2 % of the sides have none.
    """
    rng = _drawn(cortex, 3)
    ids = np.repeat(cortex.synapses["id"][cortex.synapses["added"] <= LATEST], 2)
    side = np.tile(["pre", "post"], len(ids) // 2)
    times = np.logspace(-1, 2, HKS_DIMENSION)
    size, rate = rng.lognormal(0, 0.5, (len(ids), 1)), rng.lognormal(-2, 0.7, (len(ids), 1))
    heat = (size / np.sqrt(times) * np.exp(-rate * times) + 0.01).astype(np.float32)
    there = rng.random(len(ids)) > 0.02
    return {"id": ids[there], "side": side[there], "hks": heat[there]}


def spine_morphometry(cortex: Cortex) -> Arrays:
    """Spines of the latest version, numbered within their root: lengths in nm, areas in um^2, volumes in um^3."""
    spines = cortex.spines
    row = spines["synapse_row"]
    root = cortex.roots[LATEST][cortex.synapses["post_piece"][row]]
    order = np.lexsort((spines["id"], root))
    root = root[order]
    return {
        "post_pt_root_id": root,
        "component_id": np.arange(len(root)) - np.searchsorted(root, root) + 1,
        "synapse_id": cortex.synapses["id"][row][order],
        **{name: spines[name][order] for name in ("volume", "length", "area", "distance_to_soma")},
    }
