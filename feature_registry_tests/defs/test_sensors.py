from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import dagster as dg
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.cave import Rows, SourceTable
from feature_registry.defs import sensors
from feature_registry.defs.jobs import job_name, materialize
from feature_registry.errors import Invalid, NotFound, Unavailable
from feature_registry.model import Datastack, MaterializationVersion
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop


@feature_table(**SAID)
def nuclei() -> pl.DataFrame:
    return pl.DataFrame({"id": [1]})


class Versions:
    """A version source that says what a test told it."""

    numbers: ClassVar[dict[int, bool]] = {}
    error: ClassVar[Exception | None] = None

    def datastacks(self) -> list[Datastack]:
        if self.error is not None:
            raise self.error
        return [Datastack(name=DATASTACK, aligned_volume="minnie65_phase3")]

    def versions(self, datastack: str) -> list[MaterializationVersion]:
        at = datetime(2025, 1, 1, tzinfo=UTC)
        return [
            MaterializationVersion(datastack=datastack, mat_version=number, time_stamp=at, valid=valid)
            for number, valid in self.numbers.items()
        ]

    def table(self, datastack: str, mat_version: int, name: str) -> SourceTable:
        return SourceTable(datastack, mat_version, name)

    def rows(self, table: SourceTable) -> Rows:
        raise Unavailable("has no rows")


class Nothing:
    """Is no version source."""


@pytest.fixture(autouse=True)
def _told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Versions, "numbers", {507: True, 1507: True, 1600: False})
    monkeypatch.setattr(Versions, "error", None)
    yield


def tick(
    workshop: Workshop, policy: Any = "latest", jobs: bool = True, source: str = "Versions", cursor: str | None = None
) -> Any:
    job = materialize(DATASTACK, [nuclei], versioned=True)
    sensor = sensors.new_versions([job] if jobs else [], f"{__name__}:{source}", policy)
    definitions = dg.Definitions(assets=[nuclei], jobs=[job], sensors=[sensor], resources=workshop.resources)
    context = dg.build_sensor_context(
        instance=workshop.instance, definitions=definitions, resources=workshop.sensed, cursor=cursor
    )
    return sensor(context)


@pytest.mark.parametrize(("policy", "wanted"), [("latest", ["1507"]), ("all", ["507", "1507"]), ("none", [])])
def test_new_versions_are_recorded_and_requested_by_policy(tmp_path: Any, policy: Any, wanted: list[str]) -> None:
    workshop = Workshop(tmp_path, versions=())
    answer = tick(workshop, policy)
    [added] = answer.dynamic_partitions_requests
    assert (added.partitions_def_name, list(added.partition_keys)) == (f"mat_version_{DATASTACK}", ["507", "1507"])
    assert [request.partition_key for request in answer.run_requests] == wanted
    assert {request.job_name for request in answer.run_requests} <= {job_name(DATASTACK)}
    assert [each.mat_version for each in workshop.registry.mat_versions(DATASTACK)] == [507, 1507, 1600]
    assert workshop.registry.datastacks()[0].aligned_volume == "minnie65_phase3"


def test_known_versions_are_left_alone(workshop: Workshop) -> None:
    assert isinstance(tick(workshop), dg.SkipReason)
    Versions.numbers[1700] = True
    assert [request.partition_key for request in tick(workshop, "all").run_requests] == ["1700"]


def test_a_partition_that_was_there_before_its_version_is_no_excuse(workshop: Workshop) -> None:
    """A table that was registered from outside brings its partition along."""
    workshop.add_versions(DATASTACK, [1700])
    Versions.numbers[1700] = True
    answer = tick(workshop, "all", cursor='["507", "1507"]')
    assert [request.partition_key for request in answer.run_requests] == ["1700"]
    assert isinstance(tick(workshop, "all", cursor=answer.cursor), dg.SkipReason)


def test_an_older_version_that_appears_late_is_not_the_latest(workshop: Workshop) -> None:
    Versions.numbers[943] = True
    answer = tick(workshop)
    assert [list(each.partition_keys) for each in answer.dynamic_partitions_requests] == [["943"]]
    assert answer.run_requests == []


def test_without_tables_of_the_datastack_nothing_runs(tmp_path: Any) -> None:
    assert tick(Workshop(tmp_path, versions=()), "all", jobs=False).run_requests == []


def test_a_source_without_data_is_waited_for(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Versions, "error", NotFound("is not there", field="database", value="cortex.db"))
    answer = tick(workshop)
    assert isinstance(answer, dg.SkipReason)
    assert "cortex.db" in (answer.skip_message or "")


def test_a_source_that_does_not_answer_fails_the_tick(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Versions, "error", Unavailable("does not answer"))
    with pytest.raises(Unavailable):
        tick(workshop)


def test_a_source_that_is_none_is_named(workshop: Workshop) -> None:
    with pytest.raises(Invalid, match="version_source"):
        tick(workshop, source="Missing")
    with pytest.raises(Invalid, match="no version source"):
        tick(workshop, source="Nothing")


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
