"""What the catalog knows of the difference between two table versions; no data are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from feature_registry import policy
from feature_registry.model import (
    Column,
    Difference,
    Entry,
    Inspection,
    KeyDifference,
    SchemaChange,
    SegmentationNode,
)
from feature_registry.registry.validation import arrow_type

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def difference(registry: Registry, old: str, new: str) -> Difference:
    """By the two inspections. Its keys are known only where both versions are the same files."""
    before, after = registry.describe(old), registry.describe(new)
    for entry in (before, after):
        policy.check_readable(registry.person, entry.version)
    one, other = before.version.inspection, after.version.inspection
    identical = _identical(one, other)
    return Difference(
        old=str(before.ref),
        new=str(after.ref),
        identical=identical,
        schema_changes=tuple(_schema_changes(_types(one), _types(other))),
        old_rows=one.rows,
        new_rows=other.rows,
        old_bytes=one.bytes,
        new_bytes=other.bytes,
        keys=_no_difference(after) if identical else None,
        warnings=tuple(dict.fromkeys([*before.warnings, *after.warnings, *_root_ids(before, after)])),
    )


def _identical(one: Inspection, other: Inspection) -> bool:
    """Whether a reader gets the same of both. Equal files may lie in other partitions, whose values they lack."""
    if _types(one) != _types(other):
        return False
    if (one.location, one.snapshot, one.fingerprint) == (other.location, other.snapshot, other.fingerprint):
        return True
    parted = one.partition_columns or any(layout.partition_columns for layout in one.layouts)
    return one.content is not None and one.content == other.content and not parted


def _no_difference(entry: Entry) -> KeyDifference:
    key = entry.table.key
    columns = tuple(field.name for field in entry.version.inspection.fields if field.name not in key)
    return KeyDifference(key=key, columns=columns, added=0, removed=0, changed=0, same=None)


def _types(seen: Inspection) -> dict[str, str]:
    return {field.name: arrow_type(seen.logical_types.get(field.name, field.type)) for field in seen.fields}


def _schema_changes(old: dict[str, str], new: dict[str, str]) -> Iterable[SchemaChange]:
    """In the order of the new columns, then of those that are gone."""
    for name in (*new, *(name for name in old if name not in new)):
        if old.get(name) != new.get(name):
            yield SchemaChange(column=name, old=old.get(name), new=new.get(name))


def _root_ids(before: Entry, after: Entry) -> Iterable[str]:
    """Said, and not hidden: whoever wants to know what else changed leaves these columns out."""
    if before.version.mat_version == after.version.mat_version:
        return
    old = {field.name for field in before.version.inspection.fields}
    names = [field.name for field in after.version.inspection.fields if field.name in old]
    roots = [name for name in names if _is_root_id(name, after.table.columns.get(name, Column()))]
    if roots:
        yield (
            f"{', '.join(roots)}: root ids belong to one materialization version, so they change wherever the "
            "segmentation was edited, and such rows count as changed"
        )


def _is_root_id(name: str, column: Column) -> bool:
    declared = isinstance(column.kind, SegmentationNode) and column.kind.level == "root_id"
    return declared or name.endswith("root_id")
