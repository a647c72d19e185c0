"""A catalog that is gone comes back from what is known of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feature_registry.errors import Invalid, NotFound
from feature_registry.model import Contents, Datastack, PlanRequest
from feature_registry.registry import Registry, rebuilding
from feature_registry_tests.registry.filled import fill, kinds, register, state, write

Open = Callable[[], Registry]


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, catalogs: Callable[[str], Registry]) -> Open:
    return lambda: catalogs(request.param)


def test_all_that_was_published_comes_back(fresh: Open, tmp_path: Path) -> None:
    before = fresh()
    fill(before, tmp_path / "data")
    held, seen = before.contents(), state(before)
    assert [str(entry.ref) for entry in held.entries] == [
        "d/synapses@7.0", "d/spines@7.0", "d/cells@unversioned.0", "d/synapses@7.1", "d/synapses@8.0",
    ]  # fmt: skip
    after = fresh()
    assert after.rebuild(held) == tuple(each.model_copy(update={"warnings": ()}) for each in held.entries)
    assert state(after) == seen
    assert kinds(after, "d/spines@7") == ["described", "registered", "published", "deprecated"]
    assert after.history("d/synapses@8")[-2].by == "bob"
    number = after.newest_event()
    assert after.rebuild(held) == ()
    assert after.newest_event() == number
    assert register(after, write(tmp_path / "data" / "g", 7)).ref.revision == 2


def test_drafts_come_back_where_they_are_contained(fresh: Open, tmp_path: Path) -> None:
    before = fresh()
    fill(before, tmp_path / "data")
    held = before.contents(drafts=True)
    after = fresh()
    assert [str(each.ref) for each in after.rebuild(held) if each.version.status == "draft"] == ["d/synapses@8.1"]
    assert after.contents(drafts=True) == held
    assert after.publish("d/synapses@8.1").version.status == "published"


def test_a_rebuild_that_was_killed_is_run_again(fresh: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fresh()
    fill(before, tmp_path / "data")
    held, seen = before.contents(), state(before)
    after = fresh()
    original, left = rebuilding._restore, [3]

    def dying(*arguments: Any) -> None:
        original(*arguments)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(rebuilding, "_restore", dying)
    with pytest.raises(KeyboardInterrupt):
        after.rebuild(held)
    assert len(after.contents().entries) == 2
    monkeypatch.undo()
    assert len(after.rebuild(held)) == 3
    assert state(after) == seen


@pytest.mark.parametrize("harm", ["gone", "changed", "another"])
def test_without_its_files_a_version_comes_back_unreadable_until_it_is_registered_again(
    fresh: Open, tmp_path: Path, harm: str
) -> None:
    before = fresh()
    place = write(tmp_path / "data", 1, 2)
    kept = tmp_path / "kept"
    shutil.copytree(place, kept)
    register(before, place)
    shutil.rmtree(place)
    if harm == "changed":
        write(place, 1, 3)  # as many bytes
    elif harm == "another":
        write(place, 5)
    after = fresh()
    [entry] = after.rebuild(before.contents())
    [check] = [check for check in entry.version.checks if check.name == "manifest"]
    assert (check.outcome, entry.version.status) == ("failed", "published")
    with pytest.raises(NotFound, match="registered again"):
        after.plan(PlanRequest(table="d/synapses@7"))
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(kept, place)
    if harm == "gone":
        assert after.rebuild(before.contents()) == ()
    else:
        register(after, place)
    assert after.plan(PlanRequest(table="d/synapses@7")).cost.files == 1
    assert after.describe("d/synapses@7").version.revision == 0


def test_a_copied_table_is_the_same_though_its_times_differ(fresh: Open, tmp_path: Path) -> None:
    before = fresh()
    place = write(tmp_path / "data", 1, 2)
    register(before, place)
    path = place / "1.parquet"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    after = fresh()
    assert after.rebuild(before.contents()) == before.contents().entries
    assert after.plan(PlanRequest(table="d/synapses@7")).cost.files == 1


def test_what_is_there_already_stays(fresh: Open, tmp_path: Path) -> None:
    before, after = fresh(), fresh()
    fill(before, tmp_path / "data")
    newer = register(after, write(tmp_path / "new", 11), tags=["newest"], derived_from=["d/spines@7.0"])
    same = register(after, tmp_path / "data" / "a")  # the place of the old revision 0
    added = {each.version.id: each for each in after.rebuild(before.contents())}
    old = {str(each.ref): each.version.id for each in before.contents().entries}
    assert old["d/synapses@7.0"] not in added  # known by its place
    third = added[old["d/synapses@7.1"]]
    assert (third.version.revision, third.version.status) == (2, "deprecated")
    assert [check.message for check in third.version.checks if check.name == "revision"] == [
        "was revision 1, a number that is taken here"
    ]
    assert after.describe("d/synapses@7").version.id == same.entry.version.id
    assert after.describe("d/synapses@7").table.tags == ("synapse",)
    assert added[old["d/spines@7.0"]].version.derived_from == (str(same.ref),)
    assert newer.entry.version.id == after.describe("d/synapses@7.0").version.id


def test_of_two_descriptions_the_newer_one_stays(fresh: Open, tmp_path: Path) -> None:
    before, after = fresh(), fresh()
    register(before, write(tmp_path / "a", 1), tags=["first"])
    old = before.contents()
    after.rebuild(old)
    register(before, write(tmp_path / "b", 2), tags=["second"])
    after.rebuild(before.contents())
    assert after.describe("d/synapses@7").table.tags == ("second",)
    register(before, write(tmp_path / "c", 3), tags=["third"])
    after.edit("d/synapses", {"tags": ["edited"]})
    assert len(after.rebuild(before.contents())) == 1
    assert after.describe("d/synapses@7").table.tags == ("edited",)


def test_contents_that_contradict_themselves_change_nothing(fresh: Open, tmp_path: Path) -> None:
    before, after = fresh(), fresh()
    register(before, write(tmp_path / "a", 1))
    [entry] = before.contents().entries
    moved = entry.model_copy(update={"table": entry.table.model_copy(update={"name": "other"})})
    lost = entry.model_copy(update={"version": entry.version.model_copy(update={"derived_from": ("no reference",)})})
    for wrong in (moved, lost):
        with pytest.raises(Invalid):
            after.rebuild(Contents(datastacks=(Datastack(name="d"),), entries=(entry, wrong)))
    assert after.newest_event() == 0


def test_what_was_unregistered_does_not_come_back(fresh: Open, tmp_path: Path) -> None:
    registry = fresh()
    register(registry, write(tmp_path / "a", 1))
    register(registry, write(tmp_path / "b", 2))
    held = registry.contents()
    registry.unregister("d/synapses@7.0")
    assert registry.rebuild(held) == ()
    assert [str(each.ref) for each in registry.contents().entries] == ["d/synapses@7.1"]
