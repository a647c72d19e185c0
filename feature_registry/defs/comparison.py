"""The check `database`: what was written against what the database says of the same rows, column by column."""

from __future__ import annotations

import math

import polars as pl

from feature_registry.cave import ColumnStatistics
from feature_registry.model import CheckResult, TableVersion
from feature_registry.registry import Registry

FACTS = ("count", "nulls", "minimum", "maximum", "total")
# A sum of floats depends on the order of its rows: each addition rounds by half of this, relative to what was summed.
EPSILON = 2.0**-52


def compare(version: TableVersion, registry: Registry, said: list[ColumnStatistics]) -> CheckResult:
    """Reads all rows back. Of a minimum, maximum or total, the database says nothing where the type has none."""
    stored = {each.name: each for each in _stored(registry.scan(version))}
    faults: dict[str, str] = {}
    for theirs in said:
        ours = stored.pop(theirs.name, None)
        differing = [] if ours is None else [fact for fact in FACTS if not _agree(fact, theirs, ours)]
        if ours is None:
            faults[theirs.name] = "is not stored"
        elif differing:
            faults[theirs.name] = ", ".join(
                f"{fact} {getattr(ours, fact)}, in the database {getattr(theirs, fact)}" for fact in differing
            )
    faults |= dict.fromkeys(stored, "is not in the database")
    return CheckResult(
        name="database",
        outcome="failed" if faults else "passed",
        blocking=True,
        message="; ".join(f"{name}: {fault}" for name, fault in faults.items())
        or f"count, nulls, minimum, maximum and sum of {len(said)} columns as in the database",
        details={"columns": len(said), "differing": faults},
    )


def _stored(frame: pl.LazyFrame) -> list[ColumnStatistics]:
    schema = frame.collect_schema()
    facts = [
        expression.alias(f"{number}.{fact}")
        for number, (name, dtype) in enumerate(schema.items())
        for fact, expression in _expressions(pl.col(name), dtype).items()
    ]
    found = frame.select(pl.len().alias("count"), *facts).collect(engine="streaming").row(0, named=True)
    return [
        ColumnStatistics(
            name,
            found["count"],
            found[f"{number}.nulls"],
            found.get(f"{number}.minimum"),
            found.get(f"{number}.maximum"),
            found.get(f"{number}.total"),
        )
        for number, name in enumerate(schema)
    ]


def _expressions(column: pl.Expr, dtype: pl.DataType) -> dict[str, pl.Expr]:
    facts = {"nulls": column.null_count()}
    if dtype.is_float():
        column = column.cast(pl.Float64).fill_nan(None)  # NaN is left out, as in `Rows.statistics`
    if not dtype.is_nested():
        facts |= {"minimum": column.min(), "maximum": column.max()}
    if dtype.is_integer():
        facts["total"] = column.cast(pl.Int128).sum()  # ids add up to more than 64 bits
    elif dtype.is_float() or dtype.is_decimal() or dtype == pl.Boolean:
        facts["total"] = column.sum()
    return facts


def _agree(fact: str, theirs: ColumnStatistics, ours: ColumnStatistics) -> bool:
    said, seen = getattr(theirs, fact), getattr(ours, fact)
    if said is None:
        return True
    if fact == "total" and isinstance(seen, float):
        return _same_sum(float(said), seen, ours)
    return bool(said == seen)


def _same_sum(said: float, seen: float, ours: ColumnStatistics) -> bool:
    if not (math.isfinite(said) and math.isfinite(seen)):
        return str(said) == str(seen)  # NaN is not equal to itself
    largest = max(abs(ours.minimum or 0.0), abs(ours.maximum or 0.0))
    allowed: float = EPSILON * ours.count * ours.count * largest
    return abs(said - seen) <= allowed
