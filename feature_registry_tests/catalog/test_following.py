"""What a follower asks of the catalog, in SQLite and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest

from feature_registry.location import Location
from feature_registry.model import Registration
from feature_registry.registry import Registry, following
from feature_registry.settings import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    url = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    made = Registry(Settings(home=tmp_path, database=url))
    for name, mat_version in (("spines", 3), ("spines", 4), ("Cells", None), ("atlas", 3)):
        path = tmp_path / f"{name}-{mat_version}.parquet"
        pl.DataFrame({"id": [mat_version]}).write_parquet(path)
        made.register(Registration(location=Location(path), datastack="fly", name=name, mat_version=mat_version))
    yield made
    made.close()


def test_changes_follow_the_numbers(registry: Registry) -> None:
    every = following.changes(registry, 0, 100)
    assert [event.number for event in every] == sorted({event.number for event in every})
    assert every[-1].number == registry.newest_event()
    paged, after = [], 0
    while page := following.changes(registry, after, 2):
        paged += page
        after = page[-1].number
    assert tuple(paged) == every
    assert [event.kind for event in every].count("registered") == 4


def test_tables_come_in_turn_each_once(registry: Registry) -> None:
    found, after = [], None
    while page := following.tables(registry, after, 1):
        found += page
        after = page[-1]
    assert sorted(found) == [("fly", "Cells"), ("fly", "atlas"), ("fly", "spines")]


def test_versions_of_a_table_are_in_the_order_of_their_making(registry: Registry) -> None:
    found = following.of_table(registry, "fly", "spines")
    assert [entry.version.mat_version for entry in found] == [3, 4]
    assert following.of_table(registry, "fly", "nothing") == ()
    known = found[0].version.id
    assert following.known(registry, [known, "another"]) == {known}
    assert following.known(registry, []) == set()
    assert following.entry(registry, known) == found[0]
    assert following.entry(registry, "another") is None


def test_one_at_a_time_works_alone(registry: Registry) -> None:
    other = Registry(registry.settings)
    work = ((registry, "reconcile"), (other, "reconcile"), (other, "something else"))
    with ExitStack() as stack:
        assert [stack.enter_context(following.alone(*each)) for each in work] == [True, False, True]
    with pytest.raises(ZeroDivisionError), following.alone(registry, "reconcile"):
        raise ZeroDivisionError
    with following.alone(other, "reconcile") as later:
        assert later
    other.close()
