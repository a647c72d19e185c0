from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest

from feature_registry.cave import ColumnStatistics
from feature_registry.defs import announcements, dumps, forecast
from feature_registry.defs.build import build_defs
from feature_registry.errors import Unavailable
from feature_registry.model import Layout, TableId
from feature_registry.settings import Settings
from feature_registry_tests.defs.source import AT, Rows, Source, Told
from feature_registry_tests.defs.workshop import DATASTACK, QUIET, Workshop

PARENT = "minnie65_phase3"
ID = 2**60
NUCLEI = pl.DataFrame(
    {
        "id": [ID + 3, ID + 1, ID + 2],
        "volume": [300.5, None, 0.25],
        "pt_root_id": [864691135000000009, 864691135000000007, 0],
        "pt_position_x": pl.Series([1, 2, 3], dtype=pl.Int32),
        "pt_position_y": pl.Series([1, 2, 3], dtype=pl.Int32),
        "pt_position_z": pl.Series([1, 2, 3], dtype=pl.Int32),
    }
)
TYPES = pl.DataFrame({"id": [1, 2], "target_id": [ID + 1, ID + 2], "cell_type": ["23P", None]})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(Source, "told", told)
    return told


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Workshop(tmp_path / "registry", versions=(), instance=instance)
        yield made
        made.registry.close()


def settings(workshop: Workshop, **said: Any) -> Settings:
    return Settings(home=workshop.folder, version_source=f"{Source.__module__}:Source", **said)


def announce(workshop: Workshop) -> None:
    found, problems = announcements.heard(Source(), 10)
    assert not problems
    for datastack, versions in found:
        announcements.record(workshop.registry, datastack, versions)
        workshop.add_versions(datastack.name, [each.mat_version for each in versions])


def assets(workshop: Workshop, **said: Any) -> dict[str, dg.AssetsDefinition]:
    made = dumps.assets(settings(workshop, **said), retry=dg.RetryPolicy(max_retries=0))
    return {"/".join(asset.key.path): asset for asset in made}


def dump(workshop: Workshop, key: str, number: int = 1507, succeeds: bool = True, **said: Any) -> Any:
    return workshop.make(assets(workshop, **said)[key], mat_version=number, succeeds=succeeds)


def failure(result: dg.ExecuteInProcessResult) -> str:
    [event] = result.filter_events(lambda event: event.is_step_failure)
    return str(event.step_failure_data.error_display_string)


def test_every_listed_table_is_dumped_with_what_the_source_says_of_it(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI, "cell_types": TYPES})
    told.metadata["nuclei"] = {"description": "All nuclei.", "owner": {"person": "4"}, "tags": ["annotation"]}
    assert assets(workshop) == {}  # nothing is announced yet
    announce(workshop)
    assert sorted(assets(workshop)) == [f"{DATASTACK}/cell_types", f"{DATASTACK}/nuclei"]
    dump(workshop, f"{DATASTACK}/nuclei")
    entry = workshop.registry.describe(f"{DATASTACK}/nuclei@1507")
    assert entry.version.status == "published"
    assert (entry.table.description, entry.table.owner.person, entry.table.key) == ("All nuclei.", "4", ("id",))
    assert entry.table.columns["id"].kind == TableId(table="nuclei")
    assert workshop.registry.scan(entry.version).collect().sort("id").equals(NUCLEI.sort("id"))
    checks = workshop.checks(f"{DATASTACK}/nuclei@1507")
    assert (checks["database"].outcome, checks["database"].blocking) == ("passed", True)
    assert checks["key"].outcome == "passed"
    assert told.at_once == 0  # the connection is closed
    dump(workshop, f"{DATASTACK}/cell_types")
    assert workshop.registry.describe(f"{DATASTACK}/cell_types@1507").table.owner.team == "CAVE"


def test_patterns_and_followed_datastacks_choose_the_tables(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 943, {"nuclei": NUCLEI, "nuclei_old": NUCLEI, "no name!": NUCLEI})
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI, "cell_types": TYPES})
    announce(workshop)
    assert sorted(assets(workshop)) == [f"{DATASTACK}/{name}" for name in ("cell_types", "nuclei", "nuclei_old")]
    assert sorted(assets(workshop, dump_tables=("nuclei*",))) == [f"{DATASTACK}/nuclei", f"{DATASTACK}/nuclei_old"]
    assert assets(workshop, cave_datastacks=("h01",)) == {}


def test_layouts_follow_from_the_columns() -> None:
    synapses = [
        "id",
        "pre_pt_root_id",
        "ctr_pt_position_x",
        "ctr_pt_position_y",
        "ctr_pt_position_z",
        "post_pt_root_id",
    ]
    assert [(each.name, each.sort_by, each.curve) for each in dumps.arrangements(synapses)] == [
        ("by_post_pt_root_id", ("post_pt_root_id", "id"), None),
        ("by_pre_pt_root_id", ("pre_pt_root_id", "id"), None),
        ("by_ctr_pt_position", ("ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z"), "morton"),
    ]
    assert [each.name for each in dumps.arrangements(["id", "target_id", "pt_root_id"])] == [
        "by_pt_root_id",
        "by_target_id",
    ]
    assert [each.name for each in dumps.arrangements(["id", "tag"])] == ["by_id"]
    assert dumps.arrangements(["tag"]) == ()


def test_rows_are_sorted_as_most_readers_need_them(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI})
    announce(workshop)
    dump(workshop, f"{DATASTACK}/nuclei")
    version = workshop.registry.describe(f"{DATASTACK}/nuclei").version
    assert [each.name for each in version.layouts] == ["by_pt_root_id"]  # a small table gets one
    assert workshop.registry.scan(version).collect()["pt_root_id"].is_sorted()
    said = {"nuclei": [Layout(name="by_volume", sort_by=("volume",))]}
    [asset] = dumps.assets(settings(workshop), layouts=said)
    workshop.make(asset)
    version = workshop.registry.describe(f"{DATASTACK}/nuclei").version
    assert (version.revision, [each.name for each in version.layouts]) == (1, ["by_volume"])


def test_a_table_that_is_not_as_in_the_database_stays_a_draft(
    workshop: Workshop, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI})
    announce(workshop)
    statistics = Rows.statistics

    def other(rows: Rows) -> list[ColumnStatistics]:
        [key, volume, *others] = statistics(rows)
        return [replace(key, total=key.total + 1), replace(volume, nulls=2), *others]

    monkeypatch.setattr(Rows, "statistics", other)
    dump(workshop, f"{DATASTACK}/nuclei", succeeds=False)
    [entry] = workshop.registry.contents(drafts=True).entries
    assert entry.version.status == "draft"
    [check] = [check for check in entry.version.checks if check.name == "database"]
    assert check.message == (
        f"id: total {3 * ID + 6}, in the database {3 * ID + 7}; volume: nulls 1, in the database 2"
    )


def test_a_dump_that_dies_leaves_nothing_and_starts_again(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI})
    told.errors["nuclei"] = Unavailable("the connection is lost")
    announce(workshop)
    dump(workshop, f"{DATASTACK}/nuclei", succeeds=False)
    assert workshop.registry.contents(drafts=True).entries == ()
    assert workshop.files() == []
    assert told.at_once == 0

    class Once(dict[str, Exception]):
        def get(self, name: str, default: Any = None) -> Any:
            return self.pop(name, default)

    told.errors = Once(nuclei=Unavailable("the connection is lost"))
    [asset] = dumps.assets(settings(workshop), retry=dg.RetryPolicy(max_retries=1, delay=0))
    workshop.make(asset)
    assert workshop.registry.describe(f"{DATASTACK}/nuclei@1507").version.revision == 0
    assert told.opened == 3


def test_two_runs_of_one_partition_are_both_kept_and_said(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI})
    announce(workshop)
    dumps.limit(workshop.instance, settings(workshop, cave_connections=2))
    told.seconds = 0.5
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda _: dump(workshop, f"{DATASTACK}/nuclei"), range(2)))
    entries = workshop.registry.contents().entries
    assert [(entry.version.revision, entry.version.status) for entry in entries] == [(0, "published"), (1, "published")]
    said = {check.name: check for check in entries[1].version.checks}["concurrent"]
    assert (said.outcome, said.blocking) == ("warned", False)
    assert f"{DATASTACK}/nuclei@1507.0" in said.message


def test_never_more_than_the_limit_run_at_once(workshop: Workshop, told: Told) -> None:
    names = [f"table_{number}" for number in range(5)]
    told.add(DATASTACK, 1507, dict.fromkeys(names, TYPES))
    announce(workshop)
    dumps.limit(workshop.instance, settings(workshop, cave_connections=2))
    told.seconds = 0.5
    made = assets(workshop)
    with ThreadPoolExecutor(5) as threads:
        list(threads.map(lambda name: workshop.make(made[f"{DATASTACK}/{name}"]), names))
    assert (told.opened, told.most) == (5, 2)
    assert len(workshop.registry.contents().entries) == 5


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"valid": False}, "is not valid"),
        ({"status": "running"}, "is running"),
        ({"expires_on": AT}, "is expired"),
        ({"expires_on": datetime.now(UTC) + timedelta(hours=1)}, "not begun: 1,000,000,000 rows at 200,000 a second"),
    ],
)
def test_what_cannot_be_dumped_is_not_begun(workshop: Workshop, told: Told, said: Any, message: str) -> None:
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI}, **said)
    told.rows["nuclei"] = 1_000_000_000
    announce(workshop)
    result = dump(workshop, f"{DATASTACK}/nuclei", succeeds=False)
    assert message in failure(result)
    assert told.opened == 0


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    workshop: Workshop, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI})
    announce(workshop)
    monkeypatch.setattr(forecast.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    result = dump(workshop, f"{DATASTACK}/nuclei", succeeds=False)
    # 3 rows of 36 bytes: two layouts, and once more to sort
    assert "has 100 bytes free, and the dump may take 324" in failure(result)
    assert told.at_once == 0


def test_a_table_that_the_version_does_not_list_is_no_failure(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 943, {"cell_types": TYPES})
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI})
    announce(workshop)
    result = dump(workshop, f"{DATASTACK}/nuclei", 943)
    assert result.get_asset_materialization_events() == []
    assert workshop.registry.contents(drafts=True).entries == ()


def test_a_virtual_versions_tables_are_aliases_of_its_parents(workshop: Workshop, told: Told) -> None:
    told.add(PARENT, 1507, {"nuclei": NUCLEI, "cell_types": TYPES})
    told.add(DATASTACK, 1507, {"nuclei": NUCLEI}, parent=PARENT)
    told.metadata["nuclei"] = {"description": "All nuclei, for the public."}
    announce(workshop)
    assert sorted(assets(workshop)) == [f"{PARENT}/cell_types", f"{PARENT}/nuclei", f"{DATASTACK}/nuclei"]
    [dep] = assets(workshop)[f"{DATASTACK}/nuclei"].specs_by_key[dg.AssetKey([DATASTACK, "nuclei"])].deps
    assert (dep.asset_key, dep.partition_mapping) == (dg.AssetKey([PARENT, "nuclei"]), dg.IdentityPartitionMapping())
    assert "is not published" in failure(dump(workshop, f"{DATASTACK}/nuclei", succeeds=False))
    dump(workshop, f"{PARENT}/nuclei")
    dump(workshop, f"{DATASTACK}/nuclei")
    parent = workshop.registry.describe(f"{PARENT}/nuclei").version
    entry = workshop.registry.describe(f"{DATASTACK}/nuclei")
    assert entry.version.inspection.location == parent.inspection.location
    assert entry.version.layouts == parent.layouts
    assert entry.version.derived_from == (f"{PARENT}/nuclei@1507.0",)
    assert (entry.version.status, entry.table.description) == ("published", "All nuclei, for the public.")
    assert workshop.checks(f"{DATASTACK}/nuclei")["location"].outcome == "passed"
    assert told.opened == 1


def test_one_bad_table_does_not_keep_the_others_from_being_made(
    workshop: Workshop, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumps, "RETRY", dg.RetryPolicy(max_retries=1, delay=0))
    told.add(DATASTACK, 1507, {"bad": NUCLEI, "cell_types": TYPES, "nuclei": NUCLEI})
    told.errors["bad"] = Unavailable("the connection is lost")
    announce(workshop)
    defs = build_defs([], settings(workshop), workshop.resources)
    job = defs.resolve_job_def(f"materialize_{DATASTACK}")
    result = job.execute_in_process(
        partition_key="1507", instance=workshop.instance, run_config=QUIET, raise_on_error=False
    )
    assert not result.success
    assert {entry.table.name for entry in workshop.registry.contents().entries} == {"cell_types", "nuclei"}
    schedule = defs.get_repository_def().get_schedule_def(f"missing_{DATASTACK}")
    with dg.build_schedule_context(instance=workshop.instance, resources=workshop.sensed) as context:
        [request] = schedule(context)
    assert (request.partition_key, request.asset_selection) == ("1507", [dg.AssetKey([DATASTACK, "bad"])])
