"""From a version that appears in CAVE to published tables and aliases: over REST, and out of a real PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest

from feature_registry.demo.cave import FollowedDatastack, FrozenTable, FrozenVersion, StandIn, serving
from feature_registry.settings import Settings
from feature_registry_tests.cave.frozen import FrozenDatabase, live_database, synapses
from feature_registry_tests.defs.daemon import Daemon
from feature_registry_tests.defs.workshop import Workshop

if TYPE_CHECKING:
    import sqlalchemy as sa

MAT_VERSION, TOKEN = 943, "a7c0ffee"
AT = datetime(2025, 1, 1, tzinfo=UTC)
POINTS = ("pt_position", "bb_start_position", "bb_end_position")
NUCLEI = pa.table(
    {
        "id": pa.array([2**60 + 3, 2**60 + 1], pa.int64()),
        "volume": [300.5, None],
        **{f"{point}_{axis}": pa.array([7, 8], pa.int32()) for point in POINTS for axis in "xyz"},
        "pt_supervoxel_id": [2**57, 0],
        "pt_root_id": [864691135000000009, 0],
    }
)
TYPES = pa.table({"id": [1], "target_id": [2**60 + 3], "classification_system": ["exc"], "cell_type": ["23P"]})


@dataclass
class Cave:
    stand_in: StandIn
    database: FrozenDatabase
    whole: str
    public: str

    def release(self, expires_on: datetime | None = None) -> None:
        """The version appears in both datastacks; the public one shows one table of it."""
        said = {"description": "Every nucleus.", "notice_text": "Do not use id 7.", "user_id": "121"}
        tables = {
            "synapses": FrozenTable("synapse", 3_000),
            "nuclei": FrozenTable("nucleus_detection", 2, said=said),
            "cell_types": FrozenTable("cell_type_reference", 1, bound=False, said={"reference_table": "nuclei"}),
        }
        stacks = self.stand_in.datastacks
        stacks[self.whole].versions[MAT_VERSION] = FrozenVersion(AT, expires_on, tables=tables)
        shown = {"nuclei": tables["nuclei"]}
        stacks[self.public].versions[MAT_VERSION] = FrozenVersion(AT, expires_on, tables=shown, parent=self.whole)


@pytest.fixture
def cave(postgresql_server: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cave]:
    server = postgresql_server.set(drivername="postgresql").render_as_string(hide_password=False)
    with ExitStack() as stack:
        database = stack.enter_context(FrozenDatabase.made(server, mat_version=MAT_VERSION))
        database.add("synapses", "synapse", synapses(3_000))
        database.add("nuclei", "nucleus_detection", NUCLEI)
        database.add("cell_types", "cell_type_reference", TYPES)
        whole, public, volume = database.datastack, f"{database.datastack}_public", f"{database.datastack}_volume"
        versions = [(1, whole, MAT_VERSION, None), (2, public, MAT_VERSION, 1)]
        stack.enter_context(live_database(server, volume, versions))
        stacks = {name: FollowedDatastack(volume, "pcg", (4, 4, 40)) for name in (whole, public)}
        stand_in = StandIn(stacks, TOKEN)
        said = {
            "home": tmp_path / "registry",
            "cave_server": stack.enter_context(serving(stand_in)),
            "cave_token": TOKEN,
            "cave_database": server,
            "cave_datastacks": f'["{whole}", "{public}"]',
        }
        for name, value in said.items():
            monkeypatch.setenv(f"FEATURE_REGISTRY_{name.upper()}", str(value))
        yield Cave(stand_in, database, whole, public)


@pytest.fixture
def daemon(cave: Cave, tmp_path: Path) -> Iterator[Daemon]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        workshop = Workshop(tmp_path / "registry", versions=(), instance=instance)
        yield Daemon(workshop, Settings())
        workshop.registry.close()


def published(daemon: Daemon) -> set[str]:
    return {str(entry.ref) for entry in daemon.workshop.registry.contents(drafts=True).entries}


def test_a_new_version_is_dumped_registered_and_aliased_by_itself(cave: Cave, daemon: Daemon) -> None:
    registry, expires = daemon.workshop.registry, datetime(2125, 1, 1, tzinfo=UTC)
    assert daemon.sense()  # there is no version, and it says so
    cave.release(expires)
    daemon.sense()
    asked = daemon.tick()
    assert asked == {(f"{cave.whole}/{name}", "943") for name in ("synapses", "nuclei", "cell_types")}
    daemon.make(asked)
    aliases = daemon.tick()
    assert aliases == {(f"{cave.public}/nuclei", "943")}
    daemon.make(aliases)
    assert daemon.tick() == set()

    entry = registry.describe(f"{cave.public}/nuclei@943")
    assert (entry.table.description, entry.table.usage_constraints) == ("Every nucleus.", "Do not use id 7.")
    assert (entry.table.owner.person, entry.table.key) == ("121", ("id",))
    assert entry.materialization is not None
    assert (entry.materialization.expires_on, entry.materialization.parent) == (expires, cave.whole)
    assert entry.version.derived_from == (f"{cave.whole}/nuclei@943.0",)
    read = registry.scan(entry.version).collect().sort("id")
    assert read.equals(pl.from_arrow(NUCLEI.sort_by("id").select(read.columns)))
    assert entry.table.columns["pt_position_z"].kind.resolution == 40

    entry = registry.describe(f"{cave.whole}/synapses@943")
    read = registry.scan(entry.version).collect()
    assert read["post_pt_root_id"].is_sorted()
    assert read.sort("id").equals(pl.from_arrow(synapses(3_000).select(read.columns)))
    checks = daemon.workshop.checks(f"{cave.whole}/synapses@943")
    assert (checks["database"].outcome, checks["key"].outcome) == ("passed", "passed")
    assert registry.describe(f"{cave.whole}/cell_types@943").table.references == {"target_id": "nuclei.id"}


def test_cave_that_is_down_skips_a_tick_and_what_it_drops_is_marked(cave: Cave, daemon: Daemon) -> None:
    cave.release()
    cave.stand_in.trouble = 503
    assert "503" in daemon.sense()
    cave.stand_in.trouble = None
    daemon.sense()
    assert len(daemon.tick()) == 3
    for stack in cave.stand_in.datastacks.values():
        stack.versions[MAT_VERSION].status, stack.versions[MAT_VERSION].valid = "EXPIRED", False
    daemon.sense()
    [version] = daemon.workshop.registry.mat_versions(cave.public)
    assert (version.status, version.tables, version.parent) == ("expired", ("nuclei",), cave.whole)
    assert daemon.workshop.instance.get_dynamic_partitions(f"mat_version_{cave.public}") == ["943"]


KILLED = """
import os, signal, sys
import dagster as dg
from feature_registry.defs import forecast
from feature_registry.defs.build import build_defs

forecast.Progress.tell = lambda self, rows: os.kill(os.getpid(), signal.SIGKILL)
with dg.DagsterInstance.local_temp(sys.argv[1]) as instance:
    job = build_defs([]).resolve_job_def("materialize_" + sys.argv[2])
    key = dg.AssetKey([sys.argv[2], "synapses"])
    job.execute_in_process(partition_key="943", asset_selection=[key], instance=instance)
"""


@pytest.mark.slow
def test_a_dump_that_is_killed_leaves_nothing_that_is_seen(cave: Cave, daemon: Daemon, tmp_path: Path) -> None:
    cave.release()
    daemon.sense()
    asked: Any = {(f"{cave.whole}/synapses", "943")}
    assert asked <= daemon.tick()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), cave.whole], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert published(daemon) == set()
    daemon.make(asked)
    assert published(daemon) == {f"{cave.whole}/synapses@943.0"}
    assert all("synapses" in str(each.location) for each in daemon.workshop.registry.leftovers(timedelta(0)))
