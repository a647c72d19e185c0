"""The catalog's own past: after each step what it says is noted, and asked again when all is over."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from feature_registry.catalog import events, past
from feature_registry.catalog.past import State
from feature_registry.catalog.schema import facets, feature_tables, lineage, mat_versions, versions
from feature_registry.errors import Invalid, NotFound
from feature_registry.location import Location
from feature_registry.model import CheckResult, MaterializationVersion, Person, PlanRequest, Registration, Search
from feature_registry.registry import Registry
from feature_registry.settings import Settings

START = datetime(2024, 5, 1, tzinfo=UTC)
SEARCHES: tuple[dict[str, Any], ...] = (
    {},
    {"datastack": "d"},
    {"datastack": "d", "name": "t"},
    {"mat_version": 7},
    {"mat_version": "latest"},
    {"status": "draft"},
    {"text": "second"},
    {"column": "extra"},
    {"owner": "lab"},
    {"derived_from": "d/t"},
)


class Clock(datetime):
    """The time that the catalog's events are given."""

    at = START

    @classmethod
    def now(cls, tz: Any = None) -> Clock:
        return cls.fromtimestamp(cls.at.timestamp(), UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(Clock, "at", START)
    monkeypatch.setattr(events, "datetime", Clock)
    return Clock


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    url = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    opened = Registry(Settings(home=tmp_path / "home", database=url), Person(name="ann", groups=("lab",)))
    yield opened
    opened.close()


def written(folder: Path, **columns: Any) -> Path:
    folder.mkdir(parents=True)
    pl.DataFrame({"id": [1, 2], **columns}).write_parquet(folder / "0.parquet")
    return folder


def register(registry: Registry, location: Path, name: str = "t", **said: Any) -> None:
    said = {"description": "First.", "owner": "lab", "license": "MIT", "mat_version": 7} | said
    registry.register(Registration(location=location, datastack="d", name=name, **said))


def materialize(registry: Registry, valid: bool = True) -> None:
    registry.record_versions([MaterializationVersion(datastack="d", mat_version=7, time_stamp=START, valid=valid)])


def check(registry: Registry) -> None:
    id = registry.describe("d/t@7.1").version.id
    registry.record_checks(id, [CheckResult(name="key", outcome="passed")], publish=False)


def relocate(registry: Registry, folder: Path) -> None:
    shutil.copytree(folder / "old", folder / "new")
    registry.relocate(Location(folder / "old"), Location(folder / "new"))


def say(registry: Registry) -> None:
    with registry.database.write() as connection:
        events.record(connection, "described", by="ann", datastack="d", name="t", details={"description": "Said."})


def steps(registry: Registry, folder: Path) -> dict[str, Callable[[], object]]:
    old = folder / "old"
    return {
        "other registered": lambda: register(registry, written(folder / "other"), "other", publish=True),
        "materialized": lambda: materialize(registry),
        "described": lambda: say(registry),
        "r0 registered": lambda: register(registry, written(old / "r0")),
        "r0 published": lambda: registry.publish("d/t@7"),
        "edited": lambda: registry.edit("d/t", {"description": "Second.", "tags": ["x"]}),
        "r1 registered": lambda: register(registry, written(old / "r1", extra=[0, 0]), description="Second."),
        "r1 checked": lambda: check(registry),
        "r1 published": lambda: registry.publish("d/t@7.1"),
        "child": lambda: register(registry, written(folder / "c"), "c", derived_from=["d/t@7.0"], publish=True),
        "r1 deprecated": lambda: registry.deprecate("d/t@7.1", "wrong", "d/other"),
        "invalidated": lambda: materialize(registry, valid=False),
        "relocated": lambda: relocate(registry, folder),
        "r1 unregistered": lambda: registry.unregister("d/t@7.1"),
        "all unregistered": lambda: registry.unregister("d/t@7.0", force=True),
    }


# After a step: what ann gets for @7, and everybody for @latest; what is said; where it lies; its materialization.
#                    @7            bob         latest       description  place    valid
TRUTH: dict[str, tuple[str | None, str | None, str | None, str | None, str | None, bool | None]] = {
    "other registered": (None, None, None, None, None, None),
    "materialized": (None, None, None, None, None, None),
    "described": (None, None, None, None, None, None),
    "r0 registered": ("0 draft", None, None, "First.", "old/r0", True),
    "r0 published": ("0 published", "0 published", "0 published", "First.", "old/r0", True),
    "edited": ("0 published", "0 published", "0 published", "Second.", "old/r0", True),
    "r1 registered": ("0 published", "0 published", "0 published", "Second.", "old/r0", True),
    "r1 checked": ("0 published", "0 published", "0 published", "Second.", "old/r0", True),
    "r1 published": ("1 published", "1 published", "1 published", "Second.", "old/r1", True),
    "child": ("1 published", "1 published", "1 published", "Second.", "old/r1", True),
    "r1 deprecated": ("0 published", "0 published", "0 published", "Second.", "old/r0", True),
    "invalidated": ("0 published", "0 published", None, "Second.", "old/r0", False),
    "relocated": ("0 published", "0 published", None, "Second.", "new/r0", False),
    "r1 unregistered": ("0 published", "0 published", None, "Second.", "new/r0", False),
    "all unregistered": (None, None, None, None, None, None),
}


def answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except NotFound as nothing:
        return nothing.problem()


def everything(registry: Registry, as_of: datetime | None) -> dict[str, Any]:
    """All that is told; the drafts are ann's, so bob is told less."""
    bob = registry.acting(Person(name="bob"))
    told: dict[str, Any] = {
        "resolved": answer(lambda: registry.resolve("d/t@7.0", as_of)),
        "history": answer(lambda: registry.history("d/t", as_of)),
        "bob's history": answer(lambda: bob.history("d/t@7", as_of)),
        "bob's search": bob.search(Search(datastack="d", as_of=as_of)).entries,
    }
    for ref in ("d/t", "d/t@7", "d/t@7.1", "d/none", "e/t"):
        told[f"describe {ref}"] = answer(lambda: registry.describe(ref, as_of))  # noqa: B023
        told[f"bob's {ref}"] = answer(lambda: bob.describe(ref, as_of))  # noqa: B023
    for ref in ("d/t@7.0", "d/c@7"):
        told[f"lineage {ref}"] = answer(lambda: registry.lineage(ref, as_of))  # noqa: B023
    for wanted in SEARCHES:
        told[f"search {wanted}"] = registry.search(Search(**wanted, as_of=as_of)).entries
    return told


def row_of_truth(registry: Registry, folder: Path, as_of: datetime | None) -> tuple[Any, ...]:
    def short(person: str, ref: str) -> Any:
        found = answer(lambda: registry.acting(Person(name=person)).describe(ref, as_of))
        return None if isinstance(found, dict) else f"{found.version.revision} {found.version.status}"

    entry = answer(lambda: registry.describe("d/t@7", as_of))
    shorts = (short("ann", "d/t@7"), short("bob", "d/t@7"), short("bob", "d/t"))
    if isinstance(entry, dict):
        return (*shorts, None, None, None)
    place = Location(folder).relative(entry.version.inspection.location)
    return (*shorts, entry.table.description, place, entry.materialization and entry.materialization.valid)


def test_the_catalog_says_what_it_said_then(registry: Registry, tmp_path: Path, clock: type[Clock]) -> None:
    told: dict[str, tuple[datetime, dict[str, Any]]] = {}
    for name, step in steps(registry, tmp_path).items():
        clock.at += timedelta(hours=1)
        step()
        told[name] = (clock.at, everything(registry, None))
        assert row_of_truth(registry, tmp_path, None) == TRUTH[name], name
    clock.at += timedelta(hours=1)
    for name, (at, then) in told.items():
        for instant in (at, at + timedelta(minutes=59, seconds=59)):
            assert row_of_truth(registry, tmp_path, instant) == TRUTH[name], name
        now = everything(registry, at + timedelta(minutes=30))
        assert {key: value for key, value in now.items() if value != then[key]} == {}, name
    before, after = START - timedelta(days=1), clock.at + timedelta(days=1000)
    assert registry.search(Search(as_of=before)).entries == ()
    assert everything(registry, after) == everything(registry, None)
    check_replay(registry)


def check_replay(registry: Registry) -> None:
    """All events derived anew are the state that we have."""
    with registry.database.read() as live:
        state = State(events.newest(live), (None, None))
        again = state.derived(registry.database)
        names = {row.id: (row.datastack, row.name) for row in live.execute(sa.select(feature_tables))}
        for table in (feature_tables, versions, facets, lineage, mat_versions):
            ours, theirs = (_rows(connection, table) for connection in (live, again))
            assert ours == theirs, table.name
            assert ours or table is versions
        if registry.database.sqlite:
            query = sa.text("SELECT name, description, columns, tags, owner FROM documents ORDER BY name")
            assert live.execute(query).all() == again.execute(query).all()
        assert names


def _rows(connection: sa.Connection, table: sa.Table) -> list[str]:
    """Without the numbers that a database gives its tables."""
    named = {row.id: row.name for row in connection.execute(sa.select(feature_tables))}
    rows = [dict(row._mapping) for row in connection.execute(sa.select(table))]
    for row in rows:
        row.pop("id", None) if table is feature_tables else row.update(table_id=named.get(row.get("table_id")))
    return sorted(map(repr, rows))


def test_a_time_without_its_zone_is_refused(registry: Registry, tmp_path: Path) -> None:
    register(registry, written(tmp_path / "t"), publish=True)
    naive = datetime(2024, 5, 1)
    for ask in (
        lambda: registry.describe("d/t", naive),
        lambda: registry.history("d/t", naive),
        lambda: registry.lineage("d/t", naive),
        lambda: registry.search(Search(as_of=naive)),
    ):
        with pytest.raises(Invalid) as raised:
            ask()
        assert (raised.value.field, raised.value.value) == ("as_of", "2024-05-01T00:00:00")
        assert "2024-05-01T00:00:00Z" in raised.value.expected


def test_a_clock_that_is_set_back_waits_for_its_own_time(
    registry: Registry, tmp_path: Path, clock: type[Clock]
) -> None:
    register(registry, written(tmp_path / "a"), publish=True)
    clock.at = START - timedelta(days=7)
    registry.edit("d/t", {"description": "Later."})
    clock.at = START + timedelta(hours=1)
    registry.edit("d/t", {"description": "Last."})
    seen = registry.history("d/t")
    assert [event.at for event in seen] == sorted(event.at for event in seen)
    assert seen[-2].at == START
    assert [event.number for event in seen] == sorted(event.number for event in seen)
    assert registry.describe("d/t", START).table.description == "Later."
    with pytest.raises(NotFound):
        registry.describe("d/t", START - timedelta(days=1))


def test_a_transaction_is_one_instant(registry: Registry, tmp_path: Path) -> None:
    register(registry, written(tmp_path / "a"), publish=True)
    seen = registry.history("d/t")
    assert [event.kind for event in seen] == ["described", "registered", "published"]
    assert len({event.at for event in seen}) == 1


def test_what_was_described_then_is_planned_now(registry: Registry, tmp_path: Path, clock: type[Clock]) -> None:
    register(registry, written(tmp_path / "a"), publish=True)
    clock.at += timedelta(hours=1)
    register(registry, written(tmp_path / "b"), publish=True)
    then = registry.describe("d/t@7", START)
    assert then.version.revision == 0
    plan = registry.plan(PlanRequest(table=str(then.ref)))
    assert plan.entry.version.id == then.version.id


def test_states_make_room_for_others_and_are_shared_by_threads(
    registry: Registry, tmp_path: Path, clock: type[Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past, "STATES_KEPT", 2)
    register(registry, written(tmp_path / "a"), publish=True)
    for number in range(5):
        clock.at += timedelta(hours=1)
        registry.edit("d/t", {"description": str(number)})

    def asked(hours: int) -> tuple[str, str]:
        at = START + timedelta(hours=hours, minutes=30)
        found = registry.search(Search(as_of=at)).entries
        return registry.describe("d/t@7", at).table.description, found[0].table.description

    with ThreadPoolExecutor(6) as pool:
        told = list(pool.map(asked, [1, 2, 3, 4] * 5))
    assert told == [("0", "0"), ("1", "1"), ("2", "2"), ("3", "3")] * 5
    assert len(registry.past._states) == 2
