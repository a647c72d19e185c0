"""Frames of other libraries, and frames in batches. Ids stay integers in all of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from feature_registry.client import scan
from feature_registry.client.filters import Filter
from feature_registry.model import Plan

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa


def _needed(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"this needs the package {missing.name!r}: pip install 'feature-registry[pandas]'"
        ) from missing


def arrow(frame: pl.DataFrame) -> pa.Table:
    _needed("pyarrow")
    return frame.to_arrow()


def pandas(frame: pl.DataFrame) -> pd.DataFrame:
    """As Polars does it, but for integers with nulls, which numpy would make floats."""
    library = _needed("pandas")
    _needed("pyarrow")
    found = frame.to_pandas()
    for name, kind in frame.schema.items():
        if kind.is_integer() and frame[name].null_count():
            nullable = getattr(library, f"{kind.base_type().__name__}Dtype")()
            found[name] = library.array(frame[name].to_list(), dtype=nullable)
    return found


def batches(plan: Plan, wanted: Filter, rows: int, seed: int | None) -> Iterator[pl.DataFrame]:
    """The rows of a plan in frames of `rows`, the last one shorter."""
    if seed is not None:
        order = list(plan.files)
        random.Random(seed).shuffle(order)  # noqa: S311 - an order, no secret
        plan = plan.model_copy(update={"files": tuple(order)})
    lazy = scan.frame(plan, wanted)
    for number, batch in enumerate(_even(lazy.collect_batches(chunk_size=rows, lazy=True), rows)):
        yield batch if seed is None else batch.sample(fraction=1, shuffle=True, seed=seed + number)


def _even(chunks: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Chunks of whatever size as frames of `rows`."""
    import polars as pl

    waiting: list[pl.DataFrame] = []
    height = 0
    for chunk in chunks:
        waiting.append(chunk)
        height += chunk.height
        if height < rows:
            continue
        joined = pl.concat(waiting)
        whole = height - height % rows
        for start in range(0, whole, rows):
            yield joined.slice(start, rows)
        waiting, height = [joined.slice(whole)], height - whole
    if height:
        yield pl.concat(waiting)
