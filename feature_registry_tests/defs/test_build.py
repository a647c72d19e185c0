from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import dagster as dg
import polars as pl
from fastapi.testclient import TestClient

from feature_registry import feature_table
from feature_registry.api import create_app
from feature_registry.defs.build import build_defs
from feature_registry.model import Search
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
        "check_registered",
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


ONE_FILE = """
import polars as pl

from feature_registry import Column, feature_table


@feature_table(
    datastack="minnie65_public", owner="celltypes-team", key=["nucleus_id"], license="CC-BY-4.0", publish=True,
    description="Shape of the nucleus of every cell.",
    columns={"nucleus_volume": Column("Volume of the nucleus", unit="um^3", type="float64")},
)
def nucleus_shapes() -> pl.DataFrame:
    return pl.DataFrame({"nucleus_id": [1, 2], "nucleus_volume": [300.0, 280.5]})
"""


def test_one_file_of_fifteen_lines_is_a_feature_table(workshop: Workshop) -> None:
    assert len(ONE_FILE.strip().splitlines()) <= 15
    made = ModuleType("one_file")
    exec(compile(ONE_FILE, "one_file", "exec"), vars(made))
    definitions = build_defs([made], Settings(home=workshop.folder), workshop.resources)
    [spec] = definitions.resolve_all_asset_specs()
    assert spec.partitions_def is not None
    job = definitions.resolve_job_def(f"materialize_{DATASTACK}")
    result = job.execute_in_process(partition_key="1507", instance=workshop.instance)
    assert {each.check_name: each.passed for each in result.get_asset_check_evaluations()} == {
        "schema": True,
        "key": True,
    }
    [entry] = workshop.registry.search(Search(text="nucleus volume")).entries
    assert str(entry.ref) == f"{DATASTACK}/nucleus_shapes@1507.0"
    with TestClient(create_app(workshop.registry)) as api:
        assert api.get(f"/v1/tables/{DATASTACK}/nucleus_shapes@1507").json()["table"]["license"] == "CC-BY-4.0"
        plan = api.post("/v1/plans", json={"table": f"{DATASTACK}/nucleus_shapes@1507"}).json()
        assert plan["cost"]["rows"] == 2
    assert "nucleus_shapes" in workshop.registry.export("catalog_json")
