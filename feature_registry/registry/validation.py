"""The checks of a registration: what is said of a table against what was seen of it."""

from __future__ import annotations

from collections.abc import Iterable

from feature_registry.catalog import Connection, entries
from feature_registry.model import CheckResult, FeatureTable, Inspection, Registration


def validate(
    connection: Connection, registration: Registration, table: FeatureTable, inspection: Inspection
) -> Iterable[CheckResult]:
    """One result a check, in the order in which a person would ask."""
    yield CheckResult(name="exists", outcome="passed", message=f"{inspection.files} files, {inspection.bytes} bytes")
    yield CheckResult(name="format", outcome="passed", message=inspection.format)
    yield schema(table, inspection)
    yield _location(connection, registration)
    if registration.mat_version is not None:
        yield _mat_version(connection, registration)


def schema(table: FeatureTable, inspection: Inspection) -> CheckResult:
    """Every column that the table speaks of is stored, and has the type that was asked for."""
    stored = {field.name: inspection.logical_types.get(field.name, field.type) for field in inspection.fields}
    spoken = {"columns": table.columns, "key": table.key, "references": table.references}
    buckets = [name for each in table.hash_buckets for name in (each.column, each.partition_column)]
    faults = {
        name: f"named in {place}, but not stored"
        for place, names in {**spoken, "hash_buckets": buckets}.items()
        for name in names
        if name not in stored
    }
    faults |= {
        name: f"declared as {column.type}, stored as {stored[name]}"
        for name, column in table.columns.items()
        if column.type is not None and name in stored and column.type != stored[name]
    }
    if not faults:
        return CheckResult(name="schema", outcome="passed", blocking=True, message=f"{len(stored)} columns")
    message = "; ".join(f"{name}: {fault}" for name, fault in faults.items())
    return CheckResult(name="schema", outcome="failed", blocking=True, message=message, details={"columns": faults})


def _location(connection: Connection, registration: Registration) -> CheckResult:
    """One place may be registered under one name only, unless somebody wants it so."""
    mine = (registration.datastack, registration.name, registration.mat_version)
    others = [place for place in entries.places_of(connection, str(registration.location)) if place != mine]
    if not others:
        return CheckResult(name="location", outcome="passed")
    names = [f"{datastack}/{name}@{'unversioned' if at is None else at}" for datastack, name, at in others]
    message = f"registered already as {', '.join(names)}"
    return CheckResult(name="location", outcome="warned", message=message, details={"tables": names})


def _mat_version(connection: Connection, registration: Registration) -> CheckResult:
    known = {each.mat_version: each for each in entries.materializations(connection, registration.datastack)}
    wanted = known.get(registration.mat_version or 0)
    if wanted is None:
        message = f"{registration.mat_version} is not known here; known: {sorted(known) or 'none'}"
        return CheckResult(name="mat_version", outcome="warned", message=message)
    if not wanted.valid:
        return CheckResult(name="mat_version", outcome="warned", message=f"{wanted.mat_version} is not valid")
    expires = f"; expires on {wanted.expires_on:%Y-%m-%d}" if wanted.expires_on else ""
    return CheckResult(name="mat_version", outcome="passed", message=f"of {wanted.time_stamp.isoformat()}{expires}")
