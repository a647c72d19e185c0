from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_registry.model import CheckResult, Policies, Registration, Report
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.registry.validation.cave import FakeCave, version


@pytest.fixture
def cave(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what CAVE says: versions, or that it is down."""

    def say(*announced: Any, down: bool = False) -> None:
        monkeypatch.setattr(FakeCave, "announced", announced)
        monkeypatch.setattr(FakeCave, "down", down)

    say(version(7, tables=("synapses", "nuclei")))
    return say


class Outside:
    """Registers frames as tables from outside, in a registry with policies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.registries = folder, []
        self.registry = self.open()

    def open(self, source: str | None = None, **policies: Any) -> Registry:
        """The same catalog under other policies."""
        said = {"*": Policies(**policies)} if policies else {}
        self.registry = Registry(Settings(home=self.folder / "home", policies=said, version_source=source))
        self.registries.append(self.registry)
        return self.registry

    def write(self, frame: pl.DataFrame, name: str) -> Path:
        path = self.folder / f"{name}.parquet"
        frame.write_parquet(path)
        return path

    def said(
        self, frame: pl.DataFrame | Path, name: str = "t", mat_version: int | None = 7, **said: Any
    ) -> Registration:
        at = frame if isinstance(frame, Path) else self.write(frame, f"{name}_{mat_version}_{len(said)}")
        whole = {"description": "Rows.", "owner": "lab", "license": "MIT"} | said
        return Registration(location=at, datastack="d", name=name, mat_version=mat_version, **whole)

    def register(self, frame: pl.DataFrame | Path, name: str = "t", mat_version: int | None = 7, **said: Any) -> Report:
        return self.registry.register(self.said(frame, name, mat_version, **said))


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    made = Outside(tmp_path)
    yield made
    for each in made.registries:
        each.close()


def check(report: Report, name: str) -> CheckResult:
    return {each.name: each for each in report.checks}[name]
