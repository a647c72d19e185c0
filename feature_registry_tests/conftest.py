"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from feature_registry_tests.deployment import Deployment


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FEATURE_REGISTRY_"):
            monkeypatch.delenv(name)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A registry with its API and its file server; for one that several tests share, see `deployment.deployed`."""
    from feature_registry_tests.deployment import deployed

    with deployed(tmp_path / "registry", allowed_prefixes=(str(tmp_path),)) as installation:
        yield installation
