"""What happens to table versions whose data somebody moved, or that should be known no more. No data are touched."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from feature_registry import policy
from feature_registry.catalog import Connection, entries, events
from feature_registry.errors import Conflict, Invalid, NotFound, RegistryError
from feature_registry.formats import Inspected
from feature_registry.location import Location
from feature_registry.model import Entry, Person, TableRef
from feature_registry.registry import dependents, manifests, owners
from feature_registry.registry import registration as registering

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def unregister(registry: Registry, table: str, force: bool) -> Entry:
    ref = registry.reference(table)
    if ref.mat_version == "latest":
        expected = f"{ref.datastack}/{ref.name}@mat_version, or @unversioned"
        raise Invalid("does not say which version", field="table", value=table, expected=expected)
    with registry.database.write() as connection:
        entry = _only(registry, connection, ref)
        owners.check(registry, connection, entry.table, draft=entry.version)
        _forget(registry, connection, entry, force)
    registry.access.forget()
    return entry


def unregister_run(registry: Registry, run_id: str) -> tuple[Entry, ...]:
    """All that a run made goes together, so that what it derived from its own does not keep it."""
    with registry.database.write() as connection:
        made = entries.of_run(connection, run_id)
        if not any(policy.is_seen(registry.person, each.version) for each in made):
            raise NotFound("made no table version here", field="run_id", value=run_id)
        for entry in made:
            owners.check(registry, connection, entry.table, draft=entry.version)
            _forget(registry, connection, entry, force=False, inside={str(each.ref) for each in made})
    registry.access.forget()
    return made


def expire(registry: Registry, connection: Connection, entry: Entry) -> None:
    """What its retention ended, its data are about to be deleted: the record says so."""
    _forget(registry, connection, entry, force=True, expired=True)


def _forget(  # noqa: PLR0917
    registry: Registry,
    connection: Connection,
    entry: Entry,
    force: bool,
    inside: Collection[str] = (),
    expired: bool = False,
) -> None:
    derived = [each for each in dependents.derived(connection, entry.ref, depth=1) if each not in inside]
    if derived and not force:
        said = [*dependents.shown(connection, derived, registry.person)]
        said += ["drafts of others"] * (len(said) < len(derived))
        expected = f"force, or none of {said}"
        raise Conflict("is what others were derived from", field="table", value=str(entry.ref), expected=expected)
    version = entry.version
    told = dependents.shown(connection, derived, Person(name=""))  # the record is for everybody
    details = {"mat_version": version.mat_version, "revision": version.revision, "derived": list(told)}
    details |= {"expired": True} if expired else {}
    events.record(connection, "unregistered", **events.about(version, registry.person.name), details=details)


def _only(registry: Registry, connection: Connection, ref: TableRef) -> Entry:
    found = [
        each
        for each in entries.revisions(connection, ref)
        if ref.revision in (None, each.version.revision) and policy.is_seen(registry.person, each.version)
    ]
    if not found:
        raise registry.not_found(connection, ref)
    if len(found) > 1:
        expected = [str(each.ref) for each in found]
        raise Invalid("does not say which revision", field="table", value=str(ref), expected=expected)
    return found[0]


# ------------------------------------------------------------------------------------------------------- relocation


@dataclass(frozen=True, slots=True)
class Move:
    """A version, what it is at its new place, and its manifest with the new files' marks."""

    before: Entry
    after: Entry
    manifest: pa.Table


def relocate(registry: Registry, old: Location, new: Location, dry_run: bool) -> tuple[Entry, ...]:
    """Looks at all files first, which may take long, then moves everything in one transaction."""
    if old == new:
        raise Invalid("is the old location", field="new", value=str(new), expected="another one")
    with registry.database.read() as connection:
        found = entries.below(connection, old)
    if not found:
        raise NotFound("holds no registered table", field="old", value=str(old))
    with ThreadPoolExecutor(4) as pool:
        moves = list(pool.map(lambda entry: _inspected(registry, entry, old, new), found))
    if not dry_run:
        with registry.database.write() as connection:
            _move(registry, connection, old, moves)
        registry.access.forget()
    return tuple(move.after for move in moves)


def _move(registry: Registry, connection: Connection, old: Location, moves: list[Move]) -> None:
    """Raises `Conflict` if what lies below the old location is no longer what was looked at."""
    now = {each.version.id: each.version.inspection for each in entries.below(connection, old)}
    if now != {move.before.version.id: move.before.version.inspection for move in moves}:
        raise Conflict("changed meanwhile", field="old", value=str(old), expected="the same call again")
    for move in moves:
        inspection = move.after.version.inspection
        change = inspection.model_dump(mode="json", include={"location", "fingerprint", "layouts"})
        details = {"from": move.before.version.inspection.location, "inspection": change}
        about = events.about(move.before.version, registry.person.name)
        events.record(connection, "relocated", **about, details=details)
        entries.replace_manifest(connection, move.before.version.id, manifests.encode(move.manifest))


def _inspected(registry: Registry, entry: Entry, old: Location, new: Location) -> Move:
    version, said = entry.version, entry.version.inspection
    tail = old.relative(said.location)
    place = new.joined(tail) if tail else new
    with registry.database.read() as connection:
        content = entries.manifest(connection, version.id)
    if content is None:
        raise Conflict("has no manifest to compare with", field="table", value=str(entry.ref), expected="unregister it")
    try:
        seen = registering.inspect_again(registry, said, place)
    except RegistryError as wrong:
        message = f"{entry.ref} is not at the new place: {wrong.message}"
        raise type(wrong)(message, field=wrong.field, value=wrong.value, expected=wrong.expected) from wrong
    manifest = manifests.decode(content)
    _check_same(entry, place, manifest, seen)
    # Each layout's fingerprint is another, too.
    changed = {name: getattr(seen.inspection, name) for name in ("fingerprint", "layouts")}
    inspection = said.model_copy(update={"location": place, **changed})
    after = entry.model_copy(update={"version": version.model_copy(update={"inspection": inspection})})
    at = manifest.column_names.index("etag")
    return Move(entry, after, manifest.set_column(at, "etag", seen.manifest["etag"]))  # both are sorted by path


def _check_same(entry: Entry, place: Location, manifest: pa.Table, seen: Inspected) -> None:
    """Raises `Conflict` that names the table, the file, and what differs."""
    before, after = _files(manifest), _files(seen.manifest)
    for path in sorted({*before, *after}):
        file = str(place.joined(path) if path else place)
        if path not in before or path not in after:
            message = "is missing" if path in before else "is no file of the table"
            expected = f"the files of {entry.ref}"
            raise Conflict(f"{entry.ref}: {message}", field="file", value=file, expected=expected)
        for name, was, now in zip(("bytes", "checksum"), before[path], after[path], strict=True):
            if was is not None and now is not None and was != now:
                raise Conflict(f"{entry.ref}: has other {name}, {now}", field="file", value=file, expected=was)
    for name in ("rows", "fields"):
        was, now = getattr(entry.version.inspection, name), getattr(seen.inspection, name)
        if was != now:
            raise Conflict(f"{entry.ref}: has other {name}, {now}", field="location", value=str(place), expected=was)


def _files(manifest: pa.Table) -> dict[str, tuple[int, str | None]]:
    paths, sizes, sums = (manifest[name].to_pylist() for name in ("path", "size", "checksum"))
    return {path: (size, checksum) for path, size, checksum in zip(paths, sizes, sums, strict=True)}
