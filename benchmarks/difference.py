"""Two versions of 20 million rows, of which 2 % changed, came or went: our difference against the join by hand.

11 columns of mixed type, as synapses have them, as Delta tables in an embedded registry. By hand: a full outer join in
DuckDB over the same Parquet files, which gives the same counts, with the same limit of memory and as many threads. Each
runs in processes of its own, in turn; a process says the seconds of the comparison alone, and its peak of resident
memory, its libraries included.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.figures import figure, preamble, size_argument
from feature_registry.client import FeatureRegistry
from feature_registry.client.differences import MEMORY
from feature_registry.registry import Registry
from feature_registry.settings import Settings

ROWS = 20_000_000
PARTS = 16
ROUNDS = 3
SHARES = {"removed": 0.005, "added": 0.005, "changed": 0.01}
TIME_LIMIT = 1.3
LIMIT_MB = 2_000
FIRST_ID = 100_000_000_000_000_000
FIRST_ROOT = 864_691_134_884_807_418
FIRST_SUPERVOXEL = 79_517_373_886_208_124
COLUMNS = ("x", "y", "z", "size", "supervoxel_id", "pre_pt_root_id", "post_pt_root_id", "score", "probability", "kind")


def synapses(random: np.random.Generator, first: int, rows: int) -> pl.DataFrame:
    centre = {
        axis: random.integers(0, high, rows).astype(np.int32)
        for axis, high in zip("xyz", (400_000, 300_000, 28_000), strict=True)
    }
    return pl.DataFrame(
        {
            "id": np.arange(first, first + rows) + FIRST_ID,
            **centre,
            "size": random.lognormal(6, 1, rows).astype(np.int32),
            "supervoxel_id": FIRST_SUPERVOXEL + random.integers(0, 2**48, rows),
            "pre_pt_root_id": FIRST_ROOT + random.integers(0, 50_000_000, rows) * 7,
            "post_pt_root_id": FIRST_ROOT + random.integers(0, 50_000_000, rows) * 7,
            "score": random.random(rows).astype(np.float32),
            "probability": random.random(rows),
            "kind": np.array(["excitatory", "inhibitory", "unsure"])[random.integers(0, 3, rows)],
        }
    )


def next_version(random: np.random.Generator, frame: pl.DataFrame, first: int) -> pl.DataFrame:
    kept = frame.filter(pl.Series(random.random(frame.height) >= SHARES["removed"]))
    edited = pl.Series(random.random(kept.height) < SHARES["changed"])
    kept = kept.with_columns(pre_pt_root_id=pl.col("pre_pt_root_id") + 7 * edited.cast(pl.Int64))
    return pl.concat([kept, synapses(random, first, round(frame.height * SHARES["added"]))])


def write(folder: Path, rows: int) -> None:
    random, step = np.random.default_rng(7), rows // PARTS
    for part in range(PARTS):
        frame = synapses(random, part * step, step)
        later = next_version(random, frame, 2 * rows + part * step)
        for name, each in (("1", frame), ("2", later)):
            each.write_delta(folder / name, mode="append")


def register(home: Path, folder: Path) -> None:
    registry = Registry(Settings(home=home))
    said: dict[str, Any] = {"description": "A benchmark.", "owner": "bench", "license": "CC0-1.0", "publish": True}
    for mat_version in (1, 2):
        client = FeatureRegistry("bench", mat_version, server=registry)
        client.register(folder / str(mat_version), "synapses", key=["id"], **said)
    registry.close()


def ours(home: str) -> Any:
    registry = FeatureRegistry("bench", server=Registry(Settings(home=Path(home))))
    start = time.perf_counter()
    keys = registry.difference("synapses", 1, 2).keys
    assert keys is not None
    return time.perf_counter() - start, [keys.added, keys.removed, keys.changed, *map(keys.changed_values.get, COLUMNS)]


def by_hand(home: str) -> Any:
    import duckdb

    registry = FeatureRegistry("bench", server=Registry(Settings(home=Path(home))))
    old, new = ([file.url for file in registry.table(f"synapses@{at}").plan(mode="direct").files] for at in (1, 2))
    differs = [f"o.{column} IS DISTINCT FROM n.{column}" for column in COLUMNS]
    both = "o.id IS NOT NULL AND n.id IS NOT NULL"
    counts = [
        "o.id IS NULL",
        "n.id IS NULL",
        f"{both} AND ({' OR '.join(differs)})",
        *(f"{both} AND {each}" for each in differs),
    ]
    chosen = ", ".join(f"count(*) FILTER ({each})" for each in counts)
    with tempfile.TemporaryDirectory() as spill:
        start = time.perf_counter()
        with duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": spill}) as connection:
            connection.execute("SET preserve_insertion_order = false")
            join = "read_parquet(?) o FULL JOIN read_parquet(?) n ON o.id = n.id"
            found = connection.execute(f"SELECT {chosen} FROM {join}", [old, new]).fetchall()
        return time.perf_counter() - start, list(found[0])


CONTENDERS = {"ours": ours, "by_hand": by_hand}


def run(contender: str, home: Path) -> tuple[float, list[int], float]:
    """Seconds, counts, and the peak in MB; the kernel's own figure begins anew with the process, unlike getrusage's."""
    command = [sys.executable, "-m", "benchmarks.difference", contender, str(home)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, counts, peak = json.loads(said.splitlines()[-1])
    print(f"  {contender:<8}{seconds:6.1f} s, at most {peak:,.0f} MB", flush=True)
    return seconds, counts, peak


def say(contender: str, home: str) -> None:
    seconds, counts = CONTENDERS[contender](home)
    kib = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert kib is not None
    print(json.dumps([seconds, counts, int(kib[1]) * 1024 / 1e6]))


def main() -> None:
    rows = size_argument(ROWS)
    preamble(
        "difference", f"{rows:,} rows x {len(COLUMNS) + 1} columns, memory limit {MEMORY}, {ROUNDS} rounds", "duckdb"
    )
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    counts, peaks = set(), []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder, "registry")
        write(Path(folder, "synapses"), rows)
        register(home, Path(folder, "synapses"))
        for number in range(ROUNDS):
            for name in (list(CONTENDERS), list(CONTENDERS)[::-1])[number % 2]:
                took, found, peak = run(name, home)
                seconds[name].append(took)
                counts.add(tuple(found))
                peaks += [peak] * (name == "ours")
    if len(counts) != 1:
        raise SystemExit(f"the counts differ: {counts}")
    added, removed, changed, *_ = counts.pop()
    print(f"# {added:,} added, {removed:,} removed, {changed:,} changed")
    ratio = statistics.median(seconds["ours"]) / statistics.median(seconds["by_hand"])
    figure("difference", "time_ratio", ratio, TIME_LIMIT)
    figure("difference", "peak_mb", max(peaks), LIMIT_MB)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CONTENDERS:
        say(*sys.argv[1:])
    else:
        main()
