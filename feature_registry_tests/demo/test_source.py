from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from feature_registry.cave import VersionSource, load_version_source
from feature_registry.demo import annotations
from feature_registry.demo.cortex import DATASTACK, LATEST, TIME_STAMPS, VERSIONS
from feature_registry.demo.database import PUBLIC, VIEW
from feature_registry.settings import Settings
from feature_registry_tests.demo.homes import CORTEX
from feature_registry_tests.deployment import Deployment


@pytest.fixture
def source(made: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """That of an installation that chose none."""
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(made.settings.home))
    found = load_version_source(Settings().source)
    assert isinstance(found, VersionSource)
    yield found


def test_it_says_what_there_is(source: Any) -> None:
    assert [each.name for each in source.datastacks()] == [DATASTACK, PUBLIC]
    own, public = source.versions(DATASTACK), source.versions(PUBLIC)
    assert {each.mat_version: each.time_stamp for each in own} == TIME_STAMPS
    assert all(set(each.tables) == {*annotations.TABLES, VIEW} and each.long_term for each in own)
    assert [(each.mat_version, each.parent) for each in public] == [(LATEST, DATASTACK)]


def test_another_process_says_the_same(source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the catalog would note a change whenever another one asks."""
    before = source.datastacks()
    from feature_registry.demo import source as module

    monkeypatch.setattr(module, "_standing", module._standing.__wrapped__)  # a stand-in at another port
    assert load_version_source(Settings().source).datastacks() == before


@pytest.mark.parametrize("name", annotations.TABLES)
def test_counts_are_those_of_valid_rows(source: Any, name: str) -> None:
    said = source.table(DATASTACK, VERSIONS[0], name)
    rows = source.rows(said)
    assert rows.reader.read_all().num_rows == said.rows == len(annotations.tables(CORTEX, VERSIONS[0])[name])
    rows.close()


def test_rows_of_a_virtual_version_come_out_of_its_parents_database(source: Any) -> None:
    rows = source.rows(source.table(PUBLIC, LATEST, "cell_types"))
    truth = annotations.tables(CORTEX, LATEST)["cell_types"].sort("id")
    assert pl.DataFrame(rows.reader.read_all()).sort("id").select(truth.columns).equals(truth)
    rows.close()
