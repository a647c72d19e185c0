"""The same look at what is registered, in Python, over HTTP and on the command line, and who is told what it found."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry, http
from feature_registry.client.text import card
from feature_registry.errors import RegistryError
from feature_registry_tests.deployment import Deployment

ROWS = pl.DataFrame({"id": range(100), "size": range(100)})


@pytest.fixture(params=["http", "embedded"])
def client(request: pytest.FixtureRequest, deployment: Deployment, tmp_path: Path) -> FeatureRegistry:
    """With the tables a, b and c at 7."""
    server: Any = deployment.settings.api_address if request.param == "http" else deployment.registry
    made = FeatureRegistry("d", 7, server=server)
    ROWS.write_delta(tmp_path / "c")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ROWS.write_parquet(tmp_path / name / "0.parquet")
    for name in ("a", "b", "c"):
        said = {"description": "A.", "owner": "lab", "license": "CC0-1.0"}
        made.register(tmp_path / name, name, publish=True, **said)
    return made


@pytest.mark.row("D1")
@pytest.mark.row("D2")
def test_whoever_reads_it_is_told(client: FeatureRegistry, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert client["a"].to_polars().height == 100
    ROWS.head(50).write_parquet(tmp_path / "a" / "0.parquet")
    shutil.rmtree(tmp_path / "b")
    assert client.check("a").existence == "verified"
    assert client.check("b").existence == "missing"
    found = client["a"].entry.warnings
    assert [text.split(": ")[1] for text in found] == ["content", "rows"]
    assert client["a"].plan(dry_run=True).warnings == found
    with pytest.raises(RegistryError, match="`check` says"):
        client["a"].to_polars()
    client["c"].plan(dry_run=True)  # tells by its warnings
    ROWS.write_delta(tmp_path / "c", mode="append")
    client.check("c")
    with pytest.warns(UserWarning, match="c@7.0: rows: its newest snapshot 1: 200 rows, 100 were registered"):
        assert client["c"].to_polars().height == 100
    with pytest.warns(UserWarning, match="rows"), client.duckdb(["c"]) as connection:
        assert connection.sql("select count(*) from c").fetchone() == (100,)
    assert "warning: d/b@7.0: exists: nothing is left" in card(client["b"].entry)
    assert "status: published, missing" in card(client["b"].entry)
    shown = repr(client.search())
    assert "a (changed)" in shown
    assert "b (missing)" in shown
    assert "c (changed)" in shown


def test_all_are_checked_a_few_at_a_time(
    client: FeatureRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CHECKED_AT_ONCE", 2)
    shutil.rmtree(tmp_path / "b")
    client.check("b")
    assert [entry.table.name for entry in client.check_all()][-1] == "b"
    assert sorted(entry.existence for entry in client.check_all()) == ["missing", "verified", "verified"]
    assert len(list(client.check_all(None, limit=2))) == 2
    assert list(client.check_all("other")) == []


@pytest.mark.row("D1")
@pytest.mark.parametrize("where", ["http", "embedded"])
def test_the_command(deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(deployment.settings.home))
    server = ["--server", deployment.settings.api_address] if where == "http" else []

    def run(*words: str) -> Any:
        return CliRunner().invoke(app, [*server, *words])

    (tmp_path / "t").mkdir()
    ROWS.write_parquet(tmp_path / "t" / "0.parquet")
    FeatureRegistry("d", 7, server=deployment.registry).register(tmp_path / "t", "t", description="A.", owner="lab",
                                                                 license="CC0-1.0", publish=True)  # fmt: skip
    good = run("check", "d/t@7")
    assert (good.exit_code, good.stdout.splitlines()[-1].split()) == (0, ["d/t@7.0", "verified"])
    shutil.rmtree(tmp_path / "t")
    for words in (["d/t@7"], ["--all"], ["--datastack", "d"]):
        gone = run("check", *words)
        assert gone.exit_code == 1
        assert "missing" in gone.stdout
        assert "nothing is left" in gone.stdout
    shown = run("show", "d/t@7")
    assert "warning: d/t@7.0: exists: nothing is left" in shown.stdout
    assert json.loads(run("show", "d/t@7", "--json").stdout)["existence"] == "missing"
    assert json.loads(run("check", "d/t@7", "--json").stdout)[0]["existence"] == "missing"
    assert run("check", "--datastack", "other").exit_code == 0
    assert run("check").exit_code == 2
    assert run("check", "d/t@7", "--all").exit_code == 2
