"""What a terminal is given: it obeys nothing of what a table's texts or columns are called."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.client.text import grid, plain
from feature_registry_tests.deployment import Deployment

EVIL = "a\x1b[31mred\x1b]0;title\x07\r\x9b2J\u202etxt\nstatus: published"
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def test_controls_are_spelled_and_lines_stay_where_they_are() -> None:
    assert plain("\x1b[1m\x9b") == r"\x1b[1m\x9b"
    assert plain("a\nb") == "a b"
    assert plain("a\nb", "  ") == "a\n  b"
    assert plain("ünïcode µm² 神経") == "ünïcode µm² 神経"
    assert grid(("x",), [("a\nb",)]).splitlines() == ["x", "---", "a b"]


@pytest.mark.parametrize(
    "command",
    [
        "show d/t@7",
        "search",
        "search --facets",
        "history d/t",
        "check d/t@7",
        "resolve d/t@7",
        "edit d/t@7 owner=a\x1bb",
    ],
)
def test_commands_give_nothing_that_a_terminal_obeys(deployment: Deployment, tmp_path: Path, command: str) -> None:
    pl.DataFrame({"id": [1], "x\x1b[31m": [2]}).write_parquet(tmp_path / "t.parquet")
    said = dict.fromkeys(["description", "license", "usage_constraints", "citation"], EVIL)
    columns = {"id": {"description": EVIL, "unit": EVIL}}
    producer = dict.fromkeys(["pipeline", "code_version", "model", "config", "run_id"], EVIL)
    client = FeatureRegistry("d", 7, server=deployment.registry)
    made = {"columns": columns, "producer": producer, "owner": {"team": EVIL, "person": EVIL}, "tags": [EVIL]}
    client.register(tmp_path / "t.parquet", "t", corrects=EVIL, publish=True, **said, **made)
    client.deprecate("t", EVIL)
    server = ["--server", deployment.settings.api_address]
    result = CliRunner().invoke(app, [*server, *command.split(" ")], color=True)
    assert result.exit_code == 0, result.output
    assert OBEYED.search(result.output) is None
    assert not re.search("^status: published", result.output, re.MULTILINE)
