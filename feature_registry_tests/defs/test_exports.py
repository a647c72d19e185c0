"""Dumps through a stand-in of CAVE's exporter, which writes real Delta tables, over HTTP."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from feature_registry.cave import SourceTable, exporter
from feature_registry.cave.exporter import Exporter
from feature_registry.defs import dumps, exports
from feature_registry.defs.feature_table import feature_table
from feature_registry.demo.cave import FollowedDatastack, FrozenVersion, StandIn, serving
from feature_registry.demo.exporter import Exports
from feature_registry.location import Location
from feature_registry.model import Datastack, Entry, Layout, Search, Written
from feature_registry.settings import Settings
from feature_registry_tests.defs.source import Source, Told
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop

TOKEN = "cave-token-of-a-test"
ROWS = 1_000
FIRST = 864691136041487043
SYNAPSES = SourceTable(DATASTACK, 1507, "synapses", segmentation="minnie3_v1")
AXES = ("ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z")
LAYOUTS = (
    Layout(name="by_pre", sort_by=("pre_pt_root_id",)),
    Layout(name="by_place", sort_by=AXES, curve="morton"),
)


def point(*axes: float) -> bytes:
    return b"\x01\x01\x00\x00\x80" + struct.pack("<3d", *axes)


def synapses(datastack: str, mat_version: int, name: str) -> pa.Table | None:
    if (datastack, mat_version, name) != (DATASTACK, 1507, "synapses"):
        return None
    numbers = range(ROWS)
    return pa.table(
        {
            "id": pa.array(numbers, pa.int64()),
            "created": pa.array(["2020"] * ROWS),
            "pre_pt_position": pa.array([point(n, n + 1, n + 2) for n in numbers], pa.binary()),
            "ctr_pt_position": pa.array([point(n % 32, n // 32, 7) for n in numbers], pa.binary()),
            "post_pt_position": pa.array([point(n, 0, 0) for n in numbers], pa.binary()),
            "pre_pt_root_id": pa.array([FIRST + n * 7919 % ROWS for n in numbers], pa.int64()),
        }
    )


@dataclass
class Site:
    """A workshop, and the exporter that it dumps through."""

    workshop: Workshop
    exports: Exports

    def dump(self, layouts: Sequence[Layout] = LAYOUTS, succeeds: bool = True) -> dg.ExecuteInProcessResult:
        @feature_table(**SAID, name="synapses")
        def made(context: dg.AssetExecutionContext) -> Written:
            return exports.dump(context, self.workshop.registry, SYNAPSES, layouts, lambda names: {"key": ("id",)})

        return self.workshop.make(made, succeeds=succeeds)

    @property
    def entries(self) -> tuple[Entry, ...]:
        return self.workshop.registry.search(Search(name="synapses", columns=True)).entries

    @property
    def folder(self) -> Path:
        return self.exports.root / DATASTACK / "v1507" / "synapses"


@pytest.fixture
def site(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Exports(tmp_path / "bucket", synapses, rows_per_batch=300)
    version = FrozenVersion(datetime(2025, 1, 1, tzinfo=UTC))
    known = {DATASTACK: FollowedDatastack("minnie65", "minnie3_v1", (4, 4, 40), {1507: version})}
    monkeypatch.setattr(exporter, "SHORTEST", 0.01)
    with serving(StandIn(known, TOKEN), *made.routes()) as address:
        monkeypatch.setenv("FEATURE_REGISTRY_CAVE_SERVER", address)
        monkeypatch.setenv("FEATURE_REGISTRY_CAVE_TOKEN", TOKEN)
        monkeypatch.setenv("FEATURE_REGISTRY_CAVE_EXPORTS", str(made.root))
        yield Site(workshop, made)


def test_a_complete_export_is_a_table_version_of_its_layouts(site: Site) -> None:
    site.dump()
    (entry,) = site.entries
    version = entry.version
    assert version.status == "published"
    assert version.inspection.location == Location(site.folder)
    assert version.inspection.rows == ROWS
    assert version.layouts == LAYOUTS
    assert [each.partition_columns for each in version.inspection.layouts] == [
        ("pre_pt_root_id_partition",),
        ("ctr_pt_position_morton_partition",),
    ]
    columns = ["id", *(f"{each}_pt_position_{axis}" for each in ("pre", "ctr") for axis in "xyz"), "post_pt_position"]
    assert set(columns) < {field.name for field in version.inspection.fields}
    frame = site.workshop.registry.scan(version).sort("id").collect()
    assert frame["id"].to_list() == list(range(ROWS))
    assert frame["pre_pt_root_id"].to_list() == [FIRST + n * 7919 % ROWS for n in range(ROWS)]
    assert frame.select("pre_pt_position_x", "ctr_pt_position_y").row(77) == (77, 2)


def test_dumps_go_through_the_exporter_where_settings_say_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    said, registry = Told(), site.workshop.registry
    said.add(DATASTACK, 1507, {"synapses": pl.DataFrame({"id": [1]})})
    monkeypatch.setattr(Source, "told", said)
    registry.record_datastack(Datastack(name=DATASTACK))
    registry.record_versions(said.versions[DATASTACK].values())
    source = f"{Source.__module__}:Source"
    settings = Settings(home=site.workshop.folder, version_source=source, dump_via="exporter")
    (asset,) = dumps.assets(settings, layouts={"synapses": LAYOUTS})
    site.workshop.make(asset)
    (entry,) = site.entries
    assert (entry.version.layouts, entry.version.inspection.rows) == (LAYOUTS, ROWS)
    checks = {check.name: check.outcome for check in entry.version.checks}
    assert (checks["database"], checks["exporter"], checks["key"]) == ("skipped", "warned", "passed")


def test_what_was_not_decoded_is_said(site: Site) -> None:
    site.dump()
    (entry,) = site.entries
    checks = {check.name: check for check in entry.version.checks}
    assert checks["exporter"].outcome == "warned"
    assert checks["exporter"].details == {"undecoded": ["post_pt_position"], "partitions": []}
    assert "did not decode" in entry.table.columns["post_pt_position"].description
    assert "Morton code" in entry.table.columns["ctr_pt_position_morton"].description


def test_one_layout_lies_in_its_folder(site: Site) -> None:
    site.dump(LAYOUTS[:1])
    (entry,) = site.entries
    assert entry.version.inspection.location == Location(site.folder / "by_pre")
    assert entry.version.inspection.partition_columns == ("pre_pt_root_id_partition",)
    checks = {check.name: check for check in entry.version.checks}
    assert checks["exporter"].details["partitions"] == ["pre_pt_root_id_partition"]
    assert "hash of pre_pt_root_id" in entry.table.columns["pre_pt_root_id_partition"].description


def test_without_layouts_cave_chooses_them(site: Site) -> None:
    site.dump(())
    (entry,) = site.entries
    assert entry.version.layouts == (
        Layout(name="ctr_pt_position_morton", sort_by=AXES, curve="morton"),
        Layout(name="id", sort_by=("id",)),
        Layout(name="pre_pt_root_id", sort_by=("pre_pt_root_id",)),
    )
    checks = {check.name: check for check in entry.version.checks}
    assert checks["exporter"].details["undecoded"] == ["pre_pt_position", "post_pt_position"]


def test_a_failed_export_registers_nothing(site: Site) -> None:
    site.exports.fault = "could not flush to postgresql://cave:hunter2@10.0.0.1/x"
    failed = site.dump(succeeds=False)
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    text = str(failure.event_specific_data)
    assert "CAVE's export failed: could not flush to postgresql://***@10.0.0.1/x" in text
    assert "hunter2" not in text
    assert TOKEN not in text
    assert site.folder.exists()
    assert not site.entries
    site.exports.fault = None
    assert not site.dump(succeeds=False).success  # or CAVE would append
    assert len(site.exports.jobs) == 1


def test_a_dead_step_finds_its_job(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """While CAVE appends; what is there then is not registered, and the next step waits for the same job."""
    site.exports.seconds = 0.2
    seen: list[int] = []

    def dying(self: Exporter, table: SourceTable, job: str | None, told: Any) -> Any:
        while not (site.folder / "by_pre" / "_delta_log").exists():
            time.sleep(0.01)
        seen.append(DeltaTable(site.folder / "by_pre").count())
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Exporter, "follow", dying)
        with pytest.raises(KeyboardInterrupt):
            site.dump()
    assert 0 < seen[0] < ROWS
    assert not site.entries
    site.exports.seconds = 0.0
    site.dump()
    assert len(site.exports.jobs) == 1
    assert [entry.version.inspection.rows for entry in site.entries] == [ROWS]


def test_a_second_run_takes_what_is_complete(site: Site) -> None:
    site.dump()
    site.dump()
    assert len(site.exports.jobs) == 1
    assert [entry.version.revision for entry in site.entries] == [0]


def test_files_of_an_unknown_job_are_left_alone(site: Site) -> None:
    site.dump()
    site.exports.jobs.clear()
    failed = site.dump(succeeds=False)
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert "holds files of an export that failed, or that CAVE has forgotten" in str(failure.event_specific_data)
    assert site.exports.jobs == {}


def test_rows_that_two_jobs_wrote_are_refused(site: Site) -> None:
    """A run died before it could keep its job's id, and CAVE appends to what has as many rows as the table."""
    once = site.exports.run

    def run(job: str, **which: Any) -> None:
        once("forgotten", **which)
        once(job, **which)

    site.exports.run = run  # type: ignore[assignment, method-assign]
    failed = site.dump(succeeds=False)
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert f"rows={ROWS}: is not what the files hold (expected: {2 * ROWS})" in str(failure.event_specific_data)
    assert not site.entries
