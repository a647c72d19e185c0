"""Leftovers: what writes that died, or that nobody wants, left below the managed root, and what is kept no longer.
Nothing else is looked at.

A write's folder is `{datastack}/{name}/{mat_version}/{run_id}`. One that a table version lies in, below or above is no
leftover, and neither is one whose version was published once and then unregistered: those data were promised to stay.
"""

from __future__ import annotations

import contextlib
import os
import re
from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from feature_registry.catalog import Connection, entries, events
from feature_registry.errors import Conflict, NotFound
from feature_registry.location import Location
from feature_registry.model import Entry, Leftover, Person, TableRef
from feature_registry.registry import dependents, finding, moving
from feature_registry.storage import StoredObject

if TYPE_CHECKING:
    from feature_registry.registry import Registry

_FOLDER = re.compile(r"([A-Za-z]\w*/[A-Za-z]\w*/(?:\d+|unversioned)/[^/]+)/.", re.ASCII | re.DOTALL)


class Places:
    """Locations that must stay, in the spelling without symbolic links."""

    def __init__(self, locations: Iterable[str]) -> None:
        self._sorted = sorted(f"{_true(Location(each))}/" for each in locations)
        self._all = frozenset(self._sorted)

    def touch(self, folder: Location) -> bool:
        """Whether one of them is the folder, or lies in it or above it."""
        place = f"{_true(folder)}/"
        at = bisect_left(self._sorted, place)
        inside = at < len(self._sorted) and self._sorted[at].startswith(place)
        ends = (found.end() for found in re.finditer("/", place))
        return inside or any(place[:end] in self._all for end in ends)


def leftovers(registry: Registry, older_than: timedelta) -> tuple[Leftover, ...]:
    """What nobody has written to for so long, sorted by place."""
    root, before = registry.settings.managed_root, registry.clock() - older_than
    with registry.database.read(snapshot=True) as connection:
        below = entries.below(connection, root)
        drafts = [each for each in below if _abandoned(connection, each, before)]
        expired = [each for each in below if _is_expired(registry, connection, each)]
        registered = entries.places(connection)
    for each in (*drafts, *expired):
        registered.pop(each.version.id, None)
    kept = Places(registered.values())
    unfinished = list(registry.store(root).unfinished(root))
    folders = _folders(root, (*registry.store(root).list(root), *unfinished))
    found = {place: each for place, each in folders.items() if each.modified < before and not kept.touch(place)}
    tables = {"drafts": _by_place(drafts), "expired": _by_place(expired)}
    found = {
        place: each.model_copy(update={kind: tuple(refs.get(_true(place), ())) for kind, refs in tables.items()})
        for place, each in found.items()
    }
    for file in unfinished:
        if file.modified < before and _folder(root, file.location) not in found:
            found[file.location] = _counted(None, file.location, file).model_copy(update={"unfinished": True})
    return tuple(found[place] for place in sorted(found))


def collect(registry: Registry, listed: Iterable[Leftover]) -> tuple[Leftover, ...]:
    """Deletes what was listed and still is as it was listed, and answers that. The catalog is asked again before each,
    and the storage, too: a path of which anything was not listed stays whole.
    """
    known, kept, deleted = -1, Places(()), []
    standing = set(leftovers(registry, timedelta(0)))
    for leftover in listed:
        if leftover not in standing:
            continue
        _unregister(registry, leftover)
        with registry.database.read(snapshot=True) as connection:
            if known != events.newest(connection):
                known, kept = events.newest(connection), Places(entries.places(connection).values())
        store = registry.store(leftover.location)
        files = [*store.list(leftover.location), *store.unfinished(leftover.location)]
        seen = (len(files), sum(file.size for file in files), max((file.modified for file in files), default=None))
        stays = not leftover.unfinished and kept.touch(leftover.location)
        if stays or seen != (leftover.files, leftover.bytes, leftover.modified):
            continue
        for file in files:
            store.delete(file.location)
        if not leftover.unfinished:
            store.prune(leftover.location)
        deleted.append(leftover)
    return tuple(deleted)


def _unregister(registry: Registry, leftover: Leftover) -> None:
    """The drafts and the expired versions of a place; one that is needed by then stays, and keeps the place."""
    operator = registry.acting(Person(name=registry.person.name, admin=True))
    with contextlib.suppress(Conflict, NotFound):  # others derive from it, or it is gone
        for draft in leftover.drafts:
            moving.unregister(operator, draft, force=False)
    for ref in leftover.expired:
        with registry.database.write() as connection:
            revisions = entries.revisions(connection, TableRef.parse(ref))
            for entry in (each for each in revisions if str(each.ref) == ref):
                if _is_expired(registry, connection, entry):
                    moving.expire(operator, connection, entry)
    registry.access.forget()


def _by_place(found: Iterable[Entry]) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for each in found:
        tables.setdefault(_true(each.version.inspection.location), []).append(str(each.ref))
    return tables


def _is_expired(registry: Registry, connection: Connection, entry: Entry) -> bool:
    """Whether its retention is over, and no published version that is kept was derived from it, be it in steps."""
    now = registry.clock()
    if not finding.is_expired(entry, now):
        return False
    needed = (entries.find(connection, TableRef.parse(ref), "") for ref in dependents.derived(connection, entry.ref))
    return not any(
        each is not None and each.version.status == "published" and not finding.is_expired(each, now) for each in needed
    )


def _abandoned(connection: Connection, entry: Entry, before: datetime) -> bool:
    version = entry.version
    if version.status != "draft" or version.created_at >= before:
        return False
    failed = any(check.blocking and check.outcome == "failed" for check in version.checks)
    revisions = [each.version for each in entries.revisions(connection, version.ref)]
    return failed or any(each.status == "published" and each.revision > version.revision for each in revisions)


def _folders(root: Location, files: Iterable[StoredObject]) -> dict[Location, Leftover]:
    """The folders of writes, each with all of its files."""
    found: dict[Location, Leftover] = {}
    for file in files:
        folder = _folder(root, file.location)
        if folder is not None:
            found[folder] = _counted(found.get(folder), folder, file)
    return found


def _counted(before: Leftover | None, location: Location, file: StoredObject) -> Leftover:
    if before is None:
        return Leftover(location=location, files=1, bytes=file.size, modified=file.modified)
    return Leftover(
        location=location,
        files=before.files + 1,
        bytes=before.bytes + file.size,
        modified=max(before.modified, file.modified),
    )


def _folder(root: Location, file: Location) -> Location | None:
    found = _FOLDER.match(root.relative(file))
    return None if found is None else root.joined(found[1])


def _true(location: Location) -> str:
    return Location(os.path.realpath(location.key)) if location.scheme == "file" else location
