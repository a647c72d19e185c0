from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from feature_registry.cli import app, registering
from feature_registry.client import FeatureRegistry
from feature_registry_tests.deployment import Deployment

ROWS = pl.DataFrame({"id": [2**60, 2**60 + 1], "depth_nm": [1.0, 2.0]})
SAID = {"description": "Rows.", "owner": "lab", "license": "MIT"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    ROWS.write_parquet(tmp_path / "t.parquet")
    return tmp_path / "t.parquet"


def run(deployment: Deployment, *arguments: str, **options: Any) -> Any:
    return CliRunner().invoke(app, ["--server", deployment.settings.api_address, *arguments], **options)


def named(place: Path) -> list[str]:
    return [str(place), "--datastack", "d", "--name", "t", "--mat-version", "7"]


def test_on_a_terminal_the_report_is_shown_and_confirmed(
    deployment: Deployment, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registering, "_on_a_terminal", lambda: True)
    no = run(deployment, "register", *named(place), input="n\n")
    assert (no.exit_code, deployment.registry.newest_event()) == (1, 0)
    assert "would be registered" in no.stdout
    assert "mat_version" in no.stdout
    yes = run(deployment, "register", *named(place), input="y\n")
    assert (yes.exit_code, "d/t@7.0 registered, draft" in yes.stdout) == (0, True)
    again = run(deployment, "register", *named(place), "--yes")
    assert "was registered already" in again.stdout
    assert "Register it?" not in again.stdout


def test_what_would_be_refused_is_not_asked_about(
    deployment: Deployment, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registering, "_on_a_terminal", lambda: True)
    (tmp_path / "said.json").write_text(json.dumps({"columns": {"gone": {}}}))
    result = run(deployment, "register", *named(place), "--metadata", str(tmp_path / "said.json"))
    assert (result.exit_code, "Register it?" in result.stdout) == (1, False)
    assert result.stderr == "error: schema: check failed: not stored: gone\n"
    assert deployment.registry.newest_event() == 0


def test_nobody_is_asked_where_nobody_can_answer(deployment: Deployment, place: Path) -> None:
    assert not sys.stdin.isatty()
    assert run(deployment, "register", *named(place)).exit_code == 0


def test_what_is_suggested_is_taken_by_register(deployment: Deployment, place: Path, tmp_path: Path) -> None:
    result = run(deployment, "suggest", *named(place))
    assert result.exit_code == 0, result.stderr
    assert "unique over 2 rows" in result.stderr
    (tmp_path / "said.json").write_text(result.stdout)
    assert run(deployment, "register", *named(place), "--metadata", str(tmp_path / "said.json")).exit_code == 0
    table = deployment.registry.describe("d/t@7").table
    assert (table.key, table.columns["depth_nm"].unit) == (("id",), "nm")


def test_the_three_doors_say_the_same(deployment: Deployment, place: Path) -> None:
    doors = (FeatureRegistry("d", 7, server=deployment.registry), deployment.client("d", mat_version=7))
    suggested, previewed = ([getattr(door, act)(place, "t") for door in doors] for act in ("suggest", "preview"))
    assert suggested[0] == suggested[1]
    shown = json.loads(run(deployment, "suggest", *named(place), "--json").stdout)
    assert shown == suggested[0].model_dump(mode="json")
    assert [each.outcome for each in previewed[0].checks] == [each.outcome for each in previewed[1].checks]
    for door in doors:
        door.register(place, "t", confirm=previewed[0].confirm)
        assert door.lint() == ()
    assert run(deployment, "lint").exit_code == 0


def test_lint_lists_what_violates_the_policies(deployment: Deployment, place: Path) -> None:
    deployment.client("d", mat_version=7).register(place, "t", publish=True, **SAID)
    strict = {"*": {"publishing_needs": ["description", "citation"]}}
    home = {"FEATURE_REGISTRY_HOME": str(deployment.settings.home), "FEATURE_REGISTRY_POLICIES": json.dumps(strict)}
    result = CliRunner().invoke(app, ["lint", "--json"], env=home)
    assert result.exit_code == 1
    assert [(each["table"], each["field"]) for each in json.loads(result.stdout)] == [("d/t@7.0", "citation")]
    assert "citation" in CliRunner().invoke(app, ["lint", "--datastack", "d"], env=home).stdout
