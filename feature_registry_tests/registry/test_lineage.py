"""Walks over planted graphs equal what was planted; circles are refused; what hides and what is said of tables."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_registry.catalog import events, graph
from feature_registry.errors import Conflict, Invalid, NotFound
from feature_registry.model import Column, Datastack, Lineage, Person
from feature_registry.registry import Registry, lineage
from feature_registry_tests.catalog.planted import describe, plant
from feature_registry_tests.registry.filled import register, write

Graph = list[set[int]]  # the parents of each node, which all come before it
FRESH = itertools.count()
WITH_FIXTURE = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, catalogs: Callable[[str], Registry]) -> Registry:
    return catalogs(request.param)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    size = draw(st.integers(1, 12))
    return [draw(st.sets(st.integers(0, at - 1), max_size=3)) if at else set() for at in range(size)]


def planted(registry: Registry, parents: Graph) -> list[str]:
    """Over two datastacks of their own, three tables each, several versions and revisions; answers the references."""
    stacks, refs = (f"a{next(FRESH)}", f"b{next(FRESH)}"), list[str]()
    for at, of in enumerate(parents):
        ref = f"{stacks[at % 2]}/t{at % 3}@{at % 4}"
        made = plant(registry.database, ref, derived_from=tuple(refs[each] for each in of))
        refs.append(str(made.ref))
    return refs


def reached(start: int, near: Callable[[int], set[int]]) -> dict[int, int]:
    """By brute force: node -> its distance."""
    found, frontier, distance = dict[int, int](), {start}, 0
    while frontier:
        distance += 1
        frontier = {each for at in frontier for each in near(at)} - found.keys()
        found |= dict.fromkeys(frontier, distance)
    return found


@pytest.mark.row("M18")
@WITH_FIXTURE
@given(parents=graphs(), data=st.data())
def test_walks_equal_the_planted_graph(registry: Registry, parents: Graph, data: st.DataObject) -> None:
    refs = planted(registry, parents)
    start = data.draw(st.integers(0, len(parents) - 1))
    depth = data.draw(st.none() | st.integers(1, 4))
    children = [{child for child, of in enumerate(parents) if at in of} for at in range(len(parents))]
    found = registry.lineage(refs[start], depth=depth)
    edges = set()
    for walk, near in ((found.upstream, parents.__getitem__), (found.downstream, children.__getitem__)):
        distances = {refs[each]: far for each, far in reached(start, near).items() if depth is None or far <= depth}
        assert set(walk) == distances.keys()
        assert [distances[ref] for ref in walk] == sorted(distances.values())
        within = [start, *(each for each in reached(start, near) if refs[each] in walk)]
        limit = {start: 0} | reached(start, near)
        edges |= {
            (refs[one], refs[other]) if near == parents.__getitem__ else (refs[other], refs[one])
            for one in within
            for other in near(one)
            if depth is None or limit[one] < depth
        }
    assert {(edge.child, edge.parent) for edge in found.edges} == edges
    assert {node.table for node in found.nodes} == {refs[start], *found.upstream, *found.downstream}
    assert {node.status for node in found.nodes} == {"published"}
    assert registry.lineage(refs[start], direction="up").downstream == ()
    assert registry.lineage(refs[start], direction="down").upstream == ()


def test_ten_thousand_versions_are_walked_in_a_second(registry: Registry) -> None:
    """A chain of 5,000, and 5,000 more with three parents each: written as rows, for planting takes minutes."""
    edges = {(at, at - 1) for at in range(1, 5000)}
    edges |= {(at, (at * factor) % 5000) for at in range(5000, 10_000) for factor in (3, 7, 11)}
    rows = [
        {"child_table": f"d/t{child % 100}", "child_at": f"{child}.0"}
        | {"parent_table": f"d/t{parent % 100}", "parent_at": f"{parent}.0"}
        for child, parent in edges
    ]
    plant(registry.database, "d/t0@0")
    with registry.database.write() as connection:
        connection.execute(graph.lineage.insert(), rows)
    registry.lineage("d/t0@0", depth=1)
    begun = time.perf_counter()
    found = registry.lineage("d/t0@0")
    taken = time.perf_counter() - begun
    assert len(found.downstream) == 9999
    assert taken < 5, taken  # a busy machine; alone it takes less than one


@pytest.mark.row("M18")
def test_a_circle_is_refused_also_across_datastacks(registry: Registry, tmp_path: Path) -> None:
    register(registry, write(tmp_path / "a", 1), "a", derived_from=["e/c@7.0"])  # which is named before it is there
    register(registry, write(tmp_path / "b", 2), "b", derived_from=["d/a@7"])
    before = registry.newest_event()
    for parents in (["d/b@7"], ["d/x@1", "d/a@7.0"], ["e/c@7"]):
        with pytest.raises(Conflict, match="derive from itself") as raised:
            register(registry, write(tmp_path / "c", 3), "c", datastack="e", derived_from=parents)
        assert raised.value.field == "derived_from"
    with pytest.raises(Invalid, match="no reference"):
        register(registry, write(tmp_path / "c", 3), "c", derived_from=["../a"])
    assert registry.newest_event() == before
    assert register(registry, write(tmp_path / "c", 3), "c", datastack="e").created


def test_versions_may_derive_from_each_others_tables(registry: Registry, tmp_path: Path) -> None:
    register(registry, write(tmp_path / "a1", 1), "a", 1)
    register(registry, write(tmp_path / "b1", 2), "b", 1, derived_from=["d/a@1"])
    report = register(registry, write(tmp_path / "a2", 3), "a", 2, derived_from=["d/b@1"])
    assert registry.lineage("d/a@2").upstream == ("d/b@1.0", "d/a@1.0")
    again = register(registry, write(tmp_path / "a2b", 4), "a", 2, derived_from=["d/a@2"])  # its own older revision
    assert again.entry.version.derived_from == (str(report.ref),)


def test_a_reference_means_the_revision_that_is_current_then(registry: Registry, tmp_path: Path) -> None:
    register(registry, write(tmp_path / "a", 1), "a")
    register(registry, write(tmp_path / "a1", 2), "a")
    made = register(registry, write(tmp_path / "b", 3), "b", derived_from=["d/a@7", "d/a", "d/a@7.0", "d/gone@3"])
    assert made.entry.version.derived_from == ("d/a@7.1", "d/a@7.0", "d/gone@3")
    register(registry, write(tmp_path / "a2", 4), "a")
    assert registry.lineage("d/b@7").upstream == ("d/a@7.0", "d/a@7.1", "d/gone@3.0")
    assert {node.table: node.status for node in registry.lineage("d/b@7").nodes}["d/gone@3.0"] is None
    assert registry.lineage("d/a@7.2").downstream == ()


def test_two_that_are_registered_at_once_close_no_circle(registry: Registry, tmp_path: Path) -> None:
    places = {name: write(tmp_path / name, 1) for name in "ab"}
    registry.record_datastack(Datastack(name="d"))
    for round in range(4):
        pairs = ((f"a{round}", f"b{round}"), (f"b{round}", f"a{round}"))
        with ThreadPoolExecutor(2) as pool:
            tries = [
                pool.submit(register, registry, places[name[0]], name, 7, derived_from=[f"d/{parent}@7.0"])
                for name, parent in pairs
            ]
        assert sum(isinstance(each.exception(), Conflict) for each in tries) == 1, [t.exception() for t in tries]
        with ThreadPoolExecutor(2) as pool:
            tries = [
                pool.submit(register, registry, places[name[0]], f"s{name}", 7, superseded_by=f"d/s{other}")
                for name, other in pairs
            ]
        assert sum(isinstance(each.exception(), Conflict) for each in tries) == 1, [t.exception() for t in tries]


def test_supersession_in_a_circle_is_refused(registry: Registry, tmp_path: Path) -> None:
    for name in "abc":
        register(registry, write(tmp_path / name, ord(name)), name)
    registry.edit("d/a", {"superseded_by": "d/b"})
    registry.deprecate("d/b@7", "old", "d/c")
    before = registry.newest_event()
    for act in (
        lambda: registry.edit("d/c", {"superseded_by": "d/a@7"}),
        lambda: registry.edit("d/c", {"superseded_by": "d/c"}),
        lambda: registry.deprecate("d/c@7", "old", "d/a"),
        lambda: register(registry, write(tmp_path / "d", 1), "c", superseded_by="d/b"),
    ):
        with pytest.raises(Conflict, match="supersede itself"):
            act()
    assert registry.newest_event() == before
    assert str(registry.resolve("d/a@7").ref) == "d/c@7.0"


def test_other_peoples_drafts_are_not_shown_but_walked_through(registry: Registry) -> None:
    for ref, parents, status in (
        ("a", (), "published"),
        ("b", ("d/a@1.0",), "draft"),
        ("c", ("d/b@1.0",), "published"),
    ):
        plant(registry.database, f"d/{ref}@1", status=status, by="ann", derived_from=parents)
    other, admin = registry.acting(Person(name="bob")), registry.acting(Person(name="root", admin=True))
    assert other.lineage("d/a@1").downstream == ("d/c@1.0",)
    assert other.lineage("d/c@1").upstream == ("d/a@1.0",)
    assert "d/b@1.0" not in str(other.lineage("d/a@1").model_dump())
    for person in (admin, registry.acting(Person(name="ann"))):
        assert person.lineage("d/a@1").downstream == ("d/b@1.0", "d/c@1.0")


def kinds(found: Lineage, kind: str) -> set[str]:
    return {str(edge) for edge in found.edges if edge.kind == kind}


def test_what_is_said_of_the_tables_are_edges_too(registry: Registry) -> None:
    plant(registry.database, "d/nuclei@7")
    plant(registry.database, "e/cells@6")
    plant(registry.database, "d/new@7")
    plant(registry.database, "d/spines@7", derived_from=("e/cells@6.0",))
    plant(registry.database, "d/secret@7", status="draft", by="eve")
    describe(
        registry.database,
        "d/spines",
        references={"cell": "e/cells.id", "nucleus": "nuclei.id"},
        superseded_by="d/new",
        columns={"volume": Column(derived_from=("e/cells.size", "nuclei.r"))},
    )
    describe(registry.database, "d/secret", references={"x": "nuclei.id"})
    found = registry.lineage("d/spines@7", columns=True)
    assert kinds(found, "superseded_by") == {"d/spines@7.0 superseded by d/new@7.0"}
    assert kinds(found, "references") == {
        "d/spines@7.0.cell references e/cells@6.0.id",
        "d/spines@7.0.nucleus references d/nuclei@7.0.id",
    }
    assert kinds(found, "derived_from") == {
        "d/spines@7.0 derived from e/cells@6.0",
        "d/spines@7.0.volume derived from e/cells@6.0.size",
        "d/spines@7.0.volume derived from d/nuclei@7.0.r",
    }
    assert found.upstream == ("e/cells@6.0",)
    inward = registry.acting(Person(name="bob")).lineage("d/nuclei@7", direction="down")
    assert [str(edge) for edge in inward.edges] == ["d/spines@7.0.nucleus references d/nuclei@7.0.id"]
    assert kinds(registry.lineage("d/new@7"), "superseded_by") == {"d/spines@7.0 superseded by d/new@7.0"}
    assert all(node.status == "published" for node in found.nodes)
    assert str(found).splitlines()[:3] == ["d/spines@7.0", "  derived from", "    e/cells@6.0"]


def test_a_column_is_followed_up_and_down(registry: Registry) -> None:
    for name in ("a", "b", "c"):
        plant(registry.database, f"d/{name}@7")
    plant(registry.database, "e/far@7")
    describe(registry.database, "d/b", columns={"size": Column(derived_from=("a.id", "a.size"))})
    describe(registry.database, "d/c", columns={"x": Column(derived_from=("d/b.size",)), "y": Column()})
    describe(registry.database, "e/far", columns={"z": Column(derived_from=("d/b.size", "far.z"))})
    found = registry.lineage("d/b@7", column="size")
    assert (found.table, found.upstream) == ("d/b.size", ("d/a.id", "d/a.size"))
    assert found.downstream == ("d/c.x", "e/far.z")
    assert registry.lineage("d/c@7", column="x").upstream == ("d/b.size", "d/a.id", "d/a.size")
    assert registry.lineage("d/c@7", column="x", depth=1).upstream == ("d/b.size",)
    assert registry.lineage("d/a@7", column="id").downstream == ("d/b.size", "d/c.x", "e/far.z")
    assert registry.lineage("e/far@7", column="z", direction="down").downstream == ()  # a circle of its own ends
    assert {node.table for node in found.nodes} == {"d/a", "d/b", "d/c", "e/far"}
    with pytest.raises(NotFound) as raised:
        registry.lineage("d/b@7", column="nothing")
    assert raised.value.field == "column"


def test_the_past_has_its_own_lineage(registry: Registry) -> None:
    plant(registry.database, "d/a@7")
    plant(registry.database, "d/b@7", derived_from=("d/a@7.0",))
    then = datetime.now(UTC)
    version = plant(registry.database, "d/c@7", derived_from=("d/b@7.0",))
    with registry.database.write() as connection:
        about = events.about(version, "ann")
        events.record(connection, "unregistered", **about, details={"mat_version": 7, "revision": 0, "derived": []})
    plant(registry.database, "d/e@7", derived_from=("d/a@7.0",))
    assert registry.lineage("d/a@7", then).downstream == ("d/b@7.0",)
    assert registry.lineage("d/a@7").downstream == ("d/b@7.0", "d/e@7.0")
    with registry.database.read() as connection:
        assert graph.up(connection, "d/c@7.0") == []  # its edges went with it


def test_nothing_settled_needs_the_whole_catalog(registry: Registry) -> None:
    plant(registry.database, "d/a@7")
    with registry.database.read() as connection:
        assert lineage.is_settled(connection, ())
        assert lineage.is_settled(connection, ("d/a@7.0",))
        assert not lineage.is_settled(connection, ("d/a@7.0", "d/b@7.0"))
