"""What happens to a table version after its registration: it is checked, published and deprecated, in this order; and
what is said of its table is edited, and goes to another owner. Each decides again within its transaction, so that of
two who do the same at once one does it and the other sees it done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from feature_registry import policy
from feature_registry.catalog import Connection, entries, events
from feature_registry.catalog.rows import Row
from feature_registry.errors import Conflict, Invalid
from feature_registry.model import (
    CheckResult,
    Deprecation,
    Entry,
    FeatureTable,
    Metadata,
    Owner,
    TableVersion,
    is_version_id,
)
from feature_registry.registry import dependents, lineage, owners

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def record_checks(registry: Registry, version_id: str, checks: tuple[CheckResult, ...], publish: bool) -> Entry:
    """Attaches results; a draft whose blocking checks all hold is published, if asked and if it may be."""
    with registry.database.write() as connection:
        entry = registry.entry(connection, version_id)
        if checks:
            about = events.about(entry.version, registry.person.name)
            events.record(connection, "checked", **about, details={"checks": checks})
            entry = registry.entry(connection, version_id)
        missing = policy.missing_to_publish(entry.table, needs(registry, entry.table))
        if publish and entry.version.status == "draft" and not missing:
            events.record_all(connection, published(registry, entry.table, entry.version))
            entry = registry.entry(connection, version_id)
    return entry


def needs(registry: Registry, table: FeatureTable) -> tuple[str, ...]:
    """The fields that publishing asks for."""
    return registry.settings.policies_of(table.datastack).publishing_needs


def published(registry: Registry, table: FeatureTable, version: TableVersion) -> list[Row]:
    """Nothing if a blocking check failed; then it stays a draft, and says so by its checks."""
    if any(check.blocking and check.outcome == "failed" for check in version.checks):
        return []
    policy.check_publishable(table, version, needs(registry, table))
    return [events.new("published", **events.about(version, registry.person.name))]


def publish(registry: Registry, table: str) -> Entry:
    wanted = _wanted(registry, table).version.id
    with registry.database.write() as connection:
        entry = registry.entry(connection, wanted)
        if entry.version.status == "published":
            return entry
        warnings = owners.check(registry, connection, entry.table)
        policy.check_publishable(entry.table, entry.version, needs(registry, entry.table))
        events.record(connection, "published", **events.about(entry.version, registry.person.name))
        return _warned(registry.entry(connection, wanted), warnings)


def _wanted(registry: Registry, table: str) -> Entry:
    """Publishing means the newest draft where the reference names no revision."""
    ref = registry.reference(table)
    if ref.revision is None and ref.mat_version != "latest":
        with registry.database.read() as connection:
            draft = entries.newest_draft(connection, ref, registry.person.name)
        if draft is not None:
            return draft
    return registry.describe(str(ref))


def deprecate(registry: Registry, table: str, reason: str, superseded_by: str | None) -> Entry:
    """Answers the entry, whose warnings name what depends on it."""
    wanted = registry.describe(table)
    if superseded_by is not None:
        successor = registry.describe(superseded_by)
        if successor.version.id == wanted.version.id:
            raise Invalid("is the table itself", field="superseded_by", value=superseded_by, expected="another one")
        superseded_by = str(successor.ref) if is_version_id(superseded_by.lower()) else superseded_by
    by, said = registry.person.name, Deprecation(reason=reason, superseded_by=superseded_by)
    with registry.database.write() as connection:
        entry = registry.entry(connection, wanted.version.id)
        warnings = owners.check(registry, connection, entry.table)
        if entry.version.status == "draft":
            raise Invalid("is a draft, and only a published one is deprecated", field="table", value=table)
        for version in _meant(registry, connection, table, entry):
            if version.deprecation is None or said not in (version.deprecation, Deprecation()):
                events.record(connection, "deprecated", **events.about(version, by), details=said)
        if superseded_by is not None and not _same_table(registry, entry, superseded_by):
            changes = differing(entry.table, {"superseded_by": superseded_by})
            lineage.check_successor(connection, entry.table, changes)
            events.record_all(connection, saying(entry.table, by, changes))
        entry = registry.entry(connection, wanted.version.id)
    found = (f"{entry.ref} is deprecated; {each}" for each in dependents.dependents(registry, entry).said)
    return _warned(entry, (*warnings, *found))


def _meant(registry: Registry, connection: Connection, table: str, entry: Entry) -> list[TableVersion]:
    """Without a revision, all that are published of the version: or readers would get the one before, unwarned."""
    if registry.reference(table).revision is not None:
        return [entry.version]
    others = (each.version for each in entries.revisions(connection, entry.ref) if each.ref != entry.ref)
    return [entry.version, *(each for each in others if each.status == "published")]


def _same_table(registry: Registry, entry: Entry, other: str) -> bool:
    """The successor of one version within its own table is none of the table."""
    ref = registry.reference(other)
    return (ref.datastack, ref.name) == (entry.table.datastack, entry.table.name)


def edit(registry: Registry, table: str, changes: dict[str, Any], based_on: str | None) -> Entry:
    """Records what differs from what is said now; the new metadata must be valid as a whole. Raises `Conflict`, which
    says what is different, if they are no longer those that the edit is based on.
    """
    for name in changes.keys() - Metadata.model_fields:
        expected = sorted(Metadata.model_fields)
        raise Invalid("is no field that can be changed", field=name, value=changes[name], expected=expected)
    wanted = registry.describe(table)
    with registry.database.write() as connection:
        held = registry.entry(connection, wanted.version.id).table
        warnings = owners.check(registry, connection, held)
        if based_on is not None and based_on != held.etag:
            raise _outdated(connection, held, based_on)
        changed = FeatureTable.checked(held.model_dump() | changes)
        different = differing(held, {name: getattr(changed, name) for name in changes})
        lineage.check_successor(connection, held, different)
        lost = [name for name in policy.missing_to_publish(changed, needs(registry, held)) if name in different]
        if lost and wanted.version.status == "published":
            raise Invalid("is needed by what is published", field=lost[0], value=changes[lost[0]], expected="a value")
        events.record_all(connection, saying(held, registry.person.name, different))
    entry = registry.describe(table)
    return _warned(entry, (*entry.warnings, *warnings))


def _outdated(connection: Connection, held: FeatureTable, based_on: str) -> Conflict:
    """The difference is found from the history, which holds every state that the metadata ever had."""
    said: dict[str, Any] = {"datastack": held.datastack, "name": held.name}
    differences: dict[str, Any] = {"etag": {"was": based_on, "is": held.etag}}
    for event in events.history(connection, held.datastack, held.name):
        if event.kind not in ("described", "transferred"):
            continue
        said |= {"owner": event.details["to"]} if event.kind == "transferred" else event.details
        then = FeatureTable.model_validate(said)
        if then.etag == based_on:
            fields = differing(then, {name: getattr(held, name) for name in Metadata.model_fields})
            differences = {name: {"was": getattr(then, name), "is": now} for name, now in fields.items()}
    message = "was changed since; look at it again"
    return Conflict(message, field="based_on", value=based_on, expected=to_jsonable_python(differences))


def transfer(registry: Registry, table: str, team: str | None, person: str | None) -> Entry:
    owner = Owner.checked({"team": team, "person": person})
    return edit(registry, table, {"owner": owner}, None)


def saying(table: FeatureTable, by: str, changes: dict[str, Any]) -> list[Row]:
    """What says the changes. That an owner gives way to another is on the record as an event of its own."""
    about, described = events.about(table, by), dict(changes)
    news = []
    if table.owner is not None and "owner" in changes:
        details = {"from": table.owner, "to": described.pop("owner")}
        news.append(events.new("transferred", **about, details=details))
    return news + ([events.new("described", **about, details=described)] if described else [])


def differing(table: FeatureTable, said: dict[str, Any]) -> dict[str, Any]:
    """The fields of which something else is said than is known."""
    return {name: value for name, value in said.items() if getattr(table, name) != value}


def _warned(entry: Entry, warnings: tuple[str, ...]) -> Entry:
    return entry.model_copy(update={"warnings": warnings}) if warnings else entry
