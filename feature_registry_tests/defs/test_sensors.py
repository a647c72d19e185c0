from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.defs import external, sensors
from feature_registry.defs.jobs import job_name, materialize
from feature_registry.errors import Invalid, NotFound, Unavailable
from feature_registry.model import MaterializationVersion
from feature_registry.settings import Settings
from feature_registry_tests.defs.source import Source, Told
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop


@feature_table(**SAID)
def nuclei() -> pl.DataFrame:
    return pl.DataFrame({"id": [1]})


class Nothing:
    """Is no version source."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(Source, "told", told)
    told.add(DATASTACK, 507)
    told.add(DATASTACK, 1507)
    told.add(DATASTACK, 1600, valid=False)
    return told


def tick(
    workshop: Workshop,
    policy: Any = "latest",
    jobs: bool = True,
    source: str = f"{Source.__module__}:Source",
    cursor: str | None = None,
    keeps: bool = False,
    **said: Any,
) -> Any:
    """The answer; `keeps`: the cursor stays."""
    job = materialize(DATASTACK, [nuclei], versioned=True)
    settings = Settings(home=workshop.folder, version_source=source, materialize=policy, **said)
    sensor = sensors.new_versions([job] if jobs else [], settings)
    definitions = dg.Definitions(assets=[nuclei], jobs=[job], sensors=[sensor], resources=workshop.resources)
    context = dg.build_sensor_context(
        instance=workshop.instance, definitions=definitions, resources=workshop.sensed, cursor=cursor
    )
    answer = sensor(context)
    assert not keeps or context.cursor == cursor
    return answer


def added(answer: Any) -> dict[str, list[str]]:
    return {each.partitions_def_name: list(each.partition_keys) for each in answer.dynamic_partitions_requests}


def known(workshop: Workshop, number: int) -> MaterializationVersion:
    return {each.mat_version: each for each in workshop.registry.mat_versions(DATASTACK)}[number]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(("policy", "wanted"), [("latest", ["1507"]), ("all", ["507", "1507"]), ("none", [])])
def test_new_versions_are_recorded_and_requested_by_policy(tmp_path: Any, policy: Any, wanted: list[str]) -> None:
    workshop = Workshop(tmp_path, versions=())
    answer = tick(workshop, policy)
    assert added(answer) == {f"mat_version_{DATASTACK}": ["507", "1507"]}
    assert [request.partition_key for request in answer.run_requests] == wanted
    assert {request.job_name for request in answer.run_requests} <= {job_name(DATASTACK)}
    assert [each.mat_version for each in workshop.registry.mat_versions(DATASTACK)] == [507, 1507, 1600]
    assert workshop.registry.datastacks()[0].aligned_volume == "minnie65_phase3"


def test_known_versions_are_left_alone(workshop: Workshop, told: Told) -> None:
    assert isinstance(tick(workshop), dg.SkipReason)
    told.add(DATASTACK, 1700)
    assert [request.partition_key for request in tick(workshop, "all").run_requests] == ["1700"]


def test_a_partition_that_was_there_before_its_version_is_no_excuse(workshop: Workshop, told: Told) -> None:
    """A table that was registered from outside brings its partition along."""
    workshop.add_versions(DATASTACK, [1700])
    told.add(DATASTACK, 1700)
    answer = tick(workshop, "all", cursor=json.dumps({DATASTACK: [507, 1507]}))
    assert [request.partition_key for request in answer.run_requests] == ["1700"]
    assert isinstance(tick(workshop, "all", cursor=answer.cursor), dg.SkipReason)


def test_an_older_version_that_appears_late_is_not_the_latest(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 943)
    answer = tick(workshop)
    assert added(answer) == {f"mat_version_{DATASTACK}": ["943"]}
    assert answer.run_requests == []


def test_versions_that_cave_will_drop_have_partitions_and_no_runs(workshop: Workshop, told: Told) -> None:
    soon = datetime.now(UTC) + timedelta(days=2)
    told.add(DATASTACK, 1700, expires_on=soon, time_stamp=soon - timedelta(days=4))
    told.add(DATASTACK, 1701, status="running")
    answer = tick(workshop)
    assert added(answer) == {f"mat_version_{DATASTACK}": ["1700"]}
    assert answer.run_requests == []
    assert [each.partition_key for each in tick(workshop, dump_expiring=True).run_requests] == ["1700"]


def test_a_datastack_that_is_dumped_is_left_to_automation(workshop: Workshop, told: Told) -> None:
    """At its first version too, when no dump is loaded yet."""
    told.add(DATASTACK, 1700, {"synapses": pl.DataFrame({"id": [1]})})
    assert tick(workshop, "all").run_requests == []
    assert len(tick(workshop, "all", dump_tables=("nuclei",)).run_requests) == 1


@pytest.mark.usefixtures("told")
def test_without_tables_of_the_datastack_nothing_runs(tmp_path: Any) -> None:
    assert tick(Workshop(tmp_path, versions=()), "all", jobs=False).run_requests == []


def test_what_cave_has_dropped_is_marked_and_keeps_what_was_known_of_it(workshop: Workshop, told: Told) -> None:
    frame = pl.DataFrame({"id": [1]})
    told.add(DATASTACK, 507, {"nuclei": frame}, parent="minnie65_phase3")
    told.add(DATASTACK, 943, {"nuclei": frame})
    told.add(DATASTACK, 1507, {"nuclei": frame})
    tick(workshop)
    told.add(DATASTACK, 507, status="expired", valid=False)  # as CAVE says it then
    told.add(DATASTACK, 943, {"nuclei": frame}, expires_on=datetime(2025, 2, 1, tzinfo=UTC))
    del told.versions[DATASTACK][1507]
    told.add(DATASTACK, 1700)
    tick(workshop)
    assert {number: known(workshop, number).status for number in (507, 943, 1507, 1700)} == {
        507: "expired",
        943: "expired",
        1507: "expired",
        1700: "available",
    }
    old = known(workshop, 507)
    assert (old.valid, old.tables, old.parent) == (True, ("nuclei",), "minnie65_phase3")
    held = workshop.instance.get_dynamic_partitions(f"mat_version_{DATASTACK}")
    assert {"507", "1507"} <= set(held)
    events = workshop.registry.newest_event()
    tick(workshop)
    assert workshop.registry.newest_event() == events  # said once


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NotFound("is not there", field="database", value="cortex.db"), "cortex.db"),
        (Unavailable("does not answer within 15 s", field="cave_server"), "cave_server"),
        (ValueError("postgresql://cave:secret@host"), "answers nonsense: ValueError"),
    ],
)
def test_a_source_that_fails_skips_the_tick_and_loses_nothing(
    workshop: Workshop, told: Told, error: Exception, said: str
) -> None:
    tick(workshop)
    before = workshop.registry.newest_event()
    told.errors[DATASTACK] = error
    answer = tick(workshop, cursor='{"minnie65_public": [507]}', keeps=True)
    assert isinstance(answer, dg.SkipReason)
    assert said in (answer.skip_message or "")
    assert "secret" not in (answer.skip_message or "")
    assert workshop.registry.newest_event() == before


def test_a_source_that_forgot_all_versions_is_not_believed(workshop: Workshop, told: Told) -> None:
    tick(workshop)
    told.versions[DATASTACK].clear()
    assert "not believed" in (tick(workshop).skip_message or "")
    assert known(workshop, 1507).status == "available"


def test_a_slow_source_is_not_waited_for(workshop: Workshop, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "SECONDS", 0.1)
    monkeypatch.setattr(Source, "datastacks", lambda self: time.sleep(0.5))
    assert "does not answer in time" in (tick(workshop).skip_message or "")


def test_one_datastack_that_fails_does_not_hide_the_others(workshop: Workshop, told: Told) -> None:
    told.add("h01", 3)
    told.errors["h01"] = Unavailable("is down")
    told.add(DATASTACK, 1700)
    assert added(tick(workshop)) == {f"mat_version_{DATASTACK}": ["1700"]}
    told.errors.clear()
    assert added(tick(workshop)) == {f"mat_version_{DATASTACK}": ["1700"], "mat_version_h01": ["3"]}


def test_new_tables_make_the_code_location_load_again(
    workshop: Workshop, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(external, "reload", lambda context, address: asked.append(address))
    told.add(DATASTACK, 1507, {"nuclei": pl.DataFrame({"id": [1]})})
    tick(workshop)
    assert asked == []  # a module defines it
    told.add(DATASTACK, 1507, {"nuclei": pl.DataFrame({"id": [1]}), "synapses": pl.DataFrame({"id": [1]})})
    assert "asked the webserver" in (tick(workshop).skip_message or "")
    assert len(asked) == 1
    [limit] = [each for each in workshop.instance.event_log_storage.get_pool_limits() if each.name == "cave_database"]
    assert limit.limit == 2


def test_a_source_that_is_none_is_named(workshop: Workshop) -> None:
    with pytest.raises(Invalid, match="version_source"):
        tick(workshop, source=f"{__name__}:Missing")
    with pytest.raises(Invalid, match="no version source"):
        tick(workshop, source=f"{__name__}:Nothing")


def refs(exported: str) -> list[str]:
    [table] = json.loads(exported)["tables"]
    return [line["ref"] for line in table["versions"]]


def test_the_catalog_is_exported_when_it_changed(workshop: Workshop) -> None:
    target = workshop.folder / "tables" / "catalog.json"

    def exported(cursor: str | None) -> tuple[str | None, str]:
        context = dg.build_sensor_context(instance=workshop.instance, cursor=cursor, resources=workshop.sensed)
        answer: Any = sensors.catalog_json(context)
        return context.cursor, answer.skip_message or ""

    workshop.make(nuclei)
    cursor, said = exported(None)
    assert said.startswith("Wrote")
    assert refs(target.read_text()) == [f"{DATASTACK}/nuclei@1507.0"]
    target.unlink()
    assert exported(cursor)[1] == "The catalog did not change"
    assert not target.exists()
    workshop.make(nuclei)
    assert exported(cursor)[1].startswith("Wrote")
    assert refs(target.read_text()) == [f"{DATASTACK}/nuclei@1507.0", f"{DATASTACK}/nuclei@1507.1"]
