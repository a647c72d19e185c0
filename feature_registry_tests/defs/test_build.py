from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import dagster as dg
import polars as pl

from feature_registry import feature_table
from feature_registry.defs.build import build_defs
from feature_registry.settings import Settings
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop


def module() -> ModuleType:
    """A module with a table with versions, one without, and somebody's plain asset."""
    made = ModuleType("tables")

    @feature_table(**SAID, key=["id"])
    def nuclei() -> pl.DataFrame:
        return pl.DataFrame({"id": [1]})

    @feature_table(**SAID, versioned=False)
    def atlas() -> pl.DataFrame:
        return pl.DataFrame({"id": [1]})

    @dg.asset
    def plain() -> None: ...

    vars(made).update(nuclei=nuclei, atlas=atlas, plain=plain)
    return made


def test_definitions_have_jobs_schedules_sensors_and_resources(workshop: Workshop) -> None:
    definitions = build_defs([module()], Settings(home=workshop.folder), workshop.resources)
    dg.Definitions.validate_loadable(definitions)
    jobs = {f"materialize_{DATASTACK}", f"materialize_{DATASTACK}_unversioned"}
    assert jobs <= {job.name for job in definitions.resolve_all_job_defs()}
    repository = definitions.get_repository_def()
    assert {each.name for each in repository.schedule_defs} == {
        f"missing_{DATASTACK}",
        f"missing_{DATASTACK}_unversioned",
    }
    assert {each.name for each in repository.sensor_defs} >= {"new_versions", "catalog_json"}


def test_the_job_of_a_datastack_makes_its_versioned_tables(workshop: Workshop) -> None:
    definitions = build_defs([module()], Settings(home=workshop.folder), workshop.resources)
    job = definitions.resolve_job_def(f"materialize_{DATASTACK}")
    assert job.execute_in_process(partition_key="1507", instance=workshop.instance).success
    assert workshop.registry.find(DATASTACK, "nuclei", 1507) is not None
    assert workshop.registry.find(DATASTACK, "atlas", None) is None


def test_modules_and_resources_come_from_the_settings(tmp_path: Path) -> None:
    sys.modules["tables_of_a_test"] = module()
    try:
        definitions = build_defs(settings=Settings(home=tmp_path, feature_modules=("tables_of_a_test",)))
        keys = {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()}
    finally:
        del sys.modules["tables_of_a_test"]
    assert keys == {f"{DATASTACK}/nuclei", f"{DATASTACK}/atlas", "plain"}
    assert not (tmp_path / "catalog.db").exists()
