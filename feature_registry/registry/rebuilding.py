"""Rebuilding: table versions that the catalog lacks come back from an export, or from what Dagster remembers of them.

Each comes in a transaction of its own, with its id, revision, maker and checks: a rebuild that was killed is run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from feature_registry.catalog import Connection, entries, events
from feature_registry.errors import Invalid
from feature_registry.model import (
    CheckResult,
    Contents,
    Datastack,
    Deprecation,
    Entry,
    FeatureTable,
    Inspection,
    Metadata,
    TableRef,
    TableVersion,
)
from feature_registry.registry import layouts, manifests, publishing
from feature_registry.registry import registration as registering

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def rebuild(registry: Registry, contents: Contents) -> tuple[Entry, ...]:
    """Adds what is not there, by id and by place and state, and answers it. What the catalog knows stays as it is.

    A revision number that something else has taken meanwhile is given anew, and a check says so. What somebody
    unregistered here does not come back. Raises `Invalid` before anything is written.
    """
    _check(contents)
    _record_frame(registry, contents)
    with registry.database.read() as connection:
        gone = events.unregistered(connection)
    ours = frozenset(entry.version.id for entry in contents.entries)
    renamed: dict[str, str] = {}
    added = []
    for entry in contents.entries:
        if entry.version.id not in gone:
            parents = tuple(renamed.get(ref, ref) for ref in entry.version.derived_from)
            version = entry.version.model_copy(update={"derived_from": parents})
            here, new = _take_over(registry, entry.table, version, ours)
            added += [here] if new else []
            if here.ref != entry.ref:
                renamed[str(entry.ref)] = str(here.ref)
    return tuple(added)


def _check(contents: Contents) -> None:
    for entry in contents.entries:
        table, version = entry.table, entry.version
        if (table.datastack, table.name) != (version.datastack, version.name):
            named = f"{table.datastack}/{table.name}"
            raise Invalid("is a version of another table", field="table", value=str(version.ref), expected=named)
        for parent in version.derived_from:
            TableRef.parse(parent)


def _record_frame(registry: Registry, contents: Contents) -> None:
    """Datastacks and materialization versions that are not known, or of which only the name is."""
    held = (each.materialization for each in contents.entries)
    mat_versions = dict.fromkeys([*contents.mat_versions, *(each for each in held if each)])
    named = [each.datastack for each in mat_versions] + [each.table.datastack for each in contents.entries]
    wanted = {name: Datastack(name=name) for name in named} | {each.name: each for each in contents.datastacks}
    with registry.database.write() as connection:
        known = {each.name: each for each in entries.all_datastacks(connection)}
        stacks = [
            each for name, each in wanted.items() if name not in known or (known[name] == Datastack(name=name) != each)
        ]
        frozen = {
            (each.datastack, each.mat_version): each
            for each in mat_versions
            if entries.materialization(connection, each.datastack, each.mat_version) is None
        }
        events.record_all(connection, registering.frame_events(registry.person.name, stacks, frozen.values()))


def _known(connection: Connection, version: TableVersion) -> Entry | None:
    return entries.by_id(connection, version.id) or entries.at_place(connection, version.ref, version.inspection)


def _take_over(
    registry: Registry, table: FeatureTable, version: TableVersion, ours: frozenset[str]
) -> tuple[Entry, bool]:
    """The entry as it is then, and whether it is new. Looks at the files first, which may take long."""
    with registry.database.read() as connection:
        known = _known(connection, version)
        if known is not None and entries.manifest(connection, known.version.id) is not None:
            return known, False
    files, why_not = look(registry, version)
    with registry.database.write() as connection:
        known = _known(connection, version)
        if known is None:
            _restore(registry, connection, table, _looked_at(version, why_not), files, ours)
        elif files:
            registering.supply_manifest(registry, connection, known.version, files)
        return registry.entry(connection, version.id if known is None else known.version.id), known is None


def _restore(  # noqa: PLR0917
    registry: Registry,
    connection: Connection,
    table: FeatureTable,
    version: TableVersion,
    files: registering.Manifests,
    ours: frozenset[str],
) -> None:
    about, status = events.about(version, registry.person.name), version.status
    number, overtaken = _number(connection, version, ours)
    if number != version.revision:
        message = f"was revision {version.revision}, a number that is taken here"
        version = _with_check(version, CheckResult(name="revision", outcome="warned", message=message))
        version = version.model_copy(update={"revision": number})
    _describe(registry, connection, table, version)
    schema_id = manifests.schema_id(version.inspection)
    news = [registering.new_version(connection, version, schema_id, files, restored_by=registry.person.name)]
    if status != "draft":
        news.append(events.new("published", **about))
    if status == "deprecated" or (status == "published" and overtaken):
        overtaking = Deprecation(reason="a newer one was registered before this one came back")
        news.append(events.new("deprecated", **about, details=version.deprecation or overtaking))
    events.record_all(connection, news)


def _looked_at(version: TableVersion, why_not: CheckResult | None) -> TableVersion:
    """Where its files were not seen here, it is only recorded, whatever another catalog knew."""
    if why_not is None:
        return version
    others = tuple(each for each in version.checks if each.name != "exists")
    return _with_check(version.model_copy(update={"checks": others}), why_not)


def _with_check(version: TableVersion, check: CheckResult) -> TableVersion:
    others = tuple(each for each in version.checks if each.name != check.name)
    return version.model_copy(update={"checks": (*others, check)})


def _number(connection: Connection, version: TableVersion, ours: frozenset[str]) -> tuple[int, bool]:
    """The revision's number, and whether readers have something newer that the number would hide."""
    revisions = [each.version for each in entries.revisions(connection, version.ref)]
    taken = version.revision in {each.revision for each in revisions}
    number = entries.next_revision(connection, version.ref) if taken else version.revision
    newer = (
        each.id not in ours and each.status == "published" and each.created_at > version.created_at
        for each in revisions
        if each.revision < number
    )
    return number, any(newer)


def _describe(registry: Registry, connection: Connection, table: FeatureTable, version: TableVersion) -> None:
    """Metadata is said anew where nothing newer was said here."""
    held = entries.table(connection, table.datastack, table.name)
    before = held or FeatureTable(datastack=table.datastack, name=table.name)
    changes = publishing.differing(before, {name: getattr(table, name) for name in Metadata.model_fields})
    if held is None:
        changes = changes or {"description": ""}
    elif not changes or events.said_at(connection, table.datastack, table.name) >= version.created_at:
        return
    events.record(connection, "described", **events.about(table, registry.person.name), details=changes)


def look(registry: Registry, version: TableVersion) -> tuple[registering.Manifests, CheckResult | None]:
    """The manifests of what is in the storage, or a check that says why there are none."""
    said = version.inspection
    try:
        seen = registering.inspect_again(registry, said, said.location)
        seen = layouts.with_row_groups(registry.store(said.location), seen)
    except Exception as wrong:  # whatever is wrong with one table must not keep the others from coming back
        message = f"could not be inspected when the catalog was rebuilt: {wrong}"
    else:
        if _agree(said, seen.inspection):
            return manifests.encoded(seen), None
        message = "the files are not those that were registered"
    return {}, CheckResult(name="manifest", outcome="failed", blocking=True, message=f"{message}; register it again")


def _agree(said: Inspection, seen: Inspection) -> bool:
    """A copied table has other times, so a fingerprint may differ where all else is the same."""
    if said.content is not None and seen.content is not None and said.content != seen.content:
        return False
    same = all(getattr(said, name) == getattr(seen, name) for name in ("files", "bytes", "rows", "fields"))
    return said.fingerprint == seen.fingerprint or same
