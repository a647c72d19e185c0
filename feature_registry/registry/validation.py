"""The checks of a registration: what is said of a table against what was seen of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.catalog import Connection, entries
from feature_registry.cave import exported
from feature_registry.formats import Inspected
from feature_registry.model import CheckResult, FeatureTable, Inspection, Registration
from feature_registry.registry import manifests


def validate(
    connection: Connection, registration: Registration, table: FeatureTable, inspected: Inspected
) -> Iterable[CheckResult]:
    """One result a check, in the order in which a person would ask."""
    inspection = inspected.inspection
    yield CheckResult(name="exists", outcome="passed", message=f"{inspection.files} files, {inspection.bytes} bytes")
    yield CheckResult(name="format", outcome="passed", message=inspection.format)
    yield schema(table, inspection)
    manifest = inspected.manifest
    if inspection.layouts:
        yield _layouts(inspection, manifest)
        _, manifest = manifests.of_layout(manifest, inspection, inspection.layouts[0].name)
    yield from _key(table.key, manifest)
    yield from _leavings(inspection)
    yield _location(connection, registration)
    if registration.mat_version is not None:
        yield _mat_version(connection, registration.datastack, registration.mat_version)


def schema(table: FeatureTable, inspection: Inspection) -> CheckResult:
    """Every column that the table speaks of is stored, and has the type that was asked for."""
    stored = {
        field.name: arrow_type(inspection.logical_types.get(field.name, field.type)) for field in inspection.fields
    }
    arranged = {name for layout in inspection.layouts for name in layout.partition_columns}
    buckets = [name for each in table.hash_buckets for name in (each.column, each.partition_column)]
    buckets = [name for name in buckets if name not in arranged]
    spoken = dict.fromkeys([*table.columns, *table.key, *table.references, *buckets])
    missing = [name for name in spoken if name not in stored]
    differing = {
        name: f"{stored[name]}, declared {column.type}"
        for name, column in table.columns.items()
        if name in stored and column.type is not None and arrow_type(column.type) != stored[name]
    }
    undeclared = [name for name in stored if name not in table.columns] if table.columns else []
    faults = [f"not stored: {', '.join(missing)}"] if missing else []
    faults += [f"{name} is {fault}" for name, fault in differing.items()]
    return CheckResult(
        name="schema",
        outcome="failed" if faults else "passed",
        blocking=True,
        message="; ".join(faults) or f"{len(stored)} columns as declared",
        details={"missing": missing, "differing": differing, "undeclared": undeclared},
    )


def _layouts(inspection: Inspection, manifest: pa.Table) -> CheckResult:
    """Layouts that differ in what is seen at once were refused; whether their rows are the same is not seen."""
    known = not manifest["rows"].null_count
    rows = f" and {inspection.rows:,} rows" if known else "; not all files say how many rows they hold"
    message = f"{len(inspection.layouts)} layouts with the same {len(inspection.fields)} columns{rows}"
    return CheckResult(name="layouts", outcome="passed" if known else "skipped", blocking=True, message=message)


def _key(key: tuple[str, ...], manifest: pa.Table) -> Iterable[CheckResult]:
    """Nulls in the key, where the files' statistics tell. Whether it is unique, only a look at all rows does."""
    counts = {}
    for name in key:
        if f"partition.{name}" in manifest.column_names:
            counts[name] = pc.sum(pc.if_else(manifest[f"partition.{name}"].is_null(), manifest["rows"], 0)).as_py() or 0
        elif f"nulls.{name}" in manifest.column_names and not manifest[f"nulls.{name}"].null_count:
            counts[name] = pc.sum(manifest[f"nulls.{name}"]).as_py() or 0
    nulls = {name: count for name, count in counts.items() if count}
    if nulls:
        message = ", ".join(f"{name} is null in {count:,} rows" for name, count in nulls.items())
        yield CheckResult(name="key", outcome="failed", blocking=True, message=message, details={"nulls": nulls})
    elif key:
        known = "no null in it" if len(counts) == len(key) else "not all files say whether there is a null in it"
        yield CheckResult(name="key", outcome="skipped", message=f"{known}; whether it is unique was not looked at")


def _leavings(inspection: Inspection) -> Iterable[CheckResult]:
    """Columns of CAVE's exporter that are no use to a reader as they are."""
    types = {field.name: field.type for field in inspection.fields}
    points, numbers = exported.undecoded(types), exported.partitions(types)
    said = [f"points that were not decoded: {', '.join(points)}"] if points else []
    said += [f"numbers that only part the files: {', '.join(numbers)}"] if numbers else []
    if said:
        details = {"undecoded": points, "partitions": numbers}
        yield CheckResult(name="exporter", outcome="warned", message="; ".join(said), details=details)


def arrow_type(name: str) -> str:
    """One spelling of a type: `float64` is Arrow's `double`; the width of offsets is the format's business."""
    try:
        known = str(pa.type_for_alias(name))
    except ValueError:  # nested and parametrised types have no alias
        known = name
    return re.sub(r"large_(string|binary|list)|(string|binary)_view", lambda found: found[1] or found[2], known)


def _location(connection: Connection, registration: Registration) -> CheckResult:
    """One place may be registered under one name only, unless somebody wants it so: an alias names the other."""
    places = entries.places_of(connection, str(registration.location))
    mine = (registration.datastack, registration.name, registration.mat_version)
    aliased = [ref.rpartition(".")[0] or ref for ref in registration.derived_from]
    others = {
        f"{datastack}/{name}@{'unversioned' if at is None else at}"
        for datastack, name, at in places
        if (datastack, name, at) != mine
    }
    names = sorted(others.difference(aliased))
    if not names:
        return CheckResult(name="location", outcome="passed")
    message = f"registered already as {', '.join(names)}"
    return CheckResult(name="location", outcome="warned", message=message, details={"tables": names})


def _mat_version(connection: Connection, datastack: str, mat_version: int) -> CheckResult:
    wanted = entries.materialization(connection, datastack, mat_version)
    if wanted is None:
        known = [each.mat_version for each in entries.materializations(connection, datastack)]
        message = f"{mat_version} is not known here; known: {known or 'none'}"
        return CheckResult(name="mat_version", outcome="warned", message=message)
    if not wanted.valid:
        return CheckResult(name="mat_version", outcome="warned", message=f"{wanted.mat_version} is not valid")
    expires = f"; expires on {wanted.expires_on:%Y-%m-%d}" if wanted.expires_on else ""
    return CheckResult(name="mat_version", outcome="passed", message=f"of {wanted.time_stamp.isoformat()}{expires}")
