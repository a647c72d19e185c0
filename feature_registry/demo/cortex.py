"""The synthetic cortex: numpy arrays out of a seed, nothing read and nothing written.

Cells stand in a box. A cell has pieces (soma with dendrite; axon), a piece has supervoxels, and these never change.
What changes is which pieces the segmentation takes for one cell: an axon is attached late, two cells hang together
until proofreading splits them. Each set of pieces has a root id of its own, so an edit makes new root ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]

SEED = 20_240_611
DATASTACK = "cortex_demo"
RESOLUTION = np.array([4, 4, 40])  # nm of a voxel along x, y, z
TIME_STAMPS = {mat_version: datetime(2024, mat_version + 2, 11, 8, 10, 1, tzinfo=UTC) for mat_version in (1, 2, 3)}
VERSIONS = tuple(TIME_STAMPS)
LATEST = VERSIONS[-1]
EXCITATORY = ("23P", "4P", "5P-IT", "5P-ET", "6P-CT")
INHIBITORY = ("BC", "MC", "BPC", "NGC")
BOX = np.array([[600_000, 400_000, 720_000], [1_000_000, 800_000, 960_000]])  # nm
SOMA_RADIUS = 5_000  # nm
CLUMPS = 12  # of synapses along an axon
NEIGHBOURS = 30  # cells that a clump may reach
NEVER = 99  # a materialization version that does not come
EMBEDDING_DIMENSION = 64
HKS_DIMENSION = 32
BUCKETS = 8


@dataclass(frozen=True)
class Size:
    """How large a cortex is made."""

    cells: int = 500
    fragments: int = 120
    synapses: int = 150_000
    seed: int = SEED


@dataclass(frozen=True)
class Cortex:
    """The truth. Rows of `soma`, `excitatory`, `cell_type` are cells; rows of `supervoxels` are pieces.

    Piece c is the soma and dendrite of cell c, piece `cells` + c its axon, what follows are fragments without a soma.
    `roots[mat_version]` holds the root id of every piece. Positions are int32 voxels of `RESOLUTION`, shape (n, 3).
    """

    size: Size
    soma: Floats  # nm
    excitatory: NDArray[np.bool_]
    cell_type: NDArray[np.str_]
    supervoxels: Ints
    roots: dict[int, Ints]
    synapses: Arrays
    nuclei: Arrays
    proofread: Arrays
    spines: Arrays


@cache
def build(size: Size = Size()) -> Cortex:
    """The cortex of this size and seed; the same arrays on every machine."""
    anatomy, edits, contacts, nuclei, judgements, shapes = np.random.default_rng(size.seed).spawn(6)
    soma = anatomy.uniform(BOX[0], BOX[1], (size.cells, 3))
    excitatory = anatomy.random(size.cells) < 0.8
    cell_type = np.where(excitatory, anatomy.choice(EXCITATORY, size.cells), anatomy.choice(INHIBITORY, size.cells))
    pieces = 2 * size.cells + size.fragments
    supervoxels = _unique(anatomy, 89_000_000_000_000_000, 10**15, pieces * 24).reshape(pieces, 24)
    roots = _roots(edits, size)
    synapses = _synapses(contacts, size, soma, supervoxels)
    return Cortex(
        size=size,
        soma=soma,
        excitatory=excitatory,
        cell_type=cell_type,
        supervoxels=supervoxels,
        roots=roots,
        synapses=synapses,
        nuclei=_nuclei(nuclei, soma, excitatory, supervoxels),
        proofread=_judgements(judgements, size, roots),
        spines=_spines(shapes, soma, excitatory, synapses),
    )


def voxels(position: Floats) -> NDArray[np.int32]:
    """Positions in nm as whole voxels."""
    whole: NDArray[np.int32] = np.rint(position / RESOLUTION).astype(np.int32)
    return whole


def nanometres(position: NDArray[np.generic]) -> Floats:
    """Positions in voxels as nm."""
    scaled: Floats = position.astype(np.float64) * RESOLUTION
    return scaled


def _unique(rng: np.random.Generator, start: int, span: int, count: int) -> Ints:
    drawn = np.unique(rng.integers(start, start + span, 2 * count))
    return rng.permutation(drawn)[:count]


# ------------------------------------------------------------------------------------------------- segmentation


def _roots(rng: np.random.Generator, size: Size) -> dict[int, Ints]:
    """The root id of every piece at every materialization version."""
    cells, pieces = size.cells, 2 * size.cells + size.fragments
    versions = np.array([*VERSIONS, NEVER])
    hosts = np.concatenate([np.arange(cells), rng.integers(0, cells, size.fragments)])  # of axons and of fragments
    since = np.concatenate(
        [
            rng.choice(versions, cells, p=[0.8, 0.1, 0.07, 0.03]),
            rng.choice(versions, size.fragments, p=[0, 0.15, 0.15, 0.7]),
        ]
    )
    false_pairs = rng.permutation(cells)[: max(6, cells // 12) // 2 * 2].reshape(-1, 2)
    until = np.resize([2, 2, 3, 3, NEVER], len(false_pairs))  # the version that has them split
    trimmed = rng.choice([0, 2, 3], pieces, p=[0.9, 0.05, 0.05])  # an edit inside a piece gives a new root id as well
    pool = iter(_unique(rng, 864_691_135_000_000_000, 10**9, 6 * pieces))
    known: dict[tuple[tuple[int, bool], ...], int] = {}
    roots = {}
    for mat_version in VERSIONS:
        edges = [(int(hosts[i]), cells + int(i)) for i in np.flatnonzero(since <= mat_version)]
        edges += [(int(a), int(b)) for (a, b), fixed in zip(false_pairs, until, strict=True) if mat_version < fixed]
        roots[mat_version] = np.zeros(pieces, np.int64)
        for component in _components(pieces, edges):
            marks = tuple((piece, bool(0 < trimmed[piece] <= mat_version)) for piece in component)
            if marks not in known:
                known[marks] = int(next(pool))
            roots[mat_version][component] = known[marks]
    return roots


def _components(count: int, edges: list[tuple[int, int]]) -> Iterator[list[int]]:
    parent = list(range(count))

    def top(piece: int) -> int:
        while parent[piece] != piece:
            piece = parent[piece]
        return piece

    for one, other in edges:
        parent[top(one)] = top(other)
    members: dict[int, list[int]] = {}
    for piece in range(count):
        members.setdefault(top(piece), []).append(piece)
    yield from members.values()


# -------------------------------------------------------------------------------------------------- annotations


def _directions(rng: np.random.Generator, count: int) -> Floats:
    drawn = rng.normal(size=(count, 3))
    unit: Floats = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def _contacts(rng: np.random.Generator, size: Size, soma: Floats) -> tuple[Ints, Ints, Floats]:
    """The cells on both sides of every synapse, and its centre in nm.

    An axon has clumps of synapses, each with the cells around it; every fiftieth synapse lies on a soma.
    """
    weight = rng.lognormal(0, 0.7, size.cells)
    pre = rng.choice(size.cells, size.synapses, p=weight / weight.sum())
    clumps = soma[:, None] + _directions(rng, size.cells * CLUMPS).reshape(size.cells, CLUMPS, 3) * rng.gamma(
        2.0, 50_000, (size.cells, CLUMPS, 1)
    )
    clumps = clumps.clip(*BOX)
    around = np.linalg.norm(clumps[:, :, None] - soma, axis=3).argsort(axis=2)[:, :, :NEIGHBOURS]
    clump = rng.integers(0, CLUMPS, size.synapses)
    post = around[pre, clump, rng.integers(0, around.shape[2], size.synapses)]
    centre = clumps[pre, clump] + rng.normal(0, 8_000, (size.synapses, 3))
    away = centre - soma[post]
    distance = np.linalg.norm(away, axis=1)
    reached = np.where(rng.random(size.synapses) < 0.02, 0, np.maximum(distance - SOMA_RADIUS, 0)) + SOMA_RADIUS
    return pre, post, soma[post] + away * (reached / distance)[:, None]


def _synapses(rng: np.random.Generator, size: Size, soma: Floats, supervoxels: Ints) -> Arrays:
    count, cells = size.synapses, size.cells
    pre, post, centre = _contacts(rng, size, soma)
    fragment = rng.random(count) < 0.04
    post_piece = np.where(fragment, rng.integers(2 * cells, 2 * cells + size.fragments, count), post)
    pre_piece = cells + pre
    pick = rng.integers(0, supervoxels.shape[1], (2, count))
    added = rng.choice(VERSIONS, count, p=[0.95, 0.03, 0.02])  # the first version that has it
    outside = rng.random(count) < 0.002  # the point lies in no segment: supervoxel 0, root 0
    return {
        "id": np.sort(_unique(rng, 10**6, 4 * 10**8, count)),
        "added": added,
        "created": _created(rng, added),
        "size": np.maximum(rng.lognormal(8, 0.8, count), 60).astype(np.int32),
        "pre_position": voxels(centre + rng.normal(0, 120, (count, 3))),
        "ctr_position": voxels(centre),
        "post_position": voxels(centre + rng.normal(0, 120, (count, 3))),
        "pre_piece": pre_piece,
        "post_piece": np.where(outside, -1, post_piece),
        "pre_supervoxel": supervoxels[pre_piece, pick[0]],
        "post_supervoxel": np.where(outside, 0, supervoxels[post_piece, pick[1]]),
    }


def _created(rng: np.random.Generator, added: Ints) -> NDArray[np.datetime64]:
    """Instants in the month before the version that is the first to have the row."""
    ends = np.array([np.datetime64(TIME_STAMPS[v].replace(tzinfo=None), "us") for v in VERSIONS])
    before = rng.integers(1, 20 * 86_400 * 10**6, len(added)).astype("timedelta64[us]")
    instants: NDArray[np.datetime64] = ends[added - 1] - before
    return instants


def _nuclei(rng: np.random.Generator, soma: Floats, excitatory: NDArray[np.bool_], supervoxels: Ints) -> Arrays:
    """One a cell, but none in two of them, two in three of them, and two that lie in no segment."""
    cells = len(soma)
    some = rng.permutation(cells)
    cell = np.concatenate([np.sort(some[2:]), some[2:5]])
    nucleus_centre = soma[cell] + rng.normal(0, 400, (len(cell), 3))
    nucleus_centre[-3:] += 4_000
    volume = rng.lognormal(math.log(260), 0.15, len(cell))  # um^3
    # A folded nucleus fills less of the hull around it.
    fill = np.where(excitatory[cell], rng.normal(0.9, 0.03, len(cell)), rng.normal(0.72, 0.06, len(cell))).clip(0.4, 1)
    radius = np.cbrt(volume / fill * 3 / (4 * math.pi))[:, None] * 1_000  # nm
    shape = rng.lognormal(0, 0.08, (len(cell), 3))
    half = radius * shape / np.cbrt(shape.prod(axis=1, keepdims=True))
    piece = cell.copy()
    piece[[5, 11]] = -1
    return {
        "id": np.sort(_unique(rng, 100_000, 600_000, len(cell))),
        "cell": cell,
        "piece": piece,
        "supervoxel": np.where(piece < 0, 0, supervoxels[cell, 0]),
        "volume": volume,
        "position": voxels(nucleus_centre),
        "bb_start": voxels(nucleus_centre - half),
        "bb_end": voxels(nucleus_centre + half),
    }


def _judgements(rng: np.random.Generator, size: Size, roots: dict[int, Ints]) -> Arrays:
    """Cells that were proofread: judged at some version, with the root id that they had then."""
    count = size.cells // 4
    cell = np.sort(rng.permutation(size.cells)[:count])
    judged = rng.choice(VERSIONS, count, p=[0.6, 0.25, 0.15])
    axon, dendrite = rng.random(count) < 0.65, rng.random(count) < 0.8
    extent = rng.choice(["axon_fully_extended", "axon_partially_extended"], count)
    return {
        "id": np.arange(1, count + 1),
        "cell": cell,
        "judged": judged,
        "valid_id": np.array([roots[int(v)][c] for c, v in zip(cell, judged, strict=True)]),
        "status_axon": axon,
        "status_dendrite": dendrite,
        "strategy_axon": np.where(axon, extent, "none"),
        "strategy_dendrite": np.where(dendrite, "dendrite_extended", "none"),
    }


def _spines(rng: np.random.Generator, soma: Floats, excitatory: NDArray[np.bool_], synapses: Arrays) -> Arrays:
    """Spines under every fifth synapse on an excitatory cell and under a few on the others.

    `distance_to_soma` is in nm from the surface of the soma; nine rows on each sort of cell lie at 499, 500, 501.
    """
    post = synapses["post_piece"]
    on_cell = (post >= 0) & (post < len(soma))
    spiny = np.where(excitatory[post.clip(0, len(soma) - 1)], 0.2, 0.02)
    row = np.flatnonzero(on_cell & (rng.random(len(post)) < spiny))
    distance = np.linalg.norm(nanometres(synapses["post_position"][row]) - soma[post[row]], axis=1) - SOMA_RADIUS
    distance = np.abs(distance)
    for sort in (True, False):
        chosen = rng.permutation(np.flatnonzero(excitatory[post[row]] == sort))[:9]
        distance[chosen] = np.resize([499, 500, 501], len(chosen))
    volume = rng.lognormal(math.log(0.08), 0.7, len(row))  # um^3
    return {
        "id": np.arange(1, len(row) + 1),
        "synapse_row": row,
        "volume": volume,
        "length": rng.lognormal(math.log(1_200), 0.4, len(row)),  # nm
        "area": 4.836 * volume ** (2 / 3) * rng.uniform(1.1, 1.9, len(row)),  # um^2; 4.836 is a sphere
        "distance_to_soma": distance,
    }
