"""The checks of a registration: what is said of a table against what was seen of it.

What comes from outside is checked whole, and `DEFAULTS` says what happens when a check fails; `Policies.checks` of the
datastack says otherwise. `enforce`: the registration is refused, with all that failed; `warn`: it is registered, and
says so; `record`: it is registered, with a note that warns nobody. What the pipeline writes is never refused: a failed
blocking check leaves a draft, and Dagster's checks read its rows.

`examine` reads rows and asks CAVE, before the write transaction; `validate` adds what only the catalog tells, inside
of it. What could not be told then, because CAVE was away or a parent not registered yet, is skipped with the detail
`unverified`; `complete` asks for it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_registry.catalog import Connection, entries
from feature_registry.errors import Conflict, Invalid
from feature_registry.formats import Inspected
from feature_registry.model import Action, CheckResult, Entry, Inspection, Policies, Registration, TableRef
from feature_registry.registry import licences, manifests
from feature_registry.registry.validation import corrections, mat_versions, places, schemas
from feature_registry.registry.validation.schemas import arrow_type as arrow_type
from feature_registry.registry.validation.schemas import schema as schema
from feature_registry.registry.validation.subject import Subject as Subject
from feature_registry.registry.validation.type_traps import type_traps

if TYPE_CHECKING:
    from feature_registry.registry import Registry

# What happens by default when a check fails of a table from outside, and why just that.
DEFAULTS: dict[str, tuple[Action, str]] = {
    "schema": ("enforce", "who declares what is not there has mistaken the table"),
    "schema_change": ("warn", "tables grow and change; their readers should know"),
    "layouts": ("enforce", "what differs in its columns or its number of rows is no layout of the same"),
    "key": ("warn", "real tables have duplicates"),
    "hash_buckets": ("enforce", "by a wrong declaration an id is looked for where it is not, and found missing"),
    "mat_version": ("enforce", "ids mean nothing at a version that does not exist"),
    "references": ("warn", "real tables have orphans, and parents may come later"),
    "name": ("enforce", "readers take a table of CAVE's name for CAVE's table"),
    "location": ("warn", "a place may well be known under two names"),
    "corrects": ("warn", "who read the older one should know what was wrong with it"),
    "world_readable": ("warn", "open data are legitimate; only, nothing that is read there is counted"),
    "type_traps": ("warn", "there are readers enough for every type"),
    "license": ("warn", "laboratories have terms of their own"),
    "exporter": ("warn", "columns of no use harm nobody"),
}
PIPELINE: dict[str, Action] = {"schema": "enforce", "key": "enforce"}  # and warn of all else
FAILED = "failed"  # the detail of a check that failed, and was not enforced
CONFLICTS = {"name", "location", "schema_change"}  # these contradict what the catalog holds


def action(name: str, policies: Policies) -> Action:
    """What happens if the check fails. Raises `Invalid` for policies that speak of a check that there is not."""
    unknown = policies.checks.keys() - DEFAULTS.keys()
    if unknown:
        raise Invalid("is no check", field="policies.checks", value=sorted(unknown), expected=sorted(DEFAULTS))
    subject = "references" if name.startswith("references_") else name
    return policies.checks.get(subject) or DEFAULTS.get(subject, ("warn", ""))[0]


def judged(result: CheckResult, doing: Action) -> CheckResult:
    """The result as it is recorded where this is done about failures."""
    blocking = doing == "enforce" and result.outcome in ("passed", "failed")
    said: dict[str, Any] = {"blocking": blocking}
    if result.outcome == "failed" and doing != "enforce":
        said |= {"outcome": "warned", "details": result.details | {FAILED: True}}
    if result.outcome in ("warned", "failed") and doing == "record":
        said |= {"outcome": "skipped", "message": f"recorded only: {result.message}"}
    return result.model_copy(update=said)


def examine(subject: Subject, registration: Registration, manifest: pa.Table) -> tuple[CheckResult, ...]:
    """What rows, files and CAVE tell of a table from outside; may take long."""
    # Polars takes 0.1 s to load, and most of what a registry does needs none of it.
    from feature_registry.registry.validation import hash_buckets, keys, references, rows

    policies = subject.registry.settings.policies_of(subject.table.datastack)
    whole = policies.key == "whole"
    results = []
    if not subject.table.key:
        results.append(CheckResult(name="key", outcome="skipped", message="no key is said"))
    elif policies.key == "none":
        results += keys.nulls(subject.table.key, manifest)
    else:
        found = rows.read("key", lambda: keys.key(subject, whole))
        known = next(iter(keys.nulls(subject.table.key, manifest)))  # of all rows, also where only some were read
        results.append(known if found.outcome == "passed" and known.outcome == "failed" else found)
    results += hash_buckets.hash_buckets(subject, registration.layouts)
    results.append(mat_versions.mat_version(subject))
    results += references.references(subject, policies, whole)
    results.append(mat_versions.name(subject))
    results.append(places.world_readable(subject.inspection.location, manifest))
    results.append(type_traps(subject.inspection, manifest))
    if subject.table.license is not None:
        results.append(licences.check(subject.table.license))
    return tuple(results)


def validate(
    connection: Connection,
    registration: Registration,
    subject: Subject,
    inspected: Inspected,
    examined: Sequence[CheckResult] | None,
) -> tuple[CheckResult, ...]:
    """One result a check; `examined` is None for what the pipeline writes."""
    found = {each.name: each for each in _seen(connection, registration, subject, inspected, examined is None)}
    found |= {each.name: each for each in examined or ()}
    if examined is None:
        return tuple(judged(each, PIPELINE.get(each.name, "warn")) for each in found.values())
    policies = subject.registry.settings.policies_of(registration.datastack)
    return tuple(judged(each, action(each.name, policies)) for each in found.values())


def _seen(
    connection: Connection, registration: Registration, subject: Subject, inspected: Inspected, by_pipeline: bool
) -> Iterator[CheckResult]:
    inspection, manifest = inspected.inspection, inspected.manifest
    yield CheckResult(name="exists", outcome="passed", message=f"{inspection.files} files, {inspection.bytes} bytes")
    yield CheckResult(name="format", outcome="passed", message=inspection.format)
    yield schema(subject.table, inspection)
    if inspection.layouts:
        yield _layouts(inspection, manifest)
        _, manifest = manifests.of_layout(manifest, inspection, inspection.layouts[0].name)
    if by_pipeline:
        from feature_registry.registry.validation import keys

        yield from keys.nulls(subject.table.key, manifest)
    yield from schemas.leavings(inspection)
    yield places.location(connection, registration, subject.registry.person)
    if by_pipeline:
        if registration.mat_version is not None:
            yield mat_versions.mat_version(subject)
        return
    at = "unversioned" if registration.mat_version is None else registration.mat_version
    ref = TableRef(datastack=registration.datastack, name=registration.name, mat_version=at)
    yield schemas.schema_change(connection, ref, inspection, subject.registry.person.name)
    yield from corrections.corrects(connection, ref, registration, inspection)


def _layouts(inspection: Inspection, manifest: pa.Table) -> CheckResult:
    """Layouts that differ in what is seen at once were refused; whether their rows are the same is not seen."""
    known = not manifest["rows"].null_count
    rows = f" and {inspection.rows:,} rows" if known else "; not all files say how many rows they hold"
    message = f"{len(inspection.layouts)} layouts with the same {len(inspection.fields)} columns{rows}"
    return CheckResult(name="layouts", outcome="passed" if known else "skipped", blocking=True, message=message)


def refuse(checks: Iterable[CheckResult]) -> None:
    """Raises one error for all blocking checks that failed: `Conflict` if all of them contradict the catalog."""
    failed = [each for each in checks if each.blocking and each.outcome == "failed"]
    if failed:
        kind = Conflict if CONFLICTS.issuperset(each.name for each in failed) else Invalid
        raise kind.of([kind(f"check failed: {each.message}", field=each.name) for each in failed])


def complete(registry: Registry, version_id: str) -> Entry:
    """Asks again for what was unverified of a registered version, and records what is found now. Refuses nothing, for
    it is registered; answers the entry as it is then.
    """
    with registry.database.read() as connection:
        entry = registry.entry(connection, version_id)
        content = entries.manifest(connection, version_id)
    if not (wanted := {each.name for each in entry.version.checks if "unverified" in each.details}):
        return entry
    from feature_registry.registry.validation import references

    manifest = None if content is None else manifests.decode(content)
    subject = Subject.of(registry, entry.table, entry.version, manifest)
    policies = registry.settings.policies_of(entry.table.datastack)
    found = [mat_versions.mat_version(subject), mat_versions.name(subject)]
    if wanted & {references.check_name(column) for column in entry.table.references}:
        found += references.references(subject, policies, policies.key == "whole")
        wanted.add("coverage")
    at = datetime.now(UTC)
    news = [
        judged(each, action(each.name, policies)).model_copy(update={"at": at})
        for each in found
        if each.name in wanted and "unverified" not in each.details
    ]
    return registry.record_checks(version_id, news, publish=False) if news else entry
