"""A catalog that is gone comes back from what is known of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_registry.errors import Invalid, NotFound
from feature_registry.model import (
    CheckResult,
    Contents,
    Datastack,
    MaterializationVersion,
    Person,
    PlanRequest,
    Registration,
    Report,
    Search,
)
from feature_registry.registry import Registry, rebuilding
from feature_registry.settings import Settings

SAID = {"description": "Synapses.", "owner": "team", "tags": ["synapse"]}
Open = Callable[[], Registry]


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens an empty catalog, a new one each time."""
    opened: list[Registry] = []

    def open() -> Registry:
        url = f"sqlite:///{tmp_path / f'catalog{len(opened)}.db'}"
        if request.param == "postgresql":
            url = request.getfixturevalue("postgresqls")()
        opened.append(Registry(Settings(home=tmp_path / "home", database=url)))
        return opened[-1]

    yield open
    for each in opened:
        each.close()


def write(place: Path, *ids: int) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"id": ids, "size": [1.5] * len(ids)}).write_parquet(place / f"{ids[0]}.parquet")
    return place


def register(
    registry: Registry, place: Path, name: str = "synapses", mat_version: int | None = 7, **said: Any
) -> Report:
    fields = {"datastack": "d", "name": name, "mat_version": mat_version, "publish": True} | SAID | said
    return registry.register(Registration(location=place, **fields))


def fill(registry: Registry, data: Path) -> None:
    """Revisions, an unversioned table, a deprecated one, lineage, checks, a draft, an edit."""
    registry.record_datastack(Datastack(name="d", aligned_volume="v"))
    at = datetime(2024, 1, 1, tzinfo=UTC)
    registry.record_versions(MaterializationVersion(datastack="d", mat_version=each, time_stamp=at) for each in (7, 8))
    register(registry, write(data / "a", 1, 2))
    register(registry, write(data / "b", 3), "spines", derived_from=["d/synapses@7.0"], producer={"run_id": "run"})
    delta = data / "delta"
    pl.DataFrame({"id": [1, 2, 3]}).write_delta(delta)
    register(registry, delta, mat_version=None, name="cells")
    pl.DataFrame({"id": [4]}).write_delta(delta, mode="append")  # the registered snapshot is an older one
    report = register(registry, write(data / "c", 5))
    registry.record_checks(report.entry.version.id, [CheckResult(name="key", outcome="passed", blocking=True)])
    register(registry.acting(Person(name="bob")), write(data / "e", 6), mat_version=8, tags=["other"])
    registry.deprecate("d/spines@7", "outdated", "d/synapses")
    register(registry, write(data / "f", 9), mat_version=8, publish=False)
    registry.edit("d/synapses", {"license": "CC-BY-4.0"})


def state(registry: Registry) -> dict[str, Any]:
    """What people see of it."""
    entries = {str(each.ref): each for each in registry.contents().entries}
    return {
        "contents": registry.contents(),
        "described": [registry.describe(ref) for ref in ("d/synapses", "d/synapses@7", "d/spines@7", *entries)],
        "found": [registry.search(Search(text=text)).entries for text in ("", "synapse", "size", "team")],
        "lineage": {ref: registry.lineage(ref) for ref in entries},
        "plans": {ref: registry.plan(PlanRequest(table=ref, dry_run=True)).files for ref in entries},
    }


def kinds(registry: Registry, table: str) -> list[str]:
    return [event.kind for event in registry.history(table)]


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
