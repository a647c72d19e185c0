"""What makes a table version stale: a truth table, and that exactly the descendants of what changed are stale."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_registry.catalog import events
from feature_registry.model import CheckResult, Person, TableRef
from feature_registry.registry import Registry
from feature_registry_tests.catalog.planted import describe, plant
from feature_registry_tests.registry.filled import register, write
from feature_registry_tests.registry.test_lineage import FRESH, WITH_FIXTURE, Graph, graphs, reached

Act = Callable[[Registry, str], None]  # on a reference


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, catalogs: Callable[[str], Registry]) -> Registry:
    return catalogs(request.param)


def record(registry: Registry, ref: str, kind: str, **details: object) -> None:
    version = registry.acting(Person(name="root", admin=True)).describe(ref).version
    with registry.database.write() as connection:
        events.record(connection, kind, **events.about(version, "ann"), details=details)


def revise(registry: Registry, ref: str) -> None:
    plant(registry.database, ref.rpartition(".")[0])


def draft(registry: Registry, ref: str) -> None:
    plant(registry.database, ref.rpartition(".")[0], status="draft")


def revise_and_withdraw(registry: Registry, ref: str) -> None:
    plant(registry.database, ref.rpartition(".")[0], status="deprecated")


def publish_elsewhere(registry: Registry, ref: str) -> None:
    plant(registry.database, f"{ref.partition('@')[0]}@99")


def deprecate(registry: Registry, ref: str) -> None:
    record(registry, ref, "deprecated")


def unregister(registry: Registry, ref: str) -> None:
    found = TableRef.parse(ref)
    record(registry, ref, "unregistered", mat_version=found.mat_version, revision=found.revision)


def supersede(registry: Registry, ref: str) -> None:
    describe(registry.database, ref, superseded_by="d/successor")


def fail(name: str) -> Act:
    return lambda registry, ref: record(registry, ref, "checked", checks=[CheckResult(name=name, outcome="failed")])


def warn(registry: Registry, ref: str) -> None:
    record(registry, ref, "checked", checks=[CheckResult(name="rows", outcome="warned")])


TRUTH: list[tuple[str, Act, str | None]] = [
    ("a newer revision is published", revise, "has a newer revision d/a@7.1"),
    ("a newer revision is a draft", draft, None),
    ("a newer revision was withdrawn", revise_and_withdraw, None),
    ("another materialization version is published", publish_elsewhere, None),
    ("deprecated", deprecate, "is deprecated"),
    ("unregistered", unregister, "was unregistered"),
    ("superseded", supersede, "is superseded by d/successor"),
    ("its files are gone", fail("exists"), "is no longer as it was registered"),
    ("its bytes are others", fail("content"), "is no longer as it was registered"),
    ("its key is not unique", fail("key"), None),
    ("its newest snapshot has other rows", warn, None),
]


@pytest.mark.row("M18")
@pytest.mark.parametrize(("act", "why"), [each[1:] for each in TRUTH], ids=[each[0] for each in TRUTH])
def test_what_makes_stale(registry: Registry, act: Act, why: str | None) -> None:
    plant(registry.database, "d/a@7")
    plant(registry.database, "d/beside@7")
    plant(registry.database, "e/b@6", derived_from=("d/a@7.0", "d/beside@7.0"))
    plant(registry.database, "d/c@7", derived_from=("e/b@6.0",))
    plant(registry.database, "d/other@7", derived_from=("d/beside@7.0",))
    assert registry.stale() == ()
    act(registry, "d/a@7.0")
    found = {each.table: [cause.said for cause in each.causes] for each in registry.stale()}
    assert found == ({} if why is None else {"e/b@6.0": [f"d/a@7.0 {why}"], "d/c@7.0": [f"d/a@7.0 {why}"]})
    told = {ref: registry.describe(ref).warnings for ref in ("e/b@6", "d/c@7", "d/other@7", "d/beside@7")}
    said = () if why is None else (f"stale: parent d/a@7.0 {why}",)
    further = () if why is None else (f"stale: ancestor d/a@7.0 {why}",)
    assert told == {"e/b@6": said, "d/c@7": further, "d/other@7": (), "d/beside@7": ()}
    assert [each.table for each in registry.stale("d")] == (["d/c@7.0"] if why else [])


@pytest.mark.row("M18")
@WITH_FIXTURE
@given(
    parents=graphs(), data=st.data(), act=st.sampled_from([revise, deprecate, unregister, fail("content"), draft, warn])
)
def test_exactly_the_descendants_are_stale(registry: Registry, parents: Graph, data: st.DataObject, act: Act) -> None:
    stacks, refs = (f"x{next(FRESH)}", f"y{next(FRESH)}"), list[str]()
    for at, of in enumerate(parents):
        name = f"{stacks[at % 2]}/t{at % 3}@{at}"
        refs.append(str(plant(registry.database, name, derived_from=tuple(refs[each] for each in of)).ref))
    changed = data.draw(st.integers(0, len(parents) - 1))
    act(registry, refs[changed])
    below = reached(changed, lambda at: {child for child, of in enumerate(parents) if at in of})
    found = {each.table: each.causes for each in registry.stale() if each.table.partition("/")[0] in stacks}
    assert found.keys() == (set() if act in (draft, warn) else {refs[each] for each in below})
    assert all([cause.table for cause in causes] == [refs[changed]] for causes in found.values())
    for at, ref in enumerate(refs):
        if at != changed:
            stale = [each for each in registry.describe(ref).warnings if each.startswith("stale: ")]
            assert bool(stale) == (ref in found)


def test_making_it_again_clears_it(registry: Registry, tmp_path: Path) -> None:
    places = (write(tmp_path / f"{number}", number) for number in itertools.count(1))
    register(registry, next(places), "a")
    register(registry, next(places), "b", derived_from=["d/a@7"])
    register(registry, next(places), "c", derived_from=["d/b@7"])
    register(registry, next(places), "a")
    assert [each.table for each in registry.stale()] == ["d/b@7.0", "d/c@7.0"]
    register(registry, next(places), "b", derived_from=["d/a@7"])
    (left,) = registry.stale()
    assert (left.table, [each.said for each in left.causes]) == ("d/c@7.0", ["d/b@7.0 has a newer revision d/b@7.1"])
    assert registry.describe("d/b@7").warnings == ()
    assert len(registry.describe("d/b@7.0").warnings) == 1  # who reads the old one is told all the same
    register(registry, next(places), "c", derived_from=["d/b@7"])
    assert registry.stale() == ()
    assert registry.describe("d/c@7").warnings == ()


def test_what_replaces_its_parent_is_not_stale_by_that(registry: Registry) -> None:
    plant(registry.database, "d/old@7")
    plant(registry.database, "d/old@7", derived_from=("d/old@7.0",))
    plant(registry.database, "d/new@7", derived_from=("d/old@7.1",))
    plant(registry.database, "d/user@7", derived_from=("d/new@7.0",))
    describe(registry.database, "d/old", superseded_by="d/new")
    assert registry.stale() == ()


def test_a_stale_draft_is_its_makers_alone(registry: Registry) -> None:
    plant(registry.database, "d/a@7")
    plant(registry.database, "d/b@7", status="draft", by="ann", derived_from=("d/a@7.0",))
    plant(registry.database, "d/a@7")
    assert registry.acting(Person(name="bob")).stale() == ()
    assert [each.table for each in registry.acting(Person(name="ann")).stale()] == ["d/b@7.0"]


def test_the_past_does_not_speak_of_staleness(registry: Registry) -> None:
    plant(registry.database, "d/a@7")
    plant(registry.database, "d/b@7", derived_from=("d/a@7.0",))
    then = registry.history("d/b")[-1].at
    plant(registry.database, "d/a@7")
    assert registry.describe("d/b@7", then).warnings == ()
