"""What a layout saves a reader: ten queries of a connectomics lab on 20 million synapses (15 columns) in four layouts,
each forced, and the one that the plan picks.

Sorted by the presynaptic cell, by the postsynaptic cell, along a Morton curve through the position, and in buckets of
the postsynaptic cell (sorted within); files of about 64 MB, row groups of 32,768 rows. Polars reads through the
registry's links, the plan included; the two servers are processes of their own, and the bytes are those that the file
server says it sent. `picked_best` counts the queries for which no layout sends less than the picked one, or at most
5 % less. `one_cell_bytes_fraction` is what all inputs of a cell send of the bytes of their layout.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.cortex import UM, Cortex
from benchmarks.figures import Run, figure, in_turn, preamble, size_argument, spread, timed
from benchmarks.servers import Servers, running
from feature_registry import formats
from feature_registry.client import FeatureRegistry
from feature_registry.client.table import Table
from feature_registry.formats import WriteOptions
from feature_registry.location import Location
from feature_registry.model import HashBuckets, Layout, Registration
from feature_registry.registry import Registry

ROWS = 20_000_000
ROUNDS = 3
ROWS_PER_GROUP = 32_768
BYTES_PER_FILE = 64_000_000
BYTES_PER_BUCKET = 60_000_000
CELLS = 100
CELLS_WITH_NUCLEI = 400
BOX = 20  # um
TIED = 1.05
FRACTION_LIMIT = 0.01
PICKED = "(picked)"
POSITION = tuple(f"ctr_pt_position_{axis}" for axis in "xyz")
SORTED = (
    Layout(name="by_pre_pt_root_id", sort_by=("pre_pt_root_id", "id")),
    Layout(name="by_post_pt_root_id", sort_by=("post_pt_root_id", "id")),
    Layout(name="by_ctr_pt_position", sort_by=POSITION, curve="morton"),
)
Query = dict[str, Any]


def write(registry: Registry, place: Location, cortex: Cortex) -> tuple[Layout, ...]:
    """Every layout into its folder, and which they are."""
    for layout in SORTED:
        _write_one(registry, place, layout, cortex)
    size = sum(each.size for each in registry.store(place).list(place.joined(SORTED[1].name)))
    count = max(round(size / BYTES_PER_BUCKET), 2)
    hashed = HashBuckets(column="post_pt_root_id", partition_column="post_bucket", transform="modulo", buckets=count)
    buckets = Layout(name="buckets_of_post_pt_root_id", sort_by=("post_pt_root_id", "id"), hash_buckets=(hashed,))
    _write_one(registry, place, buckets, cortex)
    return (*SORTED, buckets)


def _write_one(registry: Registry, place: Location, layout: Layout, cortex: Cortex) -> None:
    options = WriteOptions(
        partition_by=tuple(each.partition_column for each in layout.hash_buckets),
        sort_by=layout.sort_by,
        curve=layout.curve,
        bytes_per_file=BYTES_PER_FILE,
        rows_per_group=ROWS_PER_GROUP,
    )
    data = cortex.reader(next((each.buckets for each in layout.hash_buckets), None))
    there = place.joined(layout.name)
    run = timed(lambda: formats.get("parquet").write(registry.store(place), there, data, options))
    files = [each.size for each in registry.store(place).list(there)]
    print(f"# {layout.name}: {sum(files):,} bytes in {len(files)} files, written in {run.seconds:.0f} s", flush=True)


def queries(cortex: Cortex, table: Table) -> dict[str, Query]:
    """The arguments of `scan()`."""
    cells = pl.Series(cortex.cells).sample(fraction=1, shuffle=True, seed=11).to_list()
    pre, post, cell, some = "pre_pt_root_id", "post_pt_root_id", cells[0], cells[:CELLS]
    nuclei = cells[:CELLS_WITH_NUCLEI]
    output = table.to_polars([(pre, "==", cell)], ["id", pre], layout=SORTED[0].name)["id"][0]
    incoming = table.to_polars([(post, "==", cell)], ["id", post], layout=SORTED[1].name)["id"][0]
    lows = [round((cortex.edge - BOX) / 2 * float(each)) for each in UM]
    highs = [low + round(BOX * float(each)) for low, each in zip(lows, UM, strict=True)]
    box = [(name, ">=", low) for name, low in zip(POSITION, lows, strict=True)]
    box += [(name, "<", high) for name, high in zip(POSITION, highs, strict=True)]
    return {
        "one synapse by pre id": {"where": [(pre, "==", cell), ("id", "==", output)]},
        "one synapse by post id": {"where": [(post, "==", cell), ("id", "==", incoming)]},
        "all inputs of a cell": {"where": [(post, "==", cell)]},
        "all outputs of a cell": {"where": [(pre, "==", cell)]},
        f"inputs of {CELLS} cells": {"where": [(post, "in", some)]},
        f"outputs of {CELLS} cells": {"where": [(pre, "in", some)]},
        f"synapses among {CELLS} cells": {"where": [(pre, "in", some), (post, "in", some)]},
        "mean input size of a cell": {"where": [(post, "==", cell)], "columns": ["size"]},
        "connections among cells with nuclei": {
            "where": [(pre, "in", nuclei), (post, "in", nuclei)],
            "columns": [pre, post, "size"],
        },
        "all synapses in a box": {"where": box},
    }


def measure(name: str, table: Table, query: Query, servers: Servers) -> dict[str, int]:
    """The bytes that each layout sends, and the picked one."""
    layouts = [each.name for each in table.entry.version.inspection.layouts]
    contenders: dict[str, Callable[[], pl.DataFrame]] = {
        each: partial(table.to_polars, **query, layout=each) for each in layouts
    }
    contenders[PICKED] = partial(table.to_polars, **query)
    sent: dict[str, list[int]] = {each: [] for each in contenders}
    answers: set[tuple[int, float]] = set()
    servers.bytes_sent()

    def count(contender: str, run: Run) -> None:
        sent[contender].append(servers.bytes_sent())
        answers.add((run.answer.height, run.answer["size"].sum()))

    runs = in_turn(contenders, ROUNDS, warm_up=0, after=count)
    if len(answers) != 1:
        raise SystemExit(f"the answers to {name} differ: {answers}")
    found = {each: sorted(sizes)[ROUNDS // 2] for each, sizes in sent.items()}
    picked = table.plan(**query, dry_run=True)
    print(f"\n{name}: {answers.pop()[0]:,} rows; the plan picks {picked.layout}")
    for contender, timings in runs.items():
        print(f"  {contender:<28}{found[contender]:>15,} bytes  {spread(timings)}", flush=True)
    return found


def main() -> None:
    rows = size_argument(ROWS)
    preamble("layouts", f"{rows:,} rows x 15 columns in 4 layouts, {ROUNDS} rounds", "polars", "pyarrow", "duckdb")
    with tempfile.TemporaryDirectory() as folder:
        cortex, place = Cortex(rows), Location(Path(folder, "synapses"))
        with running(Path(folder, "registry"), allowed=Path(folder)) as servers:
            registry = Registry(servers.settings)
            said = Registration(
                location=place,
                datastack="bench",
                name="synapses",
                description="A benchmark.",
                owner="bench",
                license="CC0-1.0",
                layouts=write(registry, place, cortex),
                publish=True,
            )
            run = timed(lambda: registry.register(said))
            print(f"# registered in {run.seconds:.1f} s")
            table = FeatureRegistry("bench", server=servers.settings.api_address).table("synapses@unversioned")
            best, fraction = 0, 0.0
            for name, query in queries(cortex, table).items():
                sent = measure(name, table, query, servers)
                best += sent[PICKED] <= TIED * min(sent.values())
                if name == "all inputs of a cell":
                    plan = table.plan(query["where"], dry_run=True)
                    fraction = sent[PICKED] / plan.cost.bytes_total
            registry.close()
    print()
    figure("layouts", "picked_best", best)
    figure("layouts", "one_cell_bytes_fraction", fraction, FRACTION_LIMIT)


if __name__ == "__main__":
    main()
