from __future__ import annotations

from types import ModuleType

import dagster as dg
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.defs.build import build_defs
from feature_registry.model import Policies, Rule
from feature_registry.settings import Settings
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop


def module(ids: list[int]) -> ModuleType:
    made = ModuleType("tables")

    @feature_table(**SAID)
    def nuclei() -> pl.DataFrame:
        return pl.DataFrame({"id": [1, 2, 3, 5]})

    @feature_table(**SAID, references={"nucleus_id": "nuclei.id"})
    def shapes(nuclei: pl.LazyFrame) -> pl.DataFrame:
        return pl.DataFrame({"nucleus_id": ids})

    vars(made).update(nuclei=nuclei, shapes=shapes)
    return made


@pytest.mark.row("C15")
def test_a_violated_rule_fails_its_check_until_a_backfill(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = {DATASTACK: Policies(rules={"covered": Rule(kind="coverage", table="shapes")})}
    monkeypatch.setenv("FEATURE_REGISTRY_POLICIES", f'{{"{DATASTACK}": {policies[DATASTACK].model_dump_json()}}}')
    settings = Settings(home=workshop.folder)
    for ids, passed in (([1, 5], False), ([1, 2, 3, 5], True)):
        definitions = build_defs([module(ids)], settings, workshop.resources)
        work = definitions.resolve_job_def(f"materialize_{DATASTACK}")
        assert work.execute_in_process(partition_key="1507", instance=workshop.instance).success
        result = definitions.resolve_job_def("check_rules").execute_in_process(instance=workshop.instance)
        [found] = result.get_asset_check_evaluations()
        assert (found.check_name, found.passed) == ("rule_covered", passed)
        said = [str(each.value) for each in found.metadata.values()]
        assert any("2-3" in text for text in said) is not passed
    assert "check_rules_schedule" in {each.name for each in definitions.get_repository_def().schedule_defs}
    assert isinstance(definitions, dg.Definitions)
