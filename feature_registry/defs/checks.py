"""The checks that follow from a declaration, evaluated on the revision as it was written.

`schema`: every declared column is stored, with the declared type. `key`: the key columns are unique together and not
null. `references_COLUMN`: every value is in the parent's column at the same materialization version. A reference into
a table that is not registered at that version is skipped, or fails if it blocks: nobody can tell. Then follow the
checks that were declared by name.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl

from feature_registry.defs.declaration import Declaration, reference_check
from feature_registry.model import CheckResult, TableVersion
from feature_registry.registry import Registry, validation

ROWS_PER_PASS = 50_000_000  # a pass holds the distinct values of this many rows in memory
EXAMPLES = 5

Outcome = tuple[str, str, dict[str, Any]]


def names(declaration: Declaration) -> list[str]:
    key = ["key"] if declaration.table.key else []
    return ["schema", *key, *map(reference_check, declaration.table.references), *declaration.checks]


def blocks(declaration: Declaration, name: str) -> bool:
    if name in declaration.checks or name in declaration.blocking:
        return True
    return name.startswith("references_") and "references" in declaration.blocking


def specs(declaration: Declaration, partitions: dg.PartitionsDefinition[str] | None) -> list[dg.AssetCheckSpec]:
    table = declaration.table
    texts = {"schema": "Every declared column is there, with the declared type."}
    texts["key"] = f"({', '.join(table.key)}) is unique and not null."
    for column, target in table.references.items():
        texts[reference_check(column)] = f"Every {column} is in {target} at the same materialization version."
    texts |= {name: (inspect.getdoc(check) or "").split("\n")[0] for name, check in declaration.checks.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # partitions of checks are a preview in 1.13
        return [
            dg.AssetCheckSpec(
                name,
                asset=declaration.asset_key,
                description=texts[name],
                blocking=blocks(declaration, name),
                partitions_def=partitions,
            )
            for name in names(declaration)
        ]


def evaluate(
    declaration: Declaration, version: TableVersion, registry: Registry, value: Any = None
) -> list[CheckResult]:
    """All checks of the declaration, whatever Dagster selected: the catalog publishes by them.

    `value` is what the feature function returned.
    """
    table, written = declaration.table, _Written(version, registry)
    schema = validation.schema(table, version.inspection)
    found: dict[str, Outcome] = {"schema": (schema.outcome, schema.message, schema.details)}
    if table.key:
        found["key"] = _key(table.key, written)
    for column, target in table.references.items():
        name = reference_check(column)
        found[name] = _reference(column, target, written, strict=blocks(declaration, name))
    results = [_result(name, blocks(declaration, name), *outcome) for name, outcome in found.items()]
    for name, check in declaration.checks.items():
        result = check(version, registry, value)
        blocking = result.outcome in ("passed", "failed")  # what was only warned of, or skipped, keeps nothing back
        results.append(result.model_copy(update={"name": name, "blocking": blocking}))
    return results


def to_dagster(declaration: Declaration, results: Iterable[CheckResult], selected: set[str]) -> Iterator[Any]:
    for result in results:
        if result.name in selected:
            yield dg.AssetCheckResult(
                asset_key=declaration.asset_key,
                check_name=result.name,
                passed=result.outcome == "passed",
                severity=dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN,
                description=result.message,
                metadata=result.details,
            )


def _result(name: str, blocking: bool, outcome: str, message: str, details: dict[str, Any]) -> CheckResult:
    if outcome == "failed" and not blocking:
        outcome = "warned"
    return CheckResult.model_validate(
        {"name": name, "outcome": outcome, "blocking": blocking, "message": message, "details": details}
    )


@dataclass(frozen=True, slots=True)
class _Written:
    """The revision that is checked."""

    version: TableVersion
    registry: Registry

    def lacks(self, columns: Sequence[str]) -> list[str]:
        stored = {field.name for field in self.version.inspection.fields}
        return [column for column in columns if column not in stored]

    def scan(self) -> pl.LazyFrame:
        return self.registry.scan(self.version)


def _key(key: Sequence[str], written: _Written) -> Outcome:
    if written.lacks(key):
        return "failed", "key columns are not stored", {"missing": written.lacks(key)}
    if written.version.inspection.rows == 0:
        return "passed", "no rows", {"rows": 0, "duplicates": 0, "nulls": 0}
    frame = written.scan().select(key)
    null = pl.any_horizontal(pl.col(name).is_null() for name in key)
    rows, nulls = _one(frame.select(pl.len(), null.sum().alias("nulls")))
    whole = frame.filter(~null) if nulls else frame
    hashed = pl.struct(key).hash() if len(key) > 1 else pl.col(key[0]).hash()
    distinct = sum(_one(part.unique().select(pl.len()))[0] for part in _passes(whole, hashed, rows))
    duplicates = rows - nulls - distinct
    details: dict[str, Any] = {"rows": rows, "duplicates": duplicates, "nulls": nulls}
    if not duplicates and not nulls:
        return "passed", f"unique over {rows} rows", details
    if duplicates:
        repeated = whole.group_by(key).len().filter(pl.col("len") > 1).select(key).sort(key).head(EXAMPLES)
        details["examples"] = [", ".join(map(str, row)) for row in repeated.collect(engine="streaming").rows()]
    return "failed", f"{duplicates} rows repeat a key, {nulls} rows have a null in it", details


def _reference(column: str, target: str, written: _Written, *, strict: bool) -> Outcome:
    path, _, wanted = target.rpartition(".")
    version, registry = written.version, written.registry
    datastack, _, name = path.rpartition("/")
    if written.lacks([column]):
        return "failed", f"{column} is not stored", {"missing": [column]}
    parent = _parent(registry, version, datastack or version.datastack, name)
    if parent is None:
        at = "unversioned" if version.mat_version is None else version.mat_version
        return ("failed" if strict else "skipped"), f"{name} is not registered at {at}; nothing was verified", {}
    if _Written(parent, registry).lacks([wanted]):
        return "failed", f"{parent.ref} has no column {wanted}", {"parent": str(parent.ref)}
    values = written.scan().select(pl.col(column).alias("value")).drop_nulls()
    parents = registry.scan(parent).select(pl.col(wanted).alias("value")).drop_nulls()
    return _orphans(*_comparable(values, parents), parent)


def _parent(registry: Registry, version: TableVersion, datastack: str, name: str) -> TableVersion | None:
    """At the same materialization version, never at another; a parent without versions has none to differ in."""
    same = registry.find(datastack, name, version.mat_version, version.producer.run_id)
    return same or registry.find(datastack, name, None, version.producer.run_id)


def _orphans(values: pl.LazyFrame, parents: pl.LazyFrame, parent: TableVersion) -> Outcome:
    hashed = pl.col("value").hash()
    sides = (_passes(side, hashed, parent.inspection.rows) for side in (values, parents))
    lost = [part.join(known, on="value", how="anti") for part, known in zip(*sides, strict=True)]
    rows = _one(values.select(pl.len()))[0]
    orphans = sum(_one(part.select(pl.len()))[0] for part in lost)
    details: dict[str, Any] = {"parent": str(parent.ref), "rows": rows, "orphans": orphans}
    details["share"] = orphans / rows if rows else 0.0
    if not orphans:
        return "passed", f"all {rows} values are in {parent.ref}", details
    examples = pl.concat(lost).unique().bottom_k(EXAMPLES, by="value").sort("value").collect(engine="streaming")
    details["examples"] = [str(value) for value in examples["value"]]
    return "failed", f"{orphans} of {rows} values are not in {parent.ref}", details


def _comparable(left: pl.LazyFrame, right: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Ids of two widths meet as 128-bit integers, which hold both int64 and uint64; never as floats."""
    one, other = (frame.collect_schema()["value"] for frame in (left, right))
    if one == other:
        return left, right
    common = pl.Int128 if one.is_integer() and other.is_integer() else pl.String
    return left.cast(common), right.cast(common)


def _passes(frame: pl.LazyFrame, hashed: pl.Expr, rows: int | None) -> list[pl.LazyFrame]:
    """The frame in parts of disjoint values, so that memory stays bounded at the price of reading more than once."""
    count = math.ceil((rows or 0) / ROWS_PER_PASS)
    return [frame] if count <= 1 else [frame.filter(hashed % count == part) for part in range(count)]


def _one(frame: pl.LazyFrame) -> tuple[Any, ...]:
    return frame.collect(engine="streaming").row(0)
