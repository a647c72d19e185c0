"""The key: whether it names each row once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.model import CheckResult
from feature_registry.registry.validation import rows
from feature_registry.registry.validation.subject import Subject


def key(subject: Subject, whole: bool = True) -> CheckResult:
    """Unique over the columns together and nowhere null, of all rows or of a sample."""
    names = subject.table.key
    if missing := subject.lacks(names):
        return CheckResult(
            name="key", outcome="failed", message="key columns are not stored", details={"missing": missing}
        )
    total = subject.inspection.rows
    if total == 0:
        details: dict[str, Any] = {"rows": 0, "duplicates": 0, "nulls": 0}
        return CheckResult(name="key", outcome="passed", message="no rows", details=details)
    frame, sample = (subject.scan(), "") if whole else subject.sampled()
    frame = frame.select(names)
    null = pl.any_horizontal(pl.col(each).is_null() for each in names)
    seen, nulls = rows.row(frame.select(pl.len(), null.sum().alias("nulls")))
    found = frame.filter(~null) if nulls else frame
    hashed = pl.struct(names).hash() if len(names) > 1 else pl.col(names[0]).hash()
    distinct = sum(rows.row(part.unique().select(pl.len()))[0] for part in rows.passes(found, hashed, seen))
    duplicates = seen - nulls - distinct
    details = {"rows": seen, "duplicates": duplicates, "nulls": nulls}
    among = f"{seen} rows"
    if sample:
        details["of"] = total
        among = f"{seen:,} of {'unknown' if total is None else f'{total:,}'} rows, {sample}"
    if not duplicates and not nulls:
        return CheckResult(name="key", outcome="passed", message=f"unique over {among}", details=details)
    if duplicates:
        repeated = found.group_by(names).len().filter(pl.col("len") > 1).select(names).sort(names).head(rows.EXAMPLES)
        details["examples"] = [", ".join(map(str, each)) for each in rows.collected(repeated).rows()]
    message = f"{duplicates} rows repeat a key, {nulls} rows have a null in it"
    message = f"{message}, of {among}" if sample else message
    return CheckResult(name="key", outcome="failed", message=message, details=details)


def nulls(names: tuple[str, ...], manifest: pa.Table) -> Iterable[CheckResult]:
    """Nulls in the key, where the files' statistics tell. Whether it is unique, only a look at the rows does."""
    counts = {}
    for name in names:
        if f"partition.{name}" in manifest.column_names:
            counts[name] = pc.sum(pc.if_else(manifest[f"partition.{name}"].is_null(), manifest["rows"], 0)).as_py() or 0
        elif f"nulls.{name}" in manifest.column_names and not manifest[f"nulls.{name}"].null_count:
            counts[name] = pc.sum(manifest[f"nulls.{name}"]).as_py() or 0
    found = {name: count for name, count in counts.items() if count}
    if found:
        message = ", ".join(f"{name} is null in {count:,} rows" for name, count in found.items())
        yield CheckResult(name="key", outcome="failed", blocking=True, message=message, details={"nulls": found})
    elif names:
        known = "no null in it" if len(counts) == len(names) else "not all files say whether there is a null in it"
        yield CheckResult(name="key", outcome="skipped", message=f"{known}; whether it is unique was not looked at")
