"""What is listed as left over is exactly that, and nothing else is ever deleted."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feature_registry.location import Location
from feature_registry.model import CheckResult
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.registry.filled import register, write

DAY = timedelta(hours=24)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(Settings(home=tmp_path / "home"))
    yield opened
    opened.close()


def aged(folder: Path, hours: float = 48) -> Path:
    at = time.time() - hours * 3600
    for path in [folder, *folder.rglob("*")]:
        if path.is_file():
            os.utime(path, (at, at))
    return folder


@pytest.fixture
def tables(registry: Registry) -> Path:
    return Path(registry.settings.managed_root.key)


def listed(registry: Registry) -> list[str]:
    return [registry.settings.managed_root.relative(each.location) for each in registry.leftovers(DAY)]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wait(registry: Registry) -> None:
    """Two days pass."""
    registry.clock = lambda: datetime.now(UTC) + 2 * DAY


@pytest.mark.row("J12")
@pytest.mark.parametrize("seed", range(12))
def test_exactly_the_planted_orphans_are_listed_and_deleted(
    registry: Registry, tables: Path, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    outside = write(tmp_path / "outside" / "d" / "synapses" / "7" / "run", 1)
    orphans, young = [], []
    for number in range(25):
        name = chance.choice(["synapses", "spines"])
        place = f"d/{name}/{chance.choice(['7', '8', 'unversioned'])}/run{number}{chance.choice(['', '-1', ' ü%2F'])}"
        folder = tables / place
        kind = chance.choice(["orphan", "registered", "below", "above", "young", "draft", "unfinished"])
        write(folder / "part" if kind == "below" else folder, number)
        if kind in ("registered", "below", "draft"):
            register(registry, folder / "part" if kind == "below" else folder, name, 7, publish=kind != "draft")
        if kind == "above":
            write(tables / "d" / name / "9" / f"whole{number}" / "deep", number)
            register(registry, folder.rename(tables / "d" / name / "9" / f"all{number}"), name, 9)
            orphans.append(f"d/{name}/9/whole{number}")
            continue
        if kind == "unfinished":
            shutil.rmtree(folder)
            folder.mkdir(parents=True)
        if kind in ("orphan", "unfinished"):
            (folder / f".draft-{chance.randbytes(8).hex()}").write_bytes(b"begun")
            orphans.append(place)
        if kind == "young":
            young.append(folder)
    (outside / ".draft-0123456789abcdef").write_bytes(b"outside")
    aged(outside)
    for stray in ("catalog.json", "d/notes.txt", "d/synapses/readme", "d/synapses/7/loose.parquet", "other/a/b/c/d"):
        (tables / stray).parent.mkdir(parents=True, exist_ok=True)
        (tables / stray).write_text("stays")
    aged(tables)
    for folder in young:
        aged(folder, 1)
    (tables / ".draft-00112233445566ff").write_bytes(b"catalog.json begun")
    os.utime(tables / ".draft-00112233445566ff", (0, 0))
    assert listed(registry) == sorted([*orphans, ".draft-00112233445566ff"])
    sizes = {each.location: (each.files, each.bytes) for each in registry.leftovers(DAY)}
    for location, (files, size) in sizes.items():
        found = content(Path(location.key)).values() or [Path(location.key).read_bytes()]
        assert (files, size) == (len(found), sum(map(len, found)))
    before = content(tmp_path)
    gone = {path for path in before if any(f"{path}/".startswith(f"{location.key}/") for location in sizes)}
    assert len(registry.collect(registry.leftovers(DAY))) == len(sizes)
    after = content(tmp_path)
    assert {path for path in before if path not in after} == gone
    stay = {path: held for path, held in before.items() if path not in gone and "catalog.db" not in path}
    assert {path: after[path] for path in stay} == stay
    assert listed(registry) == []


def test_an_abandoned_draft_is_unregistered_and_its_files_go(registry: Registry, tables: Path) -> None:
    failed = CheckResult(name="key", outcome="failed", blocking=True)
    wrong = register(registry, aged(write(tables / "d/synapses/7/wrong", 1)), publish=False)
    registry.record_checks(wrong.entry.version.id, [failed])
    register(registry, aged(write(tables / "d/spines/7/older", 2)), "spines", publish=False)
    open_ = register(registry, aged(write(tables / "d/cells/7/open", 3)), "cells", publish=False)
    assert listed(registry) == []  # they are young
    wait(registry)
    register(registry, aged(write(tables / "d/spines/7/newer", 4)), "spines")
    assert [(each.drafts, each.files) for each in registry.leftovers(DAY)] == [
        (("d/spines@7.0",), 1),
        (("d/synapses@7.0",), 1),
    ]
    assert len(registry.collect(registry.leftovers(DAY))) == 2
    assert [str(each.ref) for each in registry.contents(drafts=True).entries] == [str(open_.ref), "d/spines@7.1"]
    assert sorted(path.parent.name for path in tables.rglob("*.parquet")) == ["newer", "open"]
    assert registry.history("d/spines@7")[-1].kind == "unregistered"


def test_a_draft_that_others_derive_from_or_share_a_place_with_stays(registry: Registry, tables: Path) -> None:
    for name in ("parent", "shared"):
        place = aged(write(tables / f"d/{name}/7/run", 1))
        report = register(registry, place, name, publish=False)
        registry.record_checks(report.entry.version.id, [CheckResult(name="k", outcome="failed", blocking=True)])
    wait(registry)
    register(registry, write(tables.parent / "child", 2), "child", derived_from=["d/parent@7.0"])
    register(registry, tables / "d/shared/7/run", "other")
    registry.collect(registry.leftovers(DAY))
    assert len(list(tables.rglob("*.parquet"))) == 2
    assert registry.describe("d/parent@7").version.status == "draft"


def test_data_that_were_published_stay_when_they_are_unregistered(registry: Registry, tables: Path) -> None:
    register(registry, aged(write(tables / "d/synapses/7/run", 1)))
    register(registry, aged(write(tables / "d/spines/7/run", 1)), "spines", publish=False)
    registry.unregister("d/synapses@7")
    registry.unregister("d/spines@7")
    assert listed(registry) == ["d/spines/7/run"]


def test_a_table_registered_through_a_symbolic_link_is_protected(registry: Registry, tables: Path) -> None:
    folder = aged(write(tables / "d/synapses/7/run", 1))
    alias = tables.parent / "alias"
    alias.symlink_to(tables)
    assert listed(registry) == ["d/synapses/7/run"]
    register(registry, alias / "d/synapses/7/run")
    assert listed(registry) == []
    assert folder.exists()


def test_what_is_registered_meanwhile_is_not_deleted(
    registry: Registry, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (aged(write(tables / f"d/synapses/7/{name}", 1)) for name in ("a", "b"))
    store = registry.store(registry.settings.managed_root)
    delete = type(store).delete

    def deleting(self: object, location: object) -> None:
        register(registry, second)
        delete(store, location)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store), "delete", deleting)
    assert [each.location.name for each in registry.collect(registry.leftovers(DAY))] == ["a"]
    assert not first.exists()  # nor does an empty folder stay
    assert list(second.iterdir())


@pytest.mark.row("J12")
def test_only_what_was_listed_is_deleted(registry: Registry, tables: Path) -> None:
    places = ("d/synapses/7/listed", "d/synapses/7/grown", "d/synapses/7/taken", "d/synapses/7/unlisted", "e/a/1/run")
    for place in places:
        aged(write(tables / place, 1))
    listed = {registry.settings.managed_root.relative(each.location): each for each in registry.leftovers(DAY)}
    assert sorted(listed) == sorted(places)
    (tables / "d/synapses/7/grown/later.parquet").write_bytes(b"written after it was listed")
    register(registry, tables / "d/synapses/7/taken")
    foreign = listed["d/synapses/7/listed"].model_copy(update={"location": Location(tables / "d")})
    outside = foreign.model_copy(update={"location": Location(write(tables.parent / "outside", 1))})
    chosen = [each for place, each in listed.items() if place not in ("d/synapses/7/unlisted", "e/a/1/run")]
    assert registry.collect([*chosen, foreign, outside]) == (listed["d/synapses/7/listed"],)
    assert registry.collect(chosen) == ()
    left = {str(path.relative_to(tables)) for path in tables.glob("*/*/*/*")}
    assert left == set(places) - {"d/synapses/7/listed"}
    assert (tables.parent / "outside/1.parquet").exists()


def test_a_root_that_does_not_exist_has_none(registry: Registry) -> None:
    assert registry.leftovers() == ()
    assert registry.collect(registry.leftovers()) == ()
