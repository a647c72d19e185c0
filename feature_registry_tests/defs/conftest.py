from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feature_registry_tests.defs.workshop import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path / "registry")
    yield made
    made.registry.close()
