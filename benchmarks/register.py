"""What registration costs a producer: one million synapses (15 columns) materialized in process, then an empty table.

The same function as a `@feature_table` (writes Delta, inspects, hashes and registers it, checks schema and key,
publishes) and as a plain asset whose I/O manager does nothing but write Delta.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl

from benchmarks.figures import figure, in_turn, median, preamble, size_argument, spread
from benchmarks.read import synapses
from feature_registry import FeatureRegistryResource, FeatureTableIOManager, feature_table
from feature_registry.defs.partitions import mat_versions

ROWS = 1_000_000
ROUNDS = 7
EMPTY_ROUNDS = 15
TIME_LIMIT = 1.3
EMPTY_LIMIT_MS = 50
PARTITION = "1"
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


class PlainDelta(dg.ConfigurableIOManager):
    """What one writes without a registry."""

    folder: str

    def handle_output(self, context: dg.OutputContext, obj: pl.LazyFrame) -> None:
        path = Path(self.folder, *context.asset_key.path, context.partition_key)
        obj.collect().write_delta(path, mode="overwrite")

    def load_input(self, context: dg.InputContext) -> pl.LazyFrame:
        return pl.scan_delta(Path(self.folder, *context.asset_key.path, context.partition_key))


def registered(name: str, frame: pl.DataFrame) -> dg.AssetsDefinition:
    @feature_table(
        datastack="bench",
        name=name,
        owner="bench",
        license="CC0-1.0",
        publish=True,
        key=["id"],
        description="Synapses of a benchmark.",
    )
    def table() -> pl.LazyFrame:
        return frame.lazy()

    return table


def plain(name: str, frame: pl.DataFrame) -> dg.AssetsDefinition:
    @dg.asset(key=["plain", name], partitions_def=mat_versions("bench"), io_manager_key="plain")
    def table() -> pl.LazyFrame:
        return frame.lazy()

    return table


def contenders(name: str, frame: pl.DataFrame, folder: Path) -> dict[str, Callable[[], bool]]:
    registry = FeatureRegistryResource(home=str(folder / "registry"))
    resources = {
        "feature_registry": registry,
        "feature_table_io_manager": FeatureTableIOManager(feature_registry=registry),
        "plain": PlainDelta(folder=str(folder / "tables")),
    }
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("mat_version_bench", [PARTITION])

    def materialized(asset: dg.AssetsDefinition) -> Callable[[], bool]:
        return lambda: (
            dg.materialize(
                [asset], instance=instance, resources=resources, partition_key=PARTITION, run_config=QUIET
            ).success
        )

    return {"feature_table": materialized(registered(name, frame)), "plain": materialized(plain(name, frame))}


def main() -> None:
    rows = size_argument(ROWS)
    preamble("register", f"{rows:,} rows x 15 columns, {ROUNDS} rounds", "dagster", "deltalake", "polars")
    frame = synapses(rows)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tidy = folder / "registry" / "tables", folder / "tables"

        def clear(*_: object) -> None:
            for each in tidy:
                shutil.rmtree(each, ignore_errors=True)

        full = in_turn(contenders("synapses", frame, folder), ROUNDS, after=clear)
        empty = in_turn(contenders("nothing", frame.clear(), folder), EMPTY_ROUNDS, warm_up=2, after=clear)
    for name, runs in (("synapses", full), ("nothing", empty)):
        print(f"\n{name}")
        for contender, timings in runs.items():
            print(f"  {contender:<14}{spread(timings)}")
    extra = 1000 * (median(empty["feature_table"]) - median(empty["plain"]))
    figure("register", "time_ratio", median(full["feature_table"]) / median(full["plain"]), TIME_LIMIT)
    figure("register", "empty_extra_ms", extra, EMPTY_LIMIT_MS)


if __name__ == "__main__":
    main()
