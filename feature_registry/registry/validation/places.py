"""The place: whether it is registered already, and who else may read it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path

import pyarrow as pa

from feature_registry.catalog import Connection, entries
from feature_registry.location import Location
from feature_registry.model import CheckResult, Person, Registration

FILES_LOOKED_AT = 100


def location(connection: Connection, registration: Registration, person: Person) -> CheckResult:
    """One place may be registered under one name only, unless somebody wants it so: an alias names the other. Of
    somebody else's draft, only that there is one is told.
    """
    mine = (registration.datastack, registration.name, registration.mat_version)
    aliased = {ref.rpartition(".")[0] or ref for ref in registration.derived_from}
    place = registration.location
    around = [found for at in _above(place) for found in entries.places_of(connection, str(at), person)]
    same = _named(entries.places_of(connection, str(place), person), mine) - aliased
    above = _named(around, mine) - aliased
    below = _named(entries.places_below(connection, place, person), mine) - aliased
    said = [f"registered already as {', '.join(sorted(same))}"] if same else []
    said += [f"lies inside of {', '.join(sorted(above))}"] if above else []
    said += [f"holds {', '.join(sorted(below))}"] if below else []
    if not said:
        return CheckResult(name="location", outcome="passed")
    details = {"tables": sorted(same), "above": sorted(above), "below": sorted(below)}
    return CheckResult(name="location", outcome="failed", message="; ".join(said), details=details)


def _named(places: list[entries.Place], mine: tuple[str, str, int | None]) -> set[str]:
    return {str(each) if each.shown else "a draft of somebody else" for each in places if each[:3] != mine}


def _above(place: Location) -> list[Location]:
    root, _, tail = str(place).partition("://")
    parts = [part for part in tail.split("/") if part][:-1]
    start = f"{root}:///" if root == "file" else f"{root}://"
    return [Location(start + "/".join(parts[:count])) for count in range(1, len(parts) + 1)]


def world_readable(place: Location, manifest: pa.Table) -> CheckResult:
    """What the whole world may read, nobody needs a grant for: then budgets do not bind."""
    if place.scheme != "file":
        message = f"nobody looked who may read {place.scheme}://"
        return CheckResult(name="world_readable", outcome="skipped", message=message)
    files = [Path(place.joined(each.as_py()).key) for each in islice(manifest["path"], FILES_LOOKED_AT)]
    reachable = cache(_reachable)  # files have their folders in common
    if any(_open(file, reachable) for file in files):
        message = "everybody on the machine may read the files: budgets do not bind"
        return CheckResult(name="world_readable", outcome="failed", message=message)
    return CheckResult(name="world_readable", outcome="passed", message="not everybody may read the files")


def _open(file: Path, reachable: Callable[[Path], bool]) -> bool:
    try:
        real = file.resolve(strict=True) if file.is_symlink() else file
        return reachable(real.parent) and bool(real.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _reachable(folder: Path) -> bool:
    real = folder.resolve(strict=True)
    return all(each.stat().st_mode & stat.S_IXOTH for each in (real, *real.parents))
