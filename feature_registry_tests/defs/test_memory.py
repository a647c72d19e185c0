"""Dagster alone is enough to bring the catalog back: by the command, as an operator does."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from feature_registry import feature_table
from feature_registry.cli import app
from feature_registry.cli.instance import STORAGE, prepare
from feature_registry.defs.resources import opened
from feature_registry.settings import Settings
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop


@feature_table(**SAID, key=["id"])
def nuclei() -> pl.DataFrame:
    return pl.DataFrame({"id": [864691135000000000, 864691135000000001]})


@feature_table(**SAID, references={"id": "nuclei.id"})
def shapes(nuclei: pl.LazyFrame) -> pl.LazyFrame:
    return nuclei.with_columns(volume=pl.lit(0.5))


@pytest.fixture(autouse=True)
def _no_dagster_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.delenv(STORAGE, raising=False)


def test_a_destroyed_catalog_is_rebuilt_from_dagster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path))
    with dg.DagsterInstance.from_config(str(prepare(Settings()))) as instance:
        workshop = Workshop(tmp_path, instance=instance)
        for mat_version in (507, 1507, 1507):
            workshop.make(nuclei, shapes, mat_version=mat_version)
        before = workshop.registry.contents()
        lineage = workshop.registry.lineage(f"{DATASTACK}/nuclei@1507")
    assert len(before.entries) == 6
    assert lineage.downstream
    workshop.registry.close()
    opened.cache_clear()
    for path in tmp_path.glob("catalog.db*"):
        path.unlink()
    done = CliRunner().invoke(app, ["rebuild", "--from-dagster"])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count(" is back, published\n") == 6
    assert workshop.registry.contents() == before
    assert workshop.registry.lineage(f"{DATASTACK}/nuclei@1507") == lineage
    again = CliRunner().invoke(app, ["rebuild", "--from-dagster"])
    assert (again.exit_code, again.stdout) == (0, "")
    workshop.registry.close()
    opened.cache_clear()


def test_dagster_keeps_its_state_in_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    folder = prepare(settings)
    before = (folder / "dagster.yaml").stat().st_mtime_ns
    assert prepare(settings) == folder == tmp_path / "home" / "dagster"
    assert (folder / "dagster.yaml").stat().st_mtime_ns == before
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        instance.add_dynamic_partitions("mat_version_x", ["1"])
        assert not instance.telemetry_enabled
        assert instance.run_coordinator.__class__.__name__ == "QueuedRunCoordinator"
    assert {path.name for path in folder.iterdir()} >= {"dagster.yaml", "storage"}


def test_no_password_lands_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORAGE, "")
    address = "postgresql+psycopg://lab:hush@/registry?host=/run/postgresql"
    folder = prepare(Settings(home=tmp_path, database=address))
    text = (folder / "dagster.yaml").read_text()
    assert "hush" not in text
    assert yaml.safe_load(text)["storage"] == {"postgres": {"postgres_url": {"env": STORAGE}}}
    assert os.environ[STORAGE] == "postgresql+psycopg2://lab:hush@/registry?host=/run/postgresql"


def test_a_dagster_home_that_is_set_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    assert prepare(Settings(home=tmp_path / "home")) == tmp_path / "own"
    assert not (tmp_path / "home").exists()
