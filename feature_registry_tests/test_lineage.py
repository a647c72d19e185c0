from __future__ import annotations

import pytest

from feature_registry.errors import Conflict
from feature_registry.lineage import check_acyclic, newest, spread, walk

GRAPH = {"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}


def test_a_walk_reaches_everything_once_nearest_first() -> None:
    assert walk("d", GRAPH.__getitem__) == ("b", "c", "a")
    assert walk("a", GRAPH.__getitem__) == ()


def test_a_walk_around_a_circle_ends() -> None:
    assert walk("x", {"x": ["y"], "y": ["x"]}.__getitem__) == ("y",)


def test_a_circle_is_refused() -> None:
    check_acyclic("e", ["d"], ())
    for child, below in (("a", ("b", "c", "d")), ("d", ())):
        with pytest.raises(Conflict, match="derive from itself"):
            check_acyclic(child, ["d"], below)
    with pytest.raises(Conflict, match="supersede itself") as raised:
        check_acyclic("a", ["b", "a"], (), "superseded_by")
    assert (raised.value.field, raised.value.value) == ("superseded_by", "a")


def test_a_fault_spreads_to_all_below_and_stops_at_the_next_one() -> None:
    edges = [(child, parent) for child, parents in GRAPH.items() for parent in parents]
    assert spread(edges, lambda child, parent: None) == {}
    assert spread(edges, lambda child, parent: "x" if parent == "a" else None) == {
        "b": {"a": "x"},
        "c": {"a": "x"},
        "d": {"a": "x"},
    }
    faults = {("b", "a"): "old", ("d", "b"): "gone"}
    assert spread(edges, lambda *edge: faults.get(edge)) == {"b": {"a": "old"}, "d": {"b": "gone"}}
    assert spread([("x", "y"), ("y", "x")], lambda *edge: "!" if edge == ("x", "y") else None) == {
        "x": {"y": "!"},
        "y": {"y": "!"},
    }


def test_successors_are_followed_to_the_newest() -> None:
    assert newest("a", {"a": "b", "b": "c", "c": None}.get) == ("a", "b", "c")
    assert newest("a", {"a": "b", "b": "a"}.get) == ("a", "b")
