from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_registry.formats import WriteOptions
from feature_registry.formats._data_files import write_files
from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(Location(tmp_path), Settings(home=tmp_path / "home"))


def integers() -> pa.Table:
    """The ends of every kind of integer, nulls, and noise."""
    noise = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 3000)
    columns = {}
    for bits in (8, 16, 32, 64):
        ends = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, None, 0]
        columns[f"i{bits}"] = pa.array(ends * 250 + (noise >> (64 - bits)).tolist(), f"int{bits}")
        columns[f"u{bits}"] = pa.array([2**bits - 1, None, 0, 1] * 1000, f"uint{bits}")
    columns["none"] = pa.nulls(4000, pa.int64())
    return pa.table(columns)


@pytest.mark.parametrize(
    "read",
    [
        pq.read_table,
        lambda path: pl.read_parquet(path).to_arrow(),
        lambda path: duckdb.read_parquet(path).to_arrow_table(),
        lambda path: pa.Table.from_pandas(pd.read_parquet(path, dtype_backend="pyarrow")),
    ],
    ids=["pyarrow", "polars", "duckdb", "pandas"],
)
def test_every_engine_reads_packed_integers(store: Store, tmp_path: Path, read: Callable[[str], Any]) -> None:
    table = integers()
    [file] = write_files(store, Location(tmp_path / "t"), table.to_reader(), WriteOptions(rows_per_group=1500))
    chunks = [file.footer.row_group(1).column(number) for number in range(file.footer.num_columns)]
    assert all("DELTA_BINARY_PACKED" in chunk.encodings for chunk in chunks)
    assert read(str(tmp_path / "t" / file.path)).cast(table.schema).equals(table)


def test_files_end_by_their_size(store: Store, tmp_path: Path) -> None:
    table = pa.table({"noise": np.random.default_rng(0).random(100_000)})
    options = WriteOptions(bytes_per_file=200_000, rows_per_group=1000)
    files = write_files(store, Location(tmp_path / "t"), table.to_reader(), options)
    assert [file.size for file in files[:-1]] == pytest.approx([200_000] * (len(files) - 1), rel=0.1)
    assert sum(file.footer.num_rows for file in files) == 100_000
    assert {file.footer.num_rows % 1000 for file in files} == {0}
