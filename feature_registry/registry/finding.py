"""What a reference stands for: the entry, what one should be warned of, and where a table that was superseded leads."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from feature_registry import policy
from feature_registry.catalog import entries, events, latest
from feature_registry.errors import NotFound
from feature_registry.model import Entry, Event, MaterializationVersion, Person, TableRef, aware, is_version_id
from feature_registry.registry import drift, lineage

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def reference(registry: Registry, table: str) -> TableRef:
    """What is written as a reference, or as a version's UUID."""
    if not is_version_id(table.lower()):
        return TableRef.parse(table)
    with registry.database.read() as connection:
        entry = entries.by_id(connection, table.lower())
    if entry is None or not policy.is_seen(registry.person, entry.version):
        raise NotFound("is no table version", field="table", value=table)
    return entry.ref


def history(registry: Registry, table: str, as_of: datetime | None) -> tuple[Event, ...]:
    ref = reference(registry, table)
    with registry.past.read(as_of, ref.datastack, ref.name) as connection:
        seen = entries.find(connection, ref, registry.person.name) is not None
        if not seen and not entries.is_bare(connection, ref):
            raise registry.not_found(connection, ref, as_of)
    with registry.database.read() as connection:
        told = events.history(connection, ref.datastack, ref.name, as_of)
    shown = {each.version_id for each in told if _is_shown(each, registry.person)}
    return tuple(each for each in told if each.version_id is None or each.version_id in shown)


def _is_shown(event: Event, person: Person) -> bool:
    """Whether it is what shows a version to a person: others' drafts stay hidden, also once they are gone."""
    return event.kind == "published" or (event.kind == "registered" and (person.admin or event.by == person.name))


def mat_versions(registry: Registry, datastack: str) -> tuple[MaterializationVersion, ...]:
    with registry.database.read() as connection:
        known = [each.name for each in entries.all_datastacks(connection)]
        if datastack not in known:
            raise NotFound("is no datastack here", field="datastack", value=datastack, expected=known)
        return entries.materializations(connection, datastack)


def describe(registry: Registry, table: str, as_of: datetime | None, nearest: bool) -> Entry:
    ref, now = reference(registry, table), registry.clock() if as_of is None else aware("as_of", as_of)
    with registry.past.read(as_of, ref.datastack, ref.name) as connection:
        entry = entries.find(connection, ref, registry.person.name)
        if entry is not None and ref.mat_version == "latest" and is_expired(entry, now):
            entry = latest.latest(connection, ref, now)
        if entry is not None:
            return drift.warned(_warned(registry, entry, now, as_of))
        if nearest and isinstance(ref.mat_version, int):
            entry = latest.nearest(connection, ref, now)
        if entry is None:
            raise registry.not_found(connection, ref, as_of)
    warning = f"{ref.mat_version} is not there; this is {entry.version.mat_version}, the newest older one"
    return _with(drift.warned(_warned(registry, entry, now, as_of)), warning)


def is_expired(entry: Entry, now: datetime) -> bool:
    end = policy.expires_at(entry.table, entry.version)
    return end is not None and end < now


def _warned(registry: Registry, entry: Entry, now: datetime, as_of: datetime | None) -> Entry:
    if entry.version.deprecation is not None:
        reason, successor = entry.version.deprecation.reason, _successor(entry)
        because, leads = f": {reason}" if reason else "", f"; its successor is {successor}" if successor else ""
        entry = _with(entry, f"{entry.ref} is deprecated{because}{leads}")
    if is_expired(entry, now):
        end = policy.expires_at(entry.table, entry.version)
        entry = _with(entry, f"{entry.ref} expired on {end:%Y-%m-%d}, and may be deleted")
    return entry if as_of else lineage.warned(registry, entry)


def _with(entry: Entry, warning: str) -> Entry:
    return entry.model_copy(update={"warnings": (warning, *entry.warnings)})


def resolve(registry: Registry, table: str, as_of: datetime | None, nearest: bool) -> Entry:
    """Follows what supersedes what to the newest, at the same materialization version where one is named; where the
    successor has none at it, the answer says so. Supersessions in a circle end where they close.
    """
    entry, at = describe(registry, table, as_of, nearest), reference(registry, table).mat_version
    seen, said = {str(entry.ref)}, list[str]()
    while (successor := _successor(entry)) is not None:
        newer, warning = _follow(registry, successor, at, as_of, nearest)
        if str(newer.ref) in seen:
            break
        entry, seen = newer, seen | {str(newer.ref)}
        said += [warning] if warning else []
    return entry.model_copy(update={"warnings": (*said, *entry.warnings)})


def _successor(entry: Entry) -> str | None:
    """What replaces a deprecated version, as was said of it, else of its table."""
    deprecation = entry.version.deprecation
    return (deprecation and deprecation.superseded_by) or entry.table.superseded_by


def _follow(
    registry: Registry, successor: str, at: int | str, as_of: datetime | None, nearest: bool
) -> tuple[Entry, str | None]:
    """A successor that names its version is that one, whatever was asked for."""
    if at == "latest" or "@" in successor or is_version_id(successor):
        return describe(registry, successor, as_of, nearest), None
    try:
        return describe(registry, f"{successor}@{at}", as_of, nearest), None
    except NotFound:
        entry = describe(registry, successor, as_of, nearest)
        return entry, f"{successor} has none at {at}; this is {entry.ref}"
