"""Registration: inspect what is at the location, check it against what is said of it, and write it down at once."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic_core import to_jsonable_python

from feature_registry import formats, policy
from feature_registry.catalog import Connection, entries, events, texts
from feature_registry.catalog.rows import Row
from feature_registry.errors import Conflict, Invalid
from feature_registry.formats import Inspected
from feature_registry.location import Location
from feature_registry.model import (
    CheckResult,
    Datastack,
    Entry,
    FeatureTable,
    Inspection,
    Layout,
    MaterializationVersion,
    Registration,
    Report,
    StoredLayout,
    TableRef,
    TableVersion,
)
from feature_registry.model.logical_types import polars_type
from feature_registry.registry import layouts, lineage, manifests, owners, publishing, validation
from feature_registry.storage import Store

if TYPE_CHECKING:
    from feature_registry.registry import Registry

# More files than this are not hashed one by one: reading them all would cost more than it protects.
MOST_FILES_HASHED = 1_000
Manifests = Mapping[entries.ManifestPart, bytes]
Checks = tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What would be registered, before anything is written."""

    table: FeatureTable
    version: TableVersion
    manifest: pa.Table
    changes: dict[str, Any]
    existing: Entry | None


def preview(registry: Registry, registration: Registration) -> Report:
    """The report that `register` would give, also where it would refuse; writes nothing."""
    inspected = inspect(registry, registration)
    examined = _examined(registry, registration, inspected)
    with registry.database.read() as connection:
        candidate = _candidate(registry, connection, registration, inspected, examined)
        entry = candidate.existing or Entry(table=candidate.table, version=candidate.version)
    mark = inspected.inspection.fingerprint
    return Report(entry=entry, created=candidate.existing is None, checks=candidate.version.checks, confirm=mark)


def register(registry: Registry, registration: Registration, by_pipeline: bool = False) -> Report:
    """Inspects first, which may take long, then writes everything in one transaction."""
    inspected = inspect(registry, registration)
    with ThreadPoolExecutor(1) as pool:
        files = pool.submit(manifests.encoded, inspected)  # beside the checks, and not while others wait to write
        examined = None if by_pipeline else _examined(registry, registration, inspected)
        return write(registry, registration, inspected, files, examined)


def _examined(registry: Registry, registration: Registration, inspected: Inspected) -> Checks:
    """What rows, files and CAVE tell; of what is registered already, and of which nothing new is said, nothing."""
    mark = inspected.inspection.fingerprint
    if registration.confirm not in (None, mark):
        message = "is not what is there now: the data changed since the preview"
        raise Conflict(message, field="confirm", value=registration.confirm, expected=mark)
    with registry.database.read() as connection:
        table, changes = _told(connection, registration)
        if not changes and entries.at_place(connection, _ref(registration), inspected.inspection) is not None:
            return ()
    return validation.examine(_subject(registry, registration, table, inspected), registration, inspected.manifest)


def write(
    registry: Registry,
    registration: Registration,
    inspected: Inspected,
    encoding: Future[dict[entries.ManifestPart, bytes]],
    examined: Checks | None,
) -> Report:
    """The transaction keeps every other writer out, so what can be done before and after it is. `examined` is None for
    what the pipeline wrote, which is never refused for a check.
    """
    if registry.settings.managed_root.holds(registration.location):
        registry.store(registration.location).settle(registration.location)  # its entry must not outlive the table
    schema_id = manifests.schema_id(inspected.inspection)
    with registry.database.read() as connection:
        known = entries.has_datastack(connection, registration.datastack)
        parents = lineage.pinned(registry, connection, registration.derived_from)
        settled = lineage.is_settled(connection, parents) and registration.superseded_by is None
    files = encoding.result()
    # Two at once would record a new datastack, or close a circle.
    about = f"{registration.datastack}/{registration.name}" if known and settled else None
    with registry.database.write(about) as connection:
        candidate = _candidate(registry, connection, registration, inspected, examined)
        if examined:  # the checks of what is registered already refuse nothing
            validation.refuse(candidate.version.checks)
        version = candidate.existing.version if candidate.existing else candidate.version
        publishes = registration.publish and version.status == "draft"
        warnings = _check_owner(registry, connection, candidate, publishes)
        news = _said(registry, connection, candidate, known)
        if candidate.existing is None:
            news.append(new_version(connection, version, schema_id, files))
        else:
            supply_manifest(registry, connection, version, files)
            if examined:  # as something else is said of it now
                news.append(_checked(registry, version, candidate.version.checks))
        if publishes:
            news += publishing.published(registry, candidate.table, version)
        events.record_all(connection, news)
    with registry.database.read() as connection:
        entry = registry.entry(connection, version.id).model_copy(update={"warnings": warnings})
    mark = inspected.inspection.fingerprint
    return Report(entry=entry, created=candidate.existing is None, checks=entry.version.checks, confirm=mark)


def inspect(registry: Registry, registration: Registration) -> Inspected:
    """What is at the location. Raises before anything is read that the caller may not name."""
    texts.check(registration.model_dump(exclude_unset=True))
    store = registry.store(registration.location)  # or there is no storage for it
    policy.check_place(registration.location, registry.prefixes)
    layouts.check(registration.layouts, registration.snapshot)
    several = registration.layouts if len(registration.layouts) > 1 else ()
    inspected = _seen(registry, registration.location, registration, several)
    if not several:
        for layout in registration.layouts:
            layouts.check_columns(layout, [field.name for field in inspected.inspection.fields])
    return layouts.with_row_groups(store, inspected)


def inspect_again(registry: Registry, known: Inspection, location: Location) -> Inspected:
    """What is now at the location where a registered table should be; without its row groups."""
    return _seen(registry, location, known, known.layouts)


def _seen(
    registry: Registry, location: Location, said: Registration | Inspection, several: Sequence[Layout]
) -> Inspected:
    store = registry.store(location)
    if several:

        def look(place: Location, layout: Layout) -> Inspected:
            snapshot = layout.snapshot if isinstance(layout, StoredLayout) else None
            return _format(store, place, said.format).inspect(store, place, snapshot)

        inspected = layouts.inspect(store, location, several, said.logical_types, look)
    else:
        inspected = _format(store, location, said.format).inspect(store, location, said.snapshot)
    unknown = set(said.logical_types) - {field.name for field in inspected.inspection.fields}
    if unknown:
        raise Invalid("names no stored column", field="logical_types", value=sorted(unknown)[:20])
    for name in said.logical_types.values():
        polars_type(name)
    logical = inspected.inspection.logical_types | said.logical_types
    manifest = _with_checksums(registry, store, inspected)
    content = manifests.content(manifest)
    inspection = inspected.inspection.model_copy(update={"logical_types": logical, "content": content})
    return Inspected(inspection, manifest)


def _format(store: Store, location: Location, name: str | None) -> formats.Format:
    if name is None:
        return formats.sniff(store, location)
    declared = formats.get(name)
    if not declared.sniff(store, location):
        found = formats.sniff(store, location)
        raise Invalid("is not the format of what is there", field="format", value=declared.name, expected=found.name)
    return declared


def _with_checksums(registry: Registry, store: Store, inspected: Inspected) -> pa.Table:
    """Adds the column `checksum`, so that a reader can tell a changed byte; null where hashing would cost too much."""
    manifest, inspection = inspected.manifest, inspected.inspection
    sums: list[str | None] = [None] * manifest.num_rows
    if inspection.bytes <= registry.settings.checksum_bytes and manifest.num_rows <= MOST_FILES_HASHED:
        places = [inspection.location.joined(path) for path in manifest["path"].to_pylist()]
        with ThreadPoolExecutor(4) as pool:
            sums = list(pool.map(store.checksum, places))
    return manifest.append_column("checksum", pa.array(sums, pa.string()))


def _ref(registration: Registration) -> TableRef:
    at = "unversioned" if registration.mat_version is None else registration.mat_version
    return TableRef(datastack=registration.datastack, name=registration.name, mat_version=at)


def _told(connection: Connection, registration: Registration) -> tuple[FeatureTable, dict[str, Any]]:
    """The table as it is said to be, and what of that is new."""
    held = entries.table(connection, registration.datastack, registration.name)
    table = held or FeatureTable(datastack=registration.datastack, name=registration.name)
    changes = publishing.differing(table, registration.metadata)
    if held is None and not changes:
        changes = {"description": ""}
    return table.model_copy(update=changes), changes


def _subject(
    registry: Registry, registration: Registration, table: FeatureTable, inspected: Inspected
) -> validation.Subject:
    return validation.Subject(
        registry,
        table,
        inspected.inspection,
        registration.mat_version,
        run_id=registration.producer.run_id,
        derived_from=registration.derived_from,
        manifest=inspected.manifest,
    )


def _candidate(
    registry: Registry,
    connection: Connection,
    registration: Registration,
    inspected: Inspected,
    examined: Checks | None,
) -> Candidate:
    ref, inspection = _ref(registration), inspected.inspection
    table, changes = _told(connection, registration)
    existing = entries.at_place(connection, ref, inspection)
    corrects = registration.corrects or _made_again(connection, ref, registration.producer.run_id)
    if existing is not None and not changes:
        checks = existing.version.checks
    else:
        subject = _subject(registry, registration, table, inspected)
        checks = validation.validate(connection, registration, subject, inspected, examined)
    version = TableVersion(
        id=str(uuid.uuid4()),
        datastack=ref.datastack,
        name=ref.name,
        mat_version=registration.mat_version,
        revision=entries.next_revision(connection, ref),
        inspection=inspection,
        layouts=registration.layouts,
        producer=registration.producer,
        derived_from=lineage.pinned(registry, connection, registration.derived_from),
        snapshot_time=registration.snapshot_time,
        time_range=registration.time_range,
        checks=checks,
        corrects=corrects,
        created_at=registry.clock(),
        created_by=registry.person.name,
    )
    if existing is None:
        _check_run(connection, version)
        lineage.check_acyclic(connection, str(version.ref), version.derived_from)
    return Candidate(table, version, inspected.manifest, changes, existing)


def _said(registry: Registry, connection: Connection, candidate: Candidate, known: bool) -> list[Row]:
    """The datastack if it is new, and the metadata where it changes something."""
    by, datastack = registry.person.name, candidate.table.datastack
    news = []
    if not (known or entries.has_datastack(connection, datastack)):
        news += frame_events(by, [Datastack(name=datastack)], [])
    before = entries.table(connection, datastack, candidate.table.name)
    before = before or FeatureTable(datastack=datastack, name=candidate.table.name)
    lineage.check_successor(connection, before, candidate.changes)
    return news + publishing.saying(before, by, candidate.changes)


def _check_owner(registry: Registry, connection: Connection, candidate: Candidate, publishes: bool) -> tuple[str, ...]:
    """Everybody may register drafts of a table; what is said of it, and what readers get, is its owner's."""
    held = entries.table(connection, candidate.table.datastack, candidate.table.name)
    return owners.check(registry, connection, held) if held and (candidate.changes or publishes) else ()


def frame_events(by: str, stacks: Iterable[Datastack], mat_versions: Iterable[MaterializationVersion]) -> list[Row]:
    """What says that there are these datastacks and materialization versions."""
    news = [events.new("datastack", by=by, datastack=each.name, details=each) for each in stacks]
    return news + [events.new("materialized", by=by, datastack=each.datastack, details=each) for each in mat_versions]


def _made_again(connection: Connection, ref: TableRef, run_id: str | None) -> str | None:
    """What a run's revision corrects of one that readers have, for no person is there to say it."""
    readers_have = entries.find(connection, ref, "") if run_id else None
    return None if readers_have is None else f"{readers_have.ref}, made again by run {run_id}"


def _check_run(connection: Connection, version: TableVersion) -> None:
    """What a run made is written once. Raises `Conflict` for a second one of the same name and version."""
    run_id = version.producer.run_id
    made = entries.made_by(connection, version.ref, run_id) if run_id else None
    if made is not None:
        message = f"made {made.ref} already, at {made.version.inspection.location}"
        raise Conflict(message, field="producer.run_id", value=run_id, expected="another run, or the same data")


def new_version(connection: Connection, version: TableVersion, schema_id: str, files: Manifests, **details: Any) -> Row:
    """The event of a version, whose schema is kept, and its manifests where its files were seen."""
    inspection = version.inspection
    fields = to_jsonable_python(inspection.fields)
    entries.keep_schema(connection, schema_id, fields, inspection.arrow_schema)
    if files:
        entries.keep_manifests(connection, version.id, files)
    return registered(version, schema_id, **details)


def registered(version: TableVersion, schema_id: str, **details: Any) -> Row:
    """The event of a version, whose schema and manifests are kept aside."""
    later = {"status": True, "checks": True, "deprecation": True}  # what other events say
    body = version.model_dump(mode="json", exclude={**later, "inspection": {"fields", "arrow_schema"}})
    return events.new(
        "registered",
        **events.about(version, version.created_by),
        details={
            "version": body,
            "schema": schema_id,
            "checks": version.checks,
            **details,
        },
    )


def _checked(registry: Registry, version: TableVersion, checks: Checks) -> Row:
    at = datetime.now(UTC)
    results = [each.model_copy(update={"at": at}) for each in checks]
    return events.new("checked", **events.about(version, registry.person.name), details={"checks": results})


def supply_manifest(registry: Registry, connection: Connection, version: TableVersion, files: Manifests) -> None:
    """For a version whose files were not found when the catalog was rebuilt."""
    if entries.manifest(connection, version.id) is None:
        entries.keep_manifests(connection, version.id, files)
        found = CheckResult(name="manifest", outcome="passed", blocking=True, message="the files were found again")
        events.record(connection, "checked", **events.about(version, registry.person.name), details={"checks": [found]})
