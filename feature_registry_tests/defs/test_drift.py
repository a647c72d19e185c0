from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.defs import drift, metadata
from feature_registry.defs.build import build_defs
from feature_registry.model import Registration
from feature_registry.settings import Settings
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop


@feature_table(**SAID, key=["id"])
def nuclei() -> pl.DataFrame:
    return pl.DataFrame({"id": [1, 2]})


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """With a feature table that was made at 1507, and a table from outside. Schedules open the instance again."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Workshop(tmp_path / "registry", instance=instance)
        made.make(nuclei)
        folder = tmp_path / "spines"
        folder.mkdir()
        pl.DataFrame({"id": [1]}).write_parquet(folder / "0.parquet")
        said: dict[str, Any] = {**SAID, "mat_version": None, "name": "spines"}
        made.registry.register(Registration(location=folder, **said))
        yield made
        made.registry.close()


def built(workshop: Workshop) -> dg.Definitions:
    module = ModuleType("tables")
    module.nuclei = nuclei  # type: ignore[attr-defined]
    return build_defs([module], Settings(home=workshop.folder), workshop.resources)


def tonight(workshop: Workshop, definitions: dg.Definitions) -> list[str]:
    """The tables that the schedule asks for."""
    schedule = definitions.resolve_schedule_def("check_registered")
    with dg.build_schedule_context(instance=workshop.instance, resources=workshop.sensed) as context:
        request: Any = schedule(context)
    assert {each.name for each in request.asset_check_keys} == {"drift"}
    return sorted(each.asset_key.path[-1] for each in request.asset_check_keys)


def looked(workshop: Workshop, definitions: dg.Definitions) -> dict[str, Any]:
    result = definitions.resolve_job_def("check_registered").execute_in_process(instance=workshop.instance)
    assert result.success
    return {each.asset_key.path[-1]: each for each in result.get_asset_check_evaluations()}


@pytest.mark.row("D1")
@pytest.mark.row("D2")
def test_every_table_is_looked_at_and_shows_what_drifted(workshop: Workshop, tmp_path: Path) -> None:
    definitions = built(workshop)
    dg.Definitions.validate_loadable(definitions)
    assert tonight(workshop, definitions) == ["nuclei", "spines"]
    assert {name: each.passed for name, each in looked(workshop, definitions).items()} == {
        "nuclei": True,
        "spines": True,
    }
    shutil.rmtree(tmp_path / "spines")
    found = looked(workshop, definitions)
    assert found["nuclei"].passed
    assert not found["spines"].passed
    assert found["spines"].severity == dg.AssetCheckSeverity.ERROR
    assert "nothing is left" in found["spines"].metadata[f"{DATASTACK}/spines@unversioned.0: exists"].value
    assert workshop.registry.describe(f"{DATASTACK}/spines").existence == "missing"
    assert workshop.registry.describe(f"{DATASTACK}/spines").version.status == "published"


def test_at_night_come_those_that_were_unchecked_longest(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "VERSIONS_A_NIGHT", 1)
    definitions = built(workshop)
    workshop.registry.check(f"{DATASTACK}/nuclei@1507")
    assert tonight(workshop, definitions) == ["spines"]
    workshop.registry.check(f"{DATASTACK}/spines")
    assert tonight(workshop, definitions) == ["nuclei"]


def test_a_table_that_is_made_is_not_looked_at_at_once(workshop: Workshop) -> None:
    job = built(workshop).resolve_job_def(f"materialize_{DATASTACK}")
    result = job.execute_in_process(partition_key="507", instance=workshop.instance)
    assert sorted(each.check_name for each in result.get_asset_check_evaluations()) == ["key", "schema"]


def test_that_it_was_looked_at_changes_nothing_that_dagster_remembers(workshop: Workshop) -> None:
    ref = f"{DATASTACK}/nuclei@1507"
    first, second = workshop.registry.check(ref), workshop.registry.check(ref)
    assert first != second
    assert metadata.plain(first) == metadata.plain(second)
    assert metadata.of_entry(second)["feature_registry/existence"] == "verified"


def test_without_tables_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    definitions = build_defs([], Settings(home=tmp_path))
    assert "check_registered" not in {job.name for job in definitions.resolve_all_job_defs()}
