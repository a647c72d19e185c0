"""Synthetic synapses of a piece of cortex: 15 columns as CAVE flattens them, where position, pre- and postsynaptic ids
go together as in a brain, in batches that are the same each time.

A synapse lies somewhere, and its two sides belong to what grows near there: a cell with a nucleus, whose dendrites
reach 60 um and whose axon 120 um from it, or one of the many short fragments of the segmentation. Densities are those
of MICrONS: 330 million synapses and 94,000 nuclei a cubic millimetre, voxels of 4 x 4 x 40 nm.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.read import FIRST_ROOT, FIRST_SUPERVOXEL

Integers = npt.NDArray[np.int64]
Points = npt.NDArray[np.float64]

BATCH = 250_000
UM = np.array([250, 250, 25])  # voxels
CUBE = 40.0  # um; the home of CELLS_PER_CUBE cells
CELLS_PER_CUBE = 6
SYNAPSES_PER_CUBE = 21_120
FINE = 10.0  # um; the home of fragments
AXON_FRAGMENTS, DENDRITE_FRAGMENTS = 14, 5  # a fine cube, each with some 20 synapses
WITH_NUCLEUS = {"pre": 0.15, "post": 0.6}  # of the synapses
REACH = {"pre": 120.0, "post": 60.0}  # um, the standard deviation
FIRST_ID = 100_000_000_000_000_000
_SPREAD = 2_654_435_761  # odd, so that multiplying by it modulo a power of two shuffles


class Cortex:
    """A cube of tissue that holds so many synapses."""

    def __init__(self, rows: int, seed: int = 7) -> None:
        self._rows, self._seed = rows, seed
        self._cubes = max(round((rows / SYNAPSES_PER_CUBE) ** (1 / 3)), 1)
        self.edge = self._cubes * CUBE  # um

    @property
    def cells(self) -> Integers:
        """The root ids of the cells with a nucleus."""
        return _root_ids(np.arange(self._cubes**3 * CELLS_PER_CUBE))

    def reader(self, buckets: int | None = None) -> pa.RecordBatchReader:
        """All synapses, with the number of each one's bucket in `post_bucket` if there are buckets."""
        first = self._batch(0, 1, buckets)
        starts = range(0, self._rows, BATCH)
        batches = (self._batch(start, min(BATCH, self._rows - start), buckets) for start in starts)
        return pa.RecordBatchReader.from_batches(first.schema, batches)

    def _batch(self, start: int, rows: int, buckets: int | None) -> pa.RecordBatch:
        random = np.random.default_rng([self._seed, start])
        place = random.uniform(0, self.edge, (rows, 3))
        columns: dict[str, npt.NDArray[np.generic]] = {"id": FIRST_ID + _shuffled(start + np.arange(rows), 40)}
        centre = (place * UM).astype(np.int32)
        for side in ("pre", "ctr", "post"):
            point = centre + random.integers(-40, 40, centre.shape, dtype=np.int32) * (side != "ctr")
            columns |= {f"{side}_pt_position_{axis}": point[:, number] for number, axis in enumerate("xyz")}
        columns["size"] = random.lognormal(6, 1, rows).astype(np.int32)
        chunks = ((centre >> (9, 9, 6)).astype(np.int64) << (46, 36, 26)).sum(axis=1)
        for side in ("pre", "post"):
            columns[f"{side}_pt_supervoxel_id"] = FIRST_SUPERVOXEL + chunks + random.integers(0, 2**26, rows)
            columns[f"{side}_pt_root_id"] = self._roots(side, place, random)
        if buckets is not None:
            columns["post_bucket"] = columns["post_pt_root_id"].astype(np.int64) % buckets
        return pa.RecordBatch.from_pydict({name: pa.array(values) for name, values in columns.items()})

    def _roots(self, side: str, place: Points, random: np.random.Generator) -> Integers:
        rows = len(place)
        cell = self._home(place, REACH[side], CUBE, random) * CELLS_PER_CUBE + random.integers(0, CELLS_PER_CUBE, rows)
        count, cells = AXON_FRAGMENTS if side == "pre" else DENDRITE_FRAGMENTS, len(self.cells)
        fragment = self._home(place, FINE, FINE, random) * count + random.integers(0, count, rows)
        fragment += cells + (side == "post") * AXON_FRAGMENTS * round(self.edge / FINE) ** 3
        return _root_ids(np.where(random.random(rows) < WITH_NUCLEUS[side], cell, fragment))

    def _home(self, place: Points, reach: float, size: float, random: np.random.Generator) -> Integers:
        """The number of the cube where what reaches to the place begins; the borders reflect."""
        home = np.abs(place + random.normal(0, reach, place.shape)) % (2 * self.edge)
        home = np.minimum(np.where(home > self.edge, 2 * self.edge - home, home), self.edge * (1 - 1e-9))
        along = round(self.edge / size)
        found: Integers = (home // size).astype(np.int64) @ np.array([along * along, along, 1])
        return found


def _root_ids(numbers: Integers) -> Integers:
    """Ids that say nothing of the place."""
    return FIRST_ROOT + _shuffled(numbers, 28)


def _shuffled(numbers: Integers, bits: int) -> Integers:
    return (numbers * _SPREAD) & ((1 << bits) - 1)
