"""Hash buckets: whether rows are in the buckets that the declaration computes. A wrong one loses rows to whoever asks
by an id.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from feature_registry.errors import Invalid
from feature_registry.model import CheckResult, HashBuckets, Layout
from feature_registry.pruning import buckets
from feature_registry.registry.validation import rows
from feature_registry.registry.validation.subject import Subject

FOLDERS = 32  # partitions, spread over all, of which rows are looked at
ROWS_PER_FOLDER = 1_000


def hash_buckets(subject: Subject, layouts: tuple[Layout, ...]) -> Iterator[CheckResult]:
    """One result for all declarations, of the table and of its layouts."""
    several = bool(subject.inspection.layouts)
    declared = [(_layout(subject, each), each) for each in subject.table.hash_buckets]
    declared += [(layout.name if several else None, each) for layout in layouts for each in layout.hash_buckets]
    if declared:
        yield rows.read("hash_buckets", lambda: _all(subject, declared))


def _layout(subject: Subject, declared: HashBuckets) -> str | None:
    """The layout that is bucketed so; None: there is one only, or none says so."""
    found = (each for each in subject.inspection.layouts if declared.partition_column in each.partition_columns)
    return next((each.name for each in found), None)


def _all(subject: Subject, declared: list[tuple[str | None, HashBuckets]]) -> CheckResult:
    faults, notes = [], []
    for layout, each in declared:
        said = f"{each.column} in {each.partition_column} by {each.transform}[{each.buckets}]"
        if each.transform == "opaque":
            notes.append(f"{said}: known to its writer only")
            continue
        try:
            seen, wrong = _wrong(subject, layout, each)
        except Invalid as unfit:
            faults.append(f"{said}: {unfit}")
            continue
        if wrong:
            faults.append(f"{said}: {len(wrong)} of {seen} rows that were looked at are elsewhere, such as {wrong[0]}")
        else:
            notes.append(f"{said}: as computed, of {seen} rows")
    outcome = "failed" if faults else "passed"
    return CheckResult.model_validate(
        {"name": "hash_buckets", "outcome": outcome, "message": "; ".join(faults or notes)}
    )


def _some(files: pa.Table, partition_column: str) -> pa.Table:
    """A file of each folder that is looked at."""
    if (name := f"partition.{partition_column}") not in files.column_names:
        return rows.sampled_files(files)
    first: dict[str | None, int] = {}
    for number, value in enumerate(files[name].to_pylist()):
        first.setdefault(value, number)
    numbers = list(first.values())
    return files.take(numbers[:: max(1, len(numbers) // FOLDERS)])


def _wrong(subject: Subject, layout: str | None, declared: HashBuckets) -> tuple[int, list[str]]:
    """How many rows were looked at, and those that are in another bucket than the declaration says."""
    files = subject.files(layout)
    frame = subject.scan(layout, None if files is None else _some(files, declared.partition_column))
    schema = frame.collect_schema()
    for name in (declared.column, declared.partition_column):
        if name not in schema:
            raise Invalid("is not stored", field="hash_buckets", value=name, expected=schema.names())
    place = pl.col(declared.partition_column)
    folders = rows.collected(frame.select(place).unique().sort(declared.partition_column)).to_series().to_list()
    some = folders[:: max(1, len(folders) // FOLDERS)]
    found = rows.collected(
        pl.concat(
            frame.filter(place.eq_missing(folder))
            .select(declared.column, declared.partition_column)
            .head(ROWS_PER_FOLDER)
            for folder in some
        )
    )
    values = found[declared.column].to_arrow()
    empty = pa.schema([pa.field(declared.column, values.type)])
    buckets.check_hashed(declared, empty)
    computed = pl.Series(buckets.bucket_numbers(declared, values))
    stored = found[declared.partition_column].cast(pl.Int64, strict=False)
    off = found.filter(~stored.eq_missing(computed) & found[declared.column].is_not_null())
    wrong = [f"{value} in {folder}" for value, folder in off.rows()]
    return found.height, wrong
