from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feature_registry.registry import Registry
from feature_registry.settings import Settings


@pytest.fixture
def catalogs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Registry]]:
    """Opens an empty catalog in SQLite or PostgreSQL, a new one each time, over the same storage."""
    opened: list[Registry] = []

    def open(kind: str) -> Registry:
        url = f"sqlite:///{tmp_path / f'catalog{len(opened)}.db'}"
        if kind == "postgresql":
            url = request.getfixturevalue("postgresqls")()
        opened.append(Registry(Settings(home=tmp_path / "home", database=url)))
        return opened[-1]

    yield open
    for each in opened:
        each.close()
