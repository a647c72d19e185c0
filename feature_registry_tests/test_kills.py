"""Few rounds of what `make bench NAME=kills` does in hundreds; the writers at once are here alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from feature_registry_tests.kills import serving
from feature_registry_tests.kills.rounds import Outcome, World, holds, kill, opened, run
from feature_registry_tests.kills.writing import OUTSIDE


def _clean(outcome: Outcome) -> None:
    assert (outcome.half_visible, outcome.lost, outcome.reruns_failed, outcome.misjudged) == ([], [], [], [])


def test_a_killed_write_shows_nothing_and_is_done_again(tmp_path: Path) -> None:
    outcome = kill([World(tmp_path / "home", None)], 3, 5, ("delta",))
    _clean(outcome)
    assert outcome.rounds == 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_many_killed_writes(tmp_path: Path, seed: int, postgresqls: Callable[[], str]) -> None:
    outcome = kill([World(tmp_path / "embedded", None), World(tmp_path / "grown", postgresqls())], 30, seed)
    _clean(outcome)
    assert len(outcome.fell) >= 4


@pytest.mark.slow
def test_servers_killed_under_readers(tmp_path: Path) -> None:
    outcome = serving.kill(tmp_path, 6, seed=3)
    assert (outcome.wrong, outcome.unclear, outcome.hung) == ([], [], [])
    assert outcome.finished > 0
    assert outcome.charged >= outcome.served > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["delta", "parquet", OUTSIDE])
@pytest.mark.parametrize("grown", [False, True])
def test_two_writers_of_one_table_version(
    tmp_path: Path, kind: str, grown: bool, postgresqls: Callable[[], str]
) -> None:
    """Both finish, each is a revision of its own, and the newer one is what readers get."""
    world = World(tmp_path / "home", postgresqls() if grown else None)
    world.first(world.job(kind, 0, 1))
    jobs = [world.job(kind, number, 1) for number in (1, 2)]
    told = {}
    writers = [threading.Thread(target=lambda job=job: told.setdefault(job.number, run(job))) for job in jobs]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [told[number].failure for number in (1, 2)] == ["", ""]
    with opened(jobs[0]) as registry:
        revisions = {}
        for number in (1, 2):
            version = registry.version(told[number].returned["register"])
            assert holds(registry.scan(version).collect(), number)
            revisions[version.revision] = version.id
        assert sorted(revisions) == [1, 2]
        assert registry.describe(jobs[0].table).version.id == revisions[2]
