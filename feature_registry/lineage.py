"""Graph walks over what was derived from what. Pure: an edge goes from a child to one of its parents."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TypeVar

from feature_registry.errors import Conflict

T = TypeVar("T")


def walk(start: str, neighbours: Callable[[str], Iterable[str]]) -> tuple[str, ...]:
    """All that is reached from `start`, nearest first, without `start` itself."""
    reached: dict[str, None] = {}
    frontier = [start]
    while frontier:
        found = [near for at in frontier for near in neighbours(at) if near != start and near not in reached]
        frontier = list(dict.fromkeys(found))
        reached.update(dict.fromkeys(frontier))
    return tuple(reached)


def grouped(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """The second ones by the first; of what is no first one, none."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for one, other in pairs:
        found[one].append(other)
    return found


def check_acyclic(child: str, parents: Iterable[str], below: Collection[str], field: str = "derived_from") -> None:
    """Raises `Conflict` if a parent is the child, or one of those `below` it."""
    for parent in parents:
        if parent == child or parent in below:
            message = "would derive from itself" if field == "derived_from" else "would supersede itself"
            raise Conflict(message, field=field, value=parent, expected=f"not {child}")


def newest(start: str, successor: Callable[[str], str | None]) -> tuple[str, ...]:
    """The chain of successors from `start` on, itself first; a circle ends where it closes."""
    chain = [start]
    following = successor(start)
    while following is not None and following not in chain:
        chain.append(following)
        following = successor(following)
    return tuple(chain)


def spread(edges: Iterable[tuple[str, str]], fault: Callable[[str, str], T | None]) -> dict[str, dict[str, T]]:
    """Whom a fault of a parent touches: child -> ancestor -> what is wrong with it, the nearest first.

    Beyond an ancestor at fault none is named: making that one again may mend what lies behind it.
    """
    found: defaultdict[str, dict[str, T]] = defaultdict(dict)
    onward: defaultdict[str, list[str]] = defaultdict(list)
    waiting: deque[tuple[str, str]] = deque()
    for child, parent in edges:
        wrong = fault(child, parent)
        if wrong is None:
            onward[parent].append(child)
        else:
            found[child][parent] = wrong
            waiting.append((child, parent))
    while waiting:
        at, ancestor = waiting.popleft()
        for child in onward[at]:
            if ancestor not in found[child]:
                found[child][ancestor] = found[at][ancestor]
                waiting.append((child, ancestor))
    return dict(found)
