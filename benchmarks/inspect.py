"""What registering a Delta table of 10,000 files costs: the whole of `Registry.register`, from outside, against
deltalake that opens the table and reads its add actions.

The table has 20 columns with statistics, and a checkpoint, as tables in use have; without one it is measured, too. It
is registered without a key: whether a key is unique only a look at its rows tells, which is no inspection. What that
look takes beside is printed, and no part of the figure.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from benchmarks.figures import figure, in_turn, median, preamble, size_argument, spread
from feature_registry.model import Registration
from feature_registry.registry import Registry
from feature_registry.settings import Settings

FILES = 10_000
ROWS = 10  # a file
ROUNDS = 9
WARM_UP = 2
LIMIT = 1.2


def rows(number: int) -> pa.Table:
    """Ids and values of one file: 12 integers, 5 floats, a text, a flag and a time stamp."""
    ids = np.arange(number * ROWS, (number + 1) * ROWS) + 864_691_135_000_000_000
    columns: dict[str, Any] = {f"id_{at}": ids + at for at in range(12)}
    columns |= {f"value_{at}": (ids % 1000 + at) / 7 for at in range(5)}
    columns["kind"] = [f"kind {row % 3} of {number}" for row in range(ROWS)]
    columns["valid"] = ids % 2 == 0
    columns["created"] = pa.array(ids // 1000, pa.timestamp("us"))
    return pa.table(columns)


def statistics(table: pa.Table) -> str:
    """As a Delta writer says them."""
    bounds = {name: pc.min_max(table[name]).as_py() for name in table.column_names}
    spelled: dict[str, dict[str, Any]] = {"min": {}, "max": {}}
    for name, bound in bounds.items():
        for end, value in bound.items():
            spelled[end][name] = value.isoformat(timespec="milliseconds") if name == "created" else value
    nulls = dict.fromkeys(bounds, 0)
    return json.dumps(
        {"numRecords": ROWS, "minValues": spelled["min"], "maxValues": spelled["max"], "nullCount": nulls}
    )


def written(place: Path, files: int) -> None:
    place.mkdir()
    actions = []
    for number in range(files):
        table = rows(number)
        file = place / f"part-{number:05}-8f2b6c1e-{number:04x}-4a7d-9c3e-5b1f0e7a2d64-c000.snappy.parquet"
        pq.write_table(table, file)
        now = int(time.time() * 1000)
        actions.append(AddAction(file.name, file.stat().st_size, {}, now, True, statistics(table)))
    create_table_with_add_actions(str(place), Schema.from_arrow(rows(0).schema), actions)


def contenders(place: Path, homes: Path, **more: Any) -> dict[str, Callable[[], int]]:
    """Each answers the number of files. A table of its own for each registration: none is known already. `more` is
    said of it beside.
    """
    registry, names = Registry(Settings(home=homes / place.name)), itertools.count()
    said: dict[str, Any] = {"datastack": "d", "description": "Rows of a benchmark.", "owner": "bench"}
    said |= {"mat_version": None, "license": "CC0-1.0", **more}

    def registered() -> int:
        said["name"] = f"t{next(names)}"
        report = registry.register(Registration(location=place, publish=True, **said))
        assert report.entry.version.status == "published", report.checks
        return report.entry.version.inspection.files

    def opened() -> int:
        return int(pa.table(DeltaTable(str(place)).get_add_actions(flatten=True)).num_rows)

    return {"register": registered, "deltalake": opened}


def main() -> None:
    files = size_argument(FILES)
    preamble("inspect", f"{files:,} files x 20 columns, {ROUNDS} rounds", "deltalake", "pyarrow", "sqlalchemy")
    ratios = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        written(folder / "plain", files)
        shutil.copytree(folder / "plain", folder / "checkpoint")
        DeltaTable(str(folder / "checkpoint")).create_checkpoint()
        for name in ("plain", "checkpoint"):
            runs = in_turn(contenders(folder / name, folder / "homes"), ROUNDS, warm_up=WARM_UP)
            print(f"\n{name}")
            for contender, timings in runs.items():
                print(f"  {contender:<10}{spread(timings)}")
            ratios[name] = median(runs["register"]) / median(runs["deltalake"])
            print(f"  ratio     {ratios[name]:.2f}")
        keyed = contenders(folder / "checkpoint", folder / "keyed", key=["id_0"])["register"]
        runs = in_turn({"register": keyed}, ROUNDS)
        print(f"\nwith a key, of which a sample is read\n  register  {spread(runs['register'])}")
    figure("inspect", "inspect_ratio", ratios["checkpoint"], LIMIT)


if __name__ == "__main__":
    main()
