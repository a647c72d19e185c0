"""The schema: what is said of the columns, what is stored, and what was stored before."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa

from feature_registry.catalog import Connection, entries
from feature_registry.cave import exported
from feature_registry.model import CheckResult, FeatureTable, Inspection, TableRef, TableVersion


def schema(table: FeatureTable, inspection: Inspection) -> CheckResult:
    """Every column that the table speaks of is stored, and has the type that was asked for."""
    stored = _types(inspection)
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
    right = "as declared" if table.columns else "filled from the data"
    return CheckResult(
        name="schema",
        outcome="failed" if faults else "passed",
        blocking=True,
        message="; ".join(faults) or f"{len(stored)} columns {right}",
        details={"missing": missing, "differing": differing, "undeclared": undeclared},
    )


def schema_change(connection: Connection, ref: TableRef, inspection: Inspection, person: str) -> CheckResult:
    """No column went away or changed its type since the table's newest earlier version."""
    before = _before(connection, ref, person)
    if before is None:
        return CheckResult(name="schema_change", outcome="skipped", message="no earlier version")
    was, now = _types(before.inspection), _types(inspection)
    gone = [name for name in was if name not in now]
    changed = {name: f"{was[name]}, now {now[name]}" for name in was if name in now and was[name] != now[name]}
    faults = [f"gone: {', '.join(gone)}"] if gone else []
    faults += [f"{name} was {fault}" for name, fault in changed.items()]
    return CheckResult(
        name="schema_change",
        outcome="failed" if faults else "passed",
        message=f"{'; '.join(faults)} (since {before.ref})" if faults else f"as {before.ref}",
        details={"since": str(before.ref), "gone": gone, "changed": changed, "new": [x for x in now if x not in was]},
    )


def _before(connection: Connection, ref: TableRef, person: str) -> TableVersion | None:
    own = entries.number(ref)
    seen = entries.versions_of(connection, ref, person)
    earlier = [each for each in seen if (each is None) == (own is None) and (each or 0) <= (own or 0)]
    if not earlier:
        return None
    at = "unversioned" if own is None else max(each for each in earlier if each is not None)
    found = entries.find(connection, ref.model_copy(update={"mat_version": at}), person)
    return None if found is None else found.version


def leavings(inspection: Inspection) -> Iterable[CheckResult]:
    """Columns of CAVE's exporter that are no use to a reader as they are."""
    types = {field.name: field.type for field in inspection.fields}
    points, numbers = exported.undecoded(types), exported.partitions(types)
    said = [f"points that were not decoded: {', '.join(points)}"] if points else []
    said += [f"numbers that only part the files: {', '.join(numbers)}"] if numbers else []
    if said:
        details = {"undecoded": points, "partitions": numbers}
        yield CheckResult(name="exporter", outcome="warned", message="; ".join(said), details=details)


def _types(inspection: Inspection) -> dict[str, str]:
    return {each.name: arrow_type(inspection.logical_types.get(each.name, each.type)) for each in inspection.fields}


def arrow_type(name: str) -> str:
    """One spelling of a type: `float64` is Arrow's `double`; the width of offsets is the format's business."""
    try:
        known = str(pa.type_for_alias(name))
    except ValueError:  # nested and parametrised types have no alias
        known = name
    return re.sub(r"large_(string|binary|list)|(string|binary)_view", lambda found: found[1] or found[2], known)
