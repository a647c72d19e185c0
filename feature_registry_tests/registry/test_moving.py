from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_registry.catalog import events
from feature_registry.errors import Conflict, Denied, Exhausted, Invalid, NotFound
from feature_registry.location import Location
from feature_registry.model import Entry, Person, PlanRequest, Registration, Search
from feature_registry.registry import Registry, access, moving
from feature_registry.settings import Settings

ROWS = pl.DataFrame({"id": range(100), "size": range(100)})


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(Settings(home=tmp_path / "home"), Person(name="ann", groups=("lab",)))
    yield opened
    opened.close()


def parquet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for part in range(4):
        ROWS.slice(part * 25, 25).write_parquet(folder / f"{part}.parquet")
    return folder


def register(registry: Registry, location: Path, name: str = "t", **said: Any) -> Entry:
    fields = {"description": "A.", "owner": "lab", "license": "MIT", "mat_version": 7, "publish": True} | said
    return registry.register(Registration(location=location, datastack="d", name=name, **fields)).entry


def listing(root: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(root.rglob("*.parquet"))}


def search(registry: Registry, **wanted: Any) -> list[str]:
    return [str(entry.ref) for entry in registry.search(Search(**wanted)).entries]


# ------------------------------------------------------------------------------------------------------- unregister


def test_what_is_unregistered_is_known_no_more_and_its_data_stay(registry: Registry, tmp_path: Path) -> None:
    folder = parquet(tmp_path / "a")
    (tmp_path / "b").mkdir()
    ROWS.with_columns(extra=1).write_parquet(tmp_path / "b" / "0.parquet")
    first = register(registry, folder)
    second = register(registry, tmp_path / "b")
    before = listing(tmp_path)
    assert search(registry, column="extra") == search(registry, text="extra") == ["d/t@7.1"]
    assert registry.unregister("d/t@7.1") == second
    assert listing(tmp_path) == before
    assert registry.describe("d/t").version.id == registry.describe("d/t@7").version.id == first.version.id
    assert search(registry) == search(registry, column="size") == search(registry, text="size") == ["d/t@7.0"]
    assert search(registry, column="extra") == search(registry, text="extra") == []
    with pytest.raises(NotFound):
        registry.describe("d/t@7.1")
    registry.unregister("d/t@7")  # the only one that is left
    assert search(registry) == []
    kinds = [event.kind for event in registry.history("d/t")]
    assert kinds[-2:] == ["unregistered", "unregistered"]
    with pytest.raises(NotFound):
        registry.history("d/other")


def test_a_revisions_number_is_never_given_again(registry: Registry, tmp_path: Path) -> None:
    folder = parquet(tmp_path / "a")
    register(registry, folder)
    for number in (1, 2):
        registry.unregister("d/t@7")
        assert register(registry, folder).version.revision == number
    assert register(registry, folder, mat_version=8).version.revision == 0
    assert register(registry, folder, mat_version=None).version.revision == 0
    registry.unregister("d/t@unversioned")
    assert register(registry, folder, mat_version=None).version.revision == 1
    assert registry.describe("d/t@7").table.description == "A."


def test_a_reference_must_be_exact(registry: Registry, tmp_path: Path) -> None:
    register(registry, parquet(tmp_path / "a"))
    register(registry, parquet(tmp_path / "b"))
    newest = registry.newest_event()
    for ref, kind, expected in (
        ("d/t", Invalid, "@mat_version"),
        ("d/t@latest", Invalid, "@mat_version"),
        ("d/t@7", Invalid, "d/t@7.0"),
        ("d/t@8", NotFound, "7"),
        ("d/t@7.2", NotFound, "7"),
    ):
        with pytest.raises(kind) as raised:
            registry.unregister(ref)
        assert expected in str(raised.value.expected)
    assert registry.newest_event() == newest


def test_the_owners_team_or_an_admin_may(registry: Registry, tmp_path: Path) -> None:
    register(registry, parquet(tmp_path / "a"))
    register(registry, parquet(tmp_path / "b"), "draft", publish=False)
    bob = registry.acting(Person(name="bob"))
    with pytest.raises(Denied) as raised:
        bob.unregister("d/t@7.0")
    assert "the team lab" in raised.value.expected
    with pytest.raises(NotFound):
        bob.unregister("d/draft@7.0")
    admin = registry.acting(Person(name="eve", admin=True))
    assert admin.unregister("d/draft@7.0").version.created_by == "ann"
    admin.unregister("d/t@7.0")
    assert registry.history("d/t")[-1].by == "eve"


@pytest.mark.parametrize("parent", ["d/t@7.0", "d/t@7"])
def test_what_others_were_derived_from_is_kept_unless_forced(registry: Registry, tmp_path: Path, parent: str) -> None:
    register(registry, parquet(tmp_path / "a"))
    register(registry, parquet(tmp_path / "b"), "child", derived_from=[parent])
    with pytest.raises(Conflict) as raised:
        registry.unregister("d/t@7.0")
    assert "d/child@7.0" in raised.value.expected
    registry.unregister("d/t@7.0", force=True)
    assert registry.lineage("d/child@7").upstream == ("d/t@7.0",)  # which is what either meant
    assert registry.history("d/t")[-1].details["derived"] == ["d/child@7.0"]
    registry.unregister("d/child@7.0")
    assert search(registry, derived_from="d/t") == []


def test_links_to_it_end_with_a_clear_error(registry: Registry, tmp_path: Path) -> None:
    register(registry, parquet(tmp_path / "a"))
    url = registry.plan(PlanRequest(table="d/t@7")).files[0].url or ""
    token = url.split("/v1/links/")[1].split("/")[0]
    assert asyncio.run(registry.access.follow(token, "bytes=0-3"))
    registry.unregister("d/t@7")
    with pytest.raises(NotFound, match="registered no more") as raised:
        asyncio.run(registry.access.follow(token, "bytes=0-3"))
    assert raised.value.value == "d/t@7.0"


# --------------------------------------------------------------------------------------------------------- relocate


@pytest.fixture
def moved(registry: Registry, tmp_path: Path) -> tuple[Location, Location]:
    """Four versions below `old`, one beside it, and a copy of `old`."""
    old, new = tmp_path / "old", tmp_path / "new"
    register(registry, parquet(old / "deep" / "a"), publish=False)
    register(registry, parquet(old / "b"))
    ROWS.write_delta(old / "delta")
    register(registry, old / "delta", "delta", snapshot="0")
    ROWS.write_delta(old / "delta", mode="append")
    ROWS.write_parquet(old / "one.parquet")
    register(registry, old / "one.parquet", "one")
    registry.deprecate("d/one@7")
    register(registry, parquet(tmp_path / "older"), "beside")
    shutil.copytree(old, new)
    for path in new.rglob("*.parquet"):
        path.touch()
    return Location(old), Location(new)


def read(registry: Registry, table: str) -> pl.DataFrame:
    plan = registry.plan(PlanRequest(table=table, mode="direct"))
    return pl.read_parquet([file.url or "" for file in plan.files])


def test_a_bucket_that_moved_takes_its_versions_along(
    registry: Registry, tmp_path: Path, moved: tuple[Location, Location]
) -> None:
    old, new = moved
    link = (registry.plan(PlanRequest(table="d/t@7.1")).files[0].url or "").split("/v1/links/")[1].split("/")[0]
    dry = registry.relocate(old, new, dry_run=True)
    assert registry.describe("d/t@7").version.inspection.location == old.joined("b")
    done = registry.relocate(old, new)
    assert done == dry
    places = {str(entry.ref): new.relative(entry.version.inspection.location) for entry in done}
    assert places == {"d/t@7.0": "deep/a", "d/t@7.1": "b", "d/delta@7.0": "delta", "d/one@7.0": "one.parquet"}
    for entry in done:
        assert registry.version(entry.version.id) == entry.version
    assert search(registry, location=new, datastack="d") == ["d/delta@7.0", "d/one@7.0", "d/t@7.1"]
    assert search(registry, location=old) == []
    shutil.rmtree(old.key)
    for table, rows in (("d/t@7", 100), ("d/delta@7", 100), ("d/one@7", 100), ("d/beside@7", 100)):
        assert read(registry, table).height == rows  # by the new files' etags
    assert str(new.key) in asyncio.run(registry.access.follow(link, "bytes=0-3")).replace("%2F", "/")
    event = registry.history("d/one")[-1]
    assert (event.kind, event.details["from"]) == ("relocated", str(old.joined("one.parquet")))
    report = registry.register(Registration(location=Path(new.key) / "b", datastack="d", name="t", mat_version=7))
    assert not report.created


def delete_a_file(new: Path) -> None:
    (new / "b" / "2.parquet").unlink()


def add_a_file(new: Path) -> None:
    shutil.copy(new / "b" / "2.parquet", new / "b" / "2a.parquet")


def change_a_value(new: Path) -> None:
    frame = pl.read_parquet(new / "b" / "2.parquet")
    frame.with_columns(pl.lit(7, pl.Int64).alias("size")).write_parquet(new / "b" / "2.parquet")


def flip_a_byte(new: Path) -> None:
    content = bytearray((new / "b" / "2.parquet").read_bytes())
    content[10] ^= 1
    (new / "b" / "2.parquet").write_bytes(content)


def remove_the_log(new: Path) -> None:
    shutil.rmtree(new / "delta" / "_delta_log")


def remove_all(new: Path) -> None:
    shutil.rmtree(new)


@pytest.mark.parametrize(
    ("harm", "table", "file"),
    [
        (delete_a_file, "d/t@7.1", "b/2.parquet"),
        (add_a_file, "d/t@7.1", "b/2a.parquet"),
        (change_a_value, "d/t@7.1", "b/2.parquet"),
        (flip_a_byte, "d/t@7.1", "b/2.parquet"),
        (remove_the_log, "d/delta@7.0", "delta"),
        (remove_all, "d/", ""),
    ],
)
def test_one_that_is_not_the_same_there_moves_none(
    registry: Registry, moved: tuple[Location, Location], harm: Any, table: str, file: str
) -> None:
    old, new = moved
    harm(Path(new.key))
    newest = registry.newest_event()
    for dry_run in (True, False):
        with pytest.raises((Conflict, NotFound, Invalid)) as raised:
            registry.relocate(old, new, dry_run)
        assert table in raised.value.message
        assert str(new.joined(file) if file else new) in str(raised.value) or file == "delta"
    assert registry.newest_event() == newest
    assert read(registry, "d/t@7").height == 100


def test_what_changed_while_it_was_looked_at_is_looked_at_again(
    registry: Registry, moved: tuple[Location, Location], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = moved
    move = moving._move

    def late(registry: Registry, connection: Any, *rest: Any) -> None:
        monkeypatch.setattr(moving, "_move", move)
        events.record(
            connection, "unregistered", by="bob", datastack="d", name="one",
            version_id=registry.describe("d/one@7").version.id, details={"mat_version": 7, "revision": 0},
        )  # fmt: skip
        move(registry, connection, *rest)

    monkeypatch.setattr(moving, "_move", late)
    with pytest.raises(Conflict, match="meanwhile"):
        registry.relocate(old, new)
    assert registry.describe("d/one@7").version.inspection.location == old.joined("one.parquet")
    assert len(registry.relocate(old, new)) == 4


def test_a_place_without_tables_and_the_same_place_are_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        registry.relocate(Location(tmp_path / "a"), Location(tmp_path / "b"))
    with pytest.raises(Invalid):
        registry.relocate(Location(tmp_path / "a"), Location(tmp_path / "a"))


# ---------------------------------------------------------------------------------------------- a clock that is wrong


def test_a_clock_set_back_and_right_again_gives_no_budget_away(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        offset = timedelta()

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz or UTC) + cls.offset

    folder = parquet(tmp_path / "a")
    size = sum(path.stat().st_size for path in folder.iterdir())
    poor = Registry(Settings(home=tmp_path / "poor", budget_bytes=2 * size), Person(name="ann", groups=("lab",)))
    monkeypatch.setattr(access, "datetime", Clock)
    register(poor, folder)
    whole = PlanRequest(table="d/t@7", mode="urls")  # charged at once
    assert poor.plan(whole).cost.budget_left == size
    Clock.offset = -timedelta(days=300)
    assert poor.plan(whole).cost.budget_left == 0
    for offset in (-timedelta(days=300), timedelta()):
        Clock.offset = offset
        with pytest.raises(Exhausted):
            poor.plan(whole)
    poor.close()
