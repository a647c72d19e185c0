"""Reads rows in bounded memory: whole, in passes over disjoint values, or a sample of bounded rows and files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa

from feature_registry.model import CheckResult

T = TypeVar("T")
ROWS_PER_PASS = 50_000_000  # a pass holds the distinct values of this many rows in memory
ROWS_SAMPLED = 1_000_000  # a smaller table is looked at whole
FILES_SAMPLED = 64  # a file is opened in the time in which thousands of its rows are read
STRETCHES = 4  # in which a sample lies, spread over the table
EXAMPLES = 5


def sampled(frame: pl.LazyFrame, rows: int | None) -> pl.LazyFrame:
    """Stretches of neighbouring rows, for what is repeated by mistake often stands together."""
    if rows is None:
        return frame.head(ROWS_SAMPLED)
    if rows <= ROWS_SAMPLED:
        return frame
    return pl.concat([frame.slice(each.start, len(each)) for each in _stretches(rows, ROWS_SAMPLED)])


def sampled_files(manifest: pa.Table) -> pa.Table:
    """Stretches of neighbouring files, by their paths."""
    if len(manifest) <= FILES_SAMPLED:
        return manifest
    return manifest.take([number for each in _stretches(len(manifest), FILES_SAMPLED) for number in each])


def _stretches(total: int, wanted: int) -> list[range]:
    length = wanted // STRETCHES
    starts = [(total - length) * number // (STRETCHES - 1) for number in range(STRETCHES)]
    return [range(start, start + length) for start in starts]


def passes(frame: pl.LazyFrame, hashed: pl.Expr, rows: int | None) -> list[pl.LazyFrame]:
    """The frame in parts of disjoint values, so that memory stays bounded at the price of reading more than once."""
    count = math.ceil((rows or 0) / ROWS_PER_PASS)
    return [frame] if count <= 1 else [frame.filter(hashed % count == part) for part in range(count)]


def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect(engine="streaming")


def row(frame: pl.LazyFrame) -> tuple[Any, ...]:
    return collected(frame).row(0)


def comparable(left: pl.LazyFrame, right: pl.LazyFrame) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    """Ids of two widths meet as 128-bit integers, which hold both int64 and uint64; never as floats."""
    one, other = (frame.collect_schema()["value"] for frame in (left, right))
    if one == other:
        return left, right
    common = pl.Int128 if one.is_integer() and other.is_integer() else pl.String
    return left.cast(common), right.cast(common)


def read(name: str, look: Callable[[], T]) -> T | CheckResult:
    """What is found; rows that no engine can read are a finding, too."""
    try:
        return look()
    except (pl.exceptions.PolarsError, OSError) as wrong:
        said = str(wrong).split("\n", 1)[0][:300].replace("\0", "\\0")  # as of bytes that are no Parquet's
        return CheckResult(name=name, outcome="failed", message=f"the rows cannot be read: {said}")
