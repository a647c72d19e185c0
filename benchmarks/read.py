"""What links cost a reader: 5 million synapses of MICrONS' shape (15 columns), in 16 files sorted by post_pt_root_id.

Polars through the registry's links (`table().scan()`, the plan included) against the same Polars on the same file
server with URLs signed beforehand and no redirect, and against the local files. The two servers are processes of their
own. `full` reads everything, `cells` all inputs of 100 cells, `columns` 2 of the 15 columns. The bytes are those that
the file server says it sent.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.figures import Run, figure, in_turn, median, preamble, size_argument, spread
from benchmarks.servers import Servers, running
from feature_registry.client import FeatureRegistry
from feature_registry.location import Location
from feature_registry.model import Registration
from feature_registry.registry import Registry
from feature_registry.storage import open_store

ROWS = 5_000_000
FILES = 16
INPUTS_PER_CELL = 250
CELLS = 100
ROUNDS = 15
TIME_LIMITS = {"full": 1.10, "cells": 1.15, "columns": 1.25}
BYTES_LIMIT = 1.02
FIRST_ROOT = 864_691_134_884_807_418
FIRST_SUPERVOXEL = 79_517_373_886_208_124


def synapses(rows: int, seed: int = 7) -> pl.DataFrame:
    """Synapses in CAVE's flattened columns: positions in voxels, 18-digit ids, sorted by the postsynaptic cell."""
    random = np.random.default_rng(seed)
    cells = rows // INPUTS_PER_CELL
    roots = np.sort(FIRST_ROOT + random.choice(50_000_000, cells, replace=False) * 7)
    centre = np.stack([random.integers(0, high, rows, dtype=np.int32) for high in (400_000, 300_000, 28_000)])
    points = {
        f"{side}_pt_position_{axis}": (centre[number] + random.integers(-40, 40, rows)).astype(np.int32)
        for side in ("pre", "ctr", "post")
        for number, axis in enumerate("xyz")
    }
    return pl.DataFrame(
        {
            "id": random.permutation(rows) + 100_000_000_000_000_000,
            **points,
            "size": random.lognormal(6, 1, rows).astype(np.int32),
            "pre_pt_supervoxel_id": FIRST_SUPERVOXEL + random.integers(0, 2**48, rows),
            "pre_pt_root_id": roots[random.integers(0, cells, rows)],
            "post_pt_supervoxel_id": FIRST_SUPERVOXEL + random.integers(0, 2**48, rows),
            "post_pt_root_id": np.sort(roots[random.integers(0, cells, rows)]),
        }
    )


def write(frame: pl.DataFrame, folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    step = -(-frame.height // FILES)
    paths = [folder / f"part-{number:05}.parquet" for number in range(FILES)]
    for number, path in enumerate(paths):
        frame.slice(number * step, step).write_parquet(path, row_group_size=131_072)
    return paths


def queries(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """The arguments of `scan()`."""
    roots = frame["post_pt_root_id"].unique()
    cells = roots.sample(CELLS, seed=11).sort().to_list()
    return {"full": {}, "cells": {"where": [("post_pt_root_id", "in", cells)]}, "columns": {"columns": ["id", "size"]}}


def plain(files: list[str] | list[Path], query: dict[str, Any]) -> pl.DataFrame:
    """The same query on nothing but files."""
    frame = pl.scan_parquet(files)
    for column, _, values in query.get("where", []):
        frame = frame.filter(pl.col(column).is_in(values))
    if "columns" in query:
        frame = frame.select(query["columns"])
    return frame.collect()


def measure(name: str, contenders: dict[str, Callable[[], pl.DataFrame]], servers: Servers) -> None:
    sent: dict[str, list[int]] = {each: [] for each in contenders}
    rows: set[tuple[int, ...]] = set()
    servers.bytes_sent()

    def count(contender: str, run: Run) -> None:
        sent[contender].append(servers.bytes_sent())
        rows.add(run.answer.shape)

    runs = in_turn(contenders, ROUNDS, after=count)
    if len(rows) != 1:
        raise SystemExit(f"the answers to {name} differ: {rows}")
    shape = rows.pop()
    ours, theirs = (sorted(sent[each])[ROUNDS // 2] for each in ("links", "signed"))
    print(f"\n{name}: {shape[0]:,} rows x {shape[1]} columns; {theirs:,} bytes through URLs, {ours:,} through links")
    for contender, timings in runs.items():
        print(f"  {contender:<8}{spread(timings)}")
    figure("read", f"time_ratio_{name}", median(runs["links"]) / median(runs["signed"]), TIME_LIMITS[name])
    figure("read", f"bytes_ratio_{name}", ours / theirs, BYTES_LIMIT)
    figure("read", f"local_seconds_{name}", median(runs["local"]))


def main() -> None:
    rows = size_argument(ROWS)
    preamble("read", f"{rows:,} rows x 15 columns in {FILES} files, {ROUNDS} rounds", "polars", "uvicorn", "starlette")
    with tempfile.TemporaryDirectory() as folder:
        home, data = Path(folder, "registry"), Path(folder, "synapses")
        frame = synapses(rows)
        files = write(frame, data)
        print(f"# {sum(path.stat().st_size for path in files):,} bytes of Parquet")
        with running(home, allowed=Path(folder)) as servers:
            registry = Registry(servers.settings)
            said = Registration(
                location=Location(data),
                datastack="bench",
                name="synapses",
                description="A benchmark.",
                owner="bench",
                license="CC0-1.0",
                publish=True,
            )
            registry.register(said)
            store = open_store(Location(data), servers.settings)
            urls = [store.sign(Location(path), timedelta(hours=4)) for path in files]
            table = FeatureRegistry("bench", server=servers.settings.api_address).table("synapses@unversioned")
            for name, query in queries(frame).items():
                contenders: dict[str, Callable[[], pl.DataFrame]] = {
                    "links": lambda query=query: table.scan(**query).collect(),
                    "signed": lambda query=query: plain(urls, query),
                    "local": lambda query=query: plain(files, query),
                }
                measure(name, contenders, servers)
            registry.close()


if __name__ == "__main__":
    main()
