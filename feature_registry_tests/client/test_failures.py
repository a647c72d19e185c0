"""A file that changed or is gone between plan and read, and a grant that ended: no wrong row, and a clear error."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry, Table
from feature_registry.client.failures import explained
from feature_registry.errors import Conflict, Denied, Exhausted, NotFound, RegistryError
from feature_registry_tests.deployment import Deployment

ROWS = pl.DataFrame({"id": range(20_000), "size": [0.5] * 20_000})


@dataclass
class Lab:
    """A table of two files, and what may happen to it between its plan and its read."""

    deployment: Deployment
    folder: Path

    @property
    def table(self) -> Table:
        found: Table = self.deployment.client("d", mat_version=3)["t"]
        return found

    def change(self) -> None:
        ROWS.with_columns(size=1.5).write_parquet(self.folder / "k=2/a.parquet")

    def swap(self) -> None:
        """The same bytes as before in the other file's place."""
        one, two = self.folder / "k=1/a.parquet", self.folder / "k=2/a.parquet"
        two.write_bytes(one.read_bytes())

    def remove(self) -> None:
        (self.folder / "k=2/a.parquet").unlink()

    def end(self) -> None:
        with sqlite3.connect(self.deployment.settings.home / "catalog.db") as catalog:
            catalog.execute("UPDATE grants SET expires_at = 0")
        self.deployment.registry.access._opened.clear()


@pytest.fixture
def lab(deployment: Deployment, tmp_path: Path) -> Lab:
    for part in (1, 2):
        (tmp_path / f"t/k={part}").mkdir(parents=True)
        ROWS.write_parquet(tmp_path / f"t/k={part}/a.parquet", compression="uncompressed")
    said: dict[str, Any] = {"description": "x", "owner": "lab", "license": "MIT", "publish": True}
    deployment.client("d", mat_version=3).register(tmp_path / "t", "t", **said)
    return Lab(deployment, tmp_path / "t")


HAPPENED = [("change", Conflict), ("swap", Conflict), ("remove", NotFound), ("end", Denied)]


@pytest.mark.parametrize(("happens", "kind"), HAPPENED)
def test_a_plan_that_is_read_too_late(lab: Lab, happens: str, kind: type[RegistryError]) -> None:
    plan = lab.table.plan()
    getattr(lab, happens)()
    with pytest.raises(kind) as raised, explained([plan]):
        plan.scan().collect()
    if kind is not Denied:
        assert (raised.value.field, raised.value.value) == ("file", "k=2/a.parquet")
        assert "d/t@3.0" in raised.value.message
    assert "register" in str(raised.value.expected) or "plan the read again" in raised.value.message
    assert "/v1/links/" not in str(raised.value)
    with pytest.raises(OSError, match=r"\b(403|404|412)\b"):  # without us, Polars says what the storage said
        plan.scan().collect()


@pytest.mark.parametrize(("happens", "kind"), HAPPENED[:-1])
def test_every_way_to_read_says_so(lab: Lab, happens: str, kind: type[RegistryError], tmp_path: Path) -> None:
    getattr(lab, happens)()
    reads: list[Callable[[], Any]] = [
        lab.table.to_polars,
        lab.table.to_arrow,
        lab.table.to_pandas,
        lambda: list(lab.table.batches()),
        lambda: lab.table.download(tmp_path / "here", progress=False),
    ]
    for read in reads:
        with pytest.raises(kind) as raised:
            read()
        assert raised.value.value == "k=2/a.parquet"
    assert not list((tmp_path / "here").rglob("k=2/*"))
    address = ["--server", lab.deployment.settings.api_address]
    result = CliRunner().invoke(app, [*address, "read", "d/t@3", "--output", str(tmp_path / "out.parquet")])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "k=2/a.parquet" in result.stderr
    assert not (tmp_path / "out.parquet").exists()


def test_the_rows_of_other_files_are_still_read(lab: Lab) -> None:
    lab.change()
    assert lab.table.to_polars([("k", "==", 1)]).height == len(ROWS)


@pytest.mark.parametrize("mode", ["direct", "urls"])
@pytest.mark.parametrize(("happens", "kind"), HAPPENED[:-1])
def test_embedded_too(lab: Lab, mode: Any, happens: str, kind: type[RegistryError]) -> None:
    getattr(lab, happens)()
    table = FeatureRegistry("d", 3, server=lab.deployment.registry)["t"]
    with pytest.raises(kind):
        table.to_polars(mode=mode)


def test_a_step_never_scans_what_is_no_longer_the_registered_table(lab: Lab) -> None:
    version = lab.table.entry.version
    assert lab.deployment.registry.scan(version).collect().height == 2 * len(ROWS)
    lab.change()
    with pytest.raises(Conflict):
        lab.deployment.registry.scan(version)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """DuckDB tries again for seconds."""
    from feature_registry.client import duck

    monkeypatch.setitem(duck._SETTINGS, "http_retries", 0)
    yield


@pytest.mark.parametrize(("happens", "kind"), HAPPENED)
def test_duckdb_says_so(lab: Lab, happens: str, kind: type[RegistryError], impatient: None) -> None:
    with FeatureRegistry("d", 3, server=lab.deployment.settings.api_address).duckdb() as connection:
        connection.prepare("FROM t")
        getattr(lab, happens)()
        with pytest.raises(kind) as raised:
            connection.execute("SELECT sum(id), sum(size) FROM t")
        assert raised.value.value in ("k=2/a.parquet", "k=1/a.parquet")


def test_registered_again_it_reads_again(lab: Lab) -> None:
    lab.change()
    report = lab.deployment.client("d", mat_version=3).register(lab.folder, "t", publish=True)
    assert (report.created, report.ref.revision) == (True, 1)
    assert lab.table.to_polars()["size"].max() == 1.5


def test_a_budget_that_ends_on_the_way(tmp_path: Path) -> None:
    from feature_registry_tests.deployment import deployed

    path = tmp_path / "a.parquet"
    ROWS.write_parquet(path, compression="uncompressed")
    allowed: dict[str, Any] = {"allowed_prefixes": (str(tmp_path),), "budget_bytes": 2 * path.stat().st_size}
    with deployed(tmp_path / "home", **allowed) as poor:
        client = poor.client("d", mat_version=3)
        client.register(path, "t", description="x", owner="lab", license="MIT", publish=True)
        plan = client["t"].plan()
        with explained([plan]):
            assert plan.scan().collect().height == len(ROWS)
        with pytest.raises(Exhausted), explained([plan]):
            for _ in range(3):
                plan.scan().collect()
