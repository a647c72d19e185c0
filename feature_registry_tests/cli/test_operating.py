"""The operator's commands, on a catalog that one destroys and brings back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.registry.filled import fill, state, write

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command on the catalog in `tmp_path`, which holds one of everything."""
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path))
    with opened(tmp_path) as registry:
        fill(registry, tmp_path / "data")
    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


@contextmanager
def opened(home: Path) -> Iterator[Registry]:
    registry = Registry(Settings(home=home))
    yield registry
    registry.close()


def seen(home: Path) -> object:
    with opened(home) as registry:
        return state(registry)


def destroy(home: Path) -> None:
    for path in home.glob("catalog.db*"):
        path.unlink()


def test_backup_and_restore(command: Command, tmp_path: Path) -> None:
    before = seen(tmp_path)
    saved = command("backup", tmp_path / "saved.db")
    assert saved.exit_code == 0, saved.stderr
    assert saved.stdout.startswith("6 table versions and ")
    assert command("backup", tmp_path / "saved.db").exit_code == 1
    refused = command("restore", tmp_path / "saved.db")
    assert refused.exit_code == 1
    assert "an empty catalog" in refused.stderr
    destroy(tmp_path)
    assert command("restore", tmp_path / "saved.db").exit_code == 0
    assert seen(tmp_path) == before


@pytest.mark.parametrize("spelling", ["{}", "file://{}"])
def test_rebuild_from_an_export(command: Command, tmp_path: Path, spelling: str) -> None:
    before = seen(tmp_path)
    assert command("export", "catalog_json", "--output", tmp_path / "catalog.json").exit_code == 0
    destroy(tmp_path)
    answer = command("rebuild", "--from-export", spelling.format(tmp_path / "catalog.json"))
    assert answer.exit_code == 0, answer.stderr
    assert "d/spines@7.0 is back, deprecated" in answer.stdout.splitlines()
    assert seen(tmp_path) == before


def test_a_rebuild_from_nothing_is_refused_and_changes_nothing(command: Command, tmp_path: Path) -> None:
    before = seen(tmp_path)
    assert command("rebuild").exit_code == 2
    assert command("--server", "http://127.0.0.1:1", "rebuild", "--from-export", "x").exit_code == 2
    for content in (b"", b"\xff\xfe", b"{}"):
        (tmp_path / "wrong.json").write_bytes(content)
        answer = command("rebuild", "--from-export", tmp_path / "wrong.json")
        assert (answer.exit_code, answer.stderr[:6]) == (1, "error:")
    assert command("rebuild", "--from-export", tmp_path / "missing.json").exit_code == 1
    assert seen(tmp_path) == before


def test_gc(command: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "tables" / "d" / "synapses" / "7" / "run", 1)
    assert command("gc", "--dry-run").stdout == "no leftovers\n"
    os.utime(folder / "1.parquet", (0, 0))
    [listed] = json.loads(command("gc", "--dry-run", "--json").stdout)
    assert (listed["location"], listed["files"]) == (f"file://{folder}", 1)
    assert listed["bytes"] == (folder / "1.parquet").stat().st_size
    assert str(folder) in command("gc", "--dry-run").stdout
    for words in (("gc",), ("gc", "--yes", "--dry-run")):
        answer = command(*words)
        assert answer.stderr == f"1 would be deleted: 1 files, {listed['bytes']} bytes\n"
        assert folder.exists()
    answer = command("gc", "--yes")
    assert (answer.exit_code, answer.stderr) == (0, f"1 deleted: 1 files, {listed['bytes']} bytes\n")
    assert str(folder) in answer.stdout
    assert not folder.exists()
    assert command("gc").stdout == "no leftovers\n"
