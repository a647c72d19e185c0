"""Graph walks over what was derived from what. Pure: an edge goes from a table version to its parents."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from feature_registry.errors import Conflict


def walk(start: str, neighbours: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """All that is reached from `start`, nearest first, without `start` itself."""
    reached: dict[str, None] = {}
    frontier = [start]
    while frontier:
        found = [near for at in frontier for near in neighbours(at) if near != start and near not in reached]
        frontier = list(dict.fromkeys(found))
        reached.update(dict.fromkeys(frontier))
    return tuple(reached)


def check_acyclic(child: str, parents: Iterable[str], parents_of: Callable[[str], Iterable[str]]) -> None:
    """Raises `Conflict` if a parent is the child, or derives from it."""
    for parent in parents:
        if parent == child or child in walk(parent, parents_of):
            raise Conflict("would derive from itself", field="derived_from", value=parent, expected=f"not {child}")


def newest(start: str, successor: Callable[[str], str | None]) -> tuple[str, ...]:
    """The chain of successors from `start` on, itself first; a circle ends where it closes."""
    chain = [start]
    following = successor(start)
    while following is not None and following not in chain:
        chain.append(following)
        following = successor(following)
    return tuple(chain)
