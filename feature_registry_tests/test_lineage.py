from __future__ import annotations

import pytest

from feature_registry.errors import Conflict
from feature_registry.lineage import check_acyclic, newest, walk

GRAPH = {"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}


def test_a_walk_reaches_everything_once_nearest_first() -> None:
    assert walk("d", GRAPH.__getitem__) == ("b", "c", "a")
    assert walk("a", GRAPH.__getitem__) == ()


def test_a_walk_around_a_circle_ends() -> None:
    assert walk("x", {"x": ["y"], "y": ["x"]}.__getitem__) == ("y",)


def test_a_circle_is_refused() -> None:
    check_acyclic("e", ["d"], GRAPH.__getitem__)
    for child in ("a", "d"):
        with pytest.raises(Conflict, match="derive from itself"):
            check_acyclic(child, ["d"], GRAPH.__getitem__)


def test_successors_are_followed_to_the_newest() -> None:
    assert newest("a", {"a": "b", "b": "c", "c": None}.get) == ("a", "b", "c")
    assert newest("a", {"a": "b", "b": "a"}.get) == ("a", "b")
