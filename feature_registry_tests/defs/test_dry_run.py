from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.defs import dry_run
from feature_registry.errors import NotFound, Unavailable
from feature_registry.model import Registration
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.defs.source import Source, Told
from feature_registry_tests.defs.workshop import DATASTACK, SAID

FRAME = pl.DataFrame({"id": [1, 2], "pt_root_id": [3, 4]})


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Of which one table at one version exists."""
    told = Told()
    monkeypatch.setattr(Source, "told", told)
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path))
    monkeypatch.setenv("FEATURE_REGISTRY_VERSION_SOURCE", f"{Source.__module__}:Source")
    monkeypatch.setenv("FEATURE_REGISTRY_DUMP_TABLES", '["n*", "s*"]')
    soon = datetime.now(UTC) + timedelta(days=2)
    told.add(DATASTACK, 943, {"nuclei": FRAME})
    told.add(DATASTACK, 1507, dict.fromkeys(("nuclei", "synapses", "spines", "tags"), FRAME))
    told.add(DATASTACK, 1700, {"nuclei": FRAME}, expires_on=soon, time_stamp=soon - timedelta(days=5))
    registry = Registry(Settings())
    FRAME.write_parquet(tmp_path / "nuclei.parquet")
    place = {"location": tmp_path / "nuclei.parquet", "name": "nuclei", "mat_version": 1507, "publish": True}
    registry.register(Registration.model_validate(SAID | place), by_pipeline=True)
    return registry


def test_a_dry_run_says_what_would_be_dumped_and_what_not(registry: Registry) -> None:
    before = registry.newest_event()
    found = {each.table: each for each in dry_run.planned(registry, None, None)}
    at = f"{DATASTACK}/{{}}@1507"
    assert {name: each.why_not for name, each in found.items()} == {
        at.format("nuclei"): f"exists as {DATASTACK}/nuclei@1507.0",
        at.format("synapses"): None,
        at.format("spines"): None,
        at.format("tags"): "is none of those that are dumped (FEATURE_REGISTRY_DUMP_TABLES)",
    }
    wanted = found[at.format("synapses")]
    assert (wanted.rows, wanted.bytes, wanted.layouts) == (2, 2 * 16, ("by_pt_root_id",))
    assert Source.told.at_once == 0
    [expiring] = dry_run.planned(registry, DATASTACK, 1700)
    assert "expires on" in (expiring.why_not or "")
    assert registry.newest_event() == before


def test_an_alias_is_said_before_the_catalog_knows_of_its_parent(registry: Registry) -> None:
    Source.told.add("public", 1507, {"synapses": FRAME}, parent=DATASTACK)
    [found] = dry_run.planned(registry, "public", None)
    assert (found.alias, found.rows, found.why_not) == (f"{DATASTACK}/synapses@1507", None, None)


def test_a_table_that_cannot_be_asked_for_hides_no_other(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(source: Source, *where: object) -> None:
        raise Unavailable("does not answer")

    monkeypatch.setattr(Source, "table", failing)
    found = [each.why_not for each in dry_run.planned(registry, None, None)]
    assert found.count("does not answer") == 2


def test_what_is_not_announced_is_an_error(registry: Registry) -> None:
    with pytest.raises(NotFound, match="h01"):
        list(dry_run.planned(registry, "h01", None))
    with pytest.raises(NotFound, match="1508"):
        list(dry_run.planned(registry, DATASTACK, 1508))


@pytest.mark.usefixtures("registry")
def test_the_command_prints_a_table_or_json() -> None:
    said = CliRunner().invoke(app, ["dumps"])
    assert said.exit_code == 0
    assert f"{DATASTACK}/synapses@1507" in said.stdout
    assert "would be made" in said.stdout
    listed = json.loads(CliRunner().invoke(app, ["dumps", DATASTACK, "--mat-version", "943", "--json"]).stdout)
    assert [(each["table"], each["why_not"]) for each in listed] == [(f"{DATASTACK}/nuclei@943", None)]
