"""Each claim about a reader, tried on the installed one. Those about Spark are its documentation's."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import deltalake
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_registry.registry.validation.type_traps import readers
from feature_registry_tests.registry.validation.conftest import Outside, check

BIG = 2**62 + 1
VALUES: dict[str, pa.Array] = {
    "uint64": pa.array([2**63 + 5, None], pa.uint64()),
    "uint32": pa.array([2**32 - 1, None], pa.uint32()),
    "fixed_size_list": pa.array([[1, 2], None], pa.list_(pa.float32(), 2)),
    "dictionary": pa.array(["a", None]).dictionary_encode(),
    "decimal256": pa.array([Decimal("1.23"), None], pa.decimal256(50, 2)),
    "decimal128": pa.array([Decimal("1.23"), None], pa.decimal128(20, 2)),
    "float16": pa.array(np.array([1, 2], np.float16)),
    "nanoseconds": pa.array([1_001, None], pa.timestamp("ns")),
    "nanoseconds in a zone": pa.array([1_001, None], pa.timestamp("ns", "Europe/Berlin")),
    "zone": pa.array([1, None], pa.timestamp("us", "Europe/Berlin")),
    "duration": pa.array([1, None], pa.duration("us")),
    "time": pa.array([1, None], pa.time64("us")),
    "struct": pa.array([{"a": BIG}, None]),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
}
HARMLESS: dict[str, pa.Array] = {
    "int32": pa.array([1, None], pa.int32()),
    "double": pa.array([1.5, None]),
    "bool": pa.array([True, None]),
    "string": pa.array(["a", None]),
    "large_string": pa.array(["a", None], pa.large_string()),
    "large_list": pa.array([[1], None], pa.large_list(pa.int64())),
    "list": pa.array([[1], None]),
    "binary": pa.array([b"a", None]),
    "UTC": pa.array([1, None], pa.timestamp("us", "UTC")),
    "date": pa.array([1, None], pa.date32()),
}


class Read:
    """One column as each reader takes it."""

    def __init__(self, folder: Path, values: pa.Array) -> None:
        self.values, self.file, self.folder = values, folder / "a.parquet", folder / "delta"
        pq.write_table(pa.table({"c": values}), self.file)

    def duckdb(self) -> tuple[str, Any]:
        relation = duckdb.sql(f"SELECT c FROM '{self.file}'")
        return str(relation.types[0]), relation.arrow().read_all()["c"].to_pylist()[0]

    def pandas(self) -> pd.Series[Any]:
        return pd.read_parquet(self.file)["c"]

    def delta(self) -> pa.DataType:
        deltalake.write_deltalake(self.folder, pa.table({"c": self.values}))
        return pa.schema(deltalake.DeltaTable(self.folder).schema()).field(0).type

    def no_delta(self) -> bool:
        with pytest.raises(Exception, match=r"Invalid data type for Delta|Cast error|Delta"):
            self.delta()
        return True

    def no_polars(self) -> bool:
        with pytest.raises(pl.exceptions.PolarsError):
            pl.read_parquet(self.file)
        return True


TRIED: dict[tuple[str, str], Callable[[Read], bool]] = {
    ("uint64", "pandas"): lambda read: read.pandas().dtype == np.float64 and int(read.pandas()[0]) != 2**63 + 5,
    ("uint64", "Delta"): Read.no_delta,
    ("uint32", "Delta"): Read.no_delta,
    ("fixed_size_list", "DuckDB"): lambda read: read.duckdb()[0] == "FLOAT[]",
    ("fixed_size_list", "Delta"): lambda read: pa.types.is_list(read.delta()),
    ("dictionary", "DuckDB"): lambda read: read.duckdb()[0] == "VARCHAR",
    ("dictionary", "Delta"): lambda read: pa.types.is_string(read.delta()),
    ("decimal256", "Polars"): Read.no_polars,
    ("decimal256", "DuckDB"): lambda read: read.duckdb()[0] == "DOUBLE" and abs(read.duckdb()[1] - 1.23) > 1,
    ("decimal256", "Delta"): Read.no_delta,
    ("decimal128", "pandas"): lambda read: isinstance(read.pandas()[0], Decimal),
    ("float16", "DuckDB"): lambda read: read.duckdb()[0] == "FLOAT",
    ("float16", "Delta"): Read.no_delta,
    ("nanoseconds", "Delta"): lambda read: read.delta().unit == "us",
    ("nanoseconds in a zone", "Delta"): lambda read: read.delta() == pa.timestamp("us", "UTC"),
    ("nanoseconds in a zone", "DuckDB"): lambda read: read.duckdb()[0] == "TIMESTAMP WITH TIME ZONE",
    ("zone", "DuckDB"): lambda read: read.duckdb()[0] == "TIMESTAMP WITH TIME ZONE",
    ("zone", "Delta"): lambda read: read.delta().tz == "UTC",
    ("duration", "DuckDB"): lambda read: read.duckdb()[0] == "BIGINT",
    ("duration", "Delta"): Read.no_delta,
    ("time", "Delta"): Read.no_delta,
    ("struct", "pandas"): lambda read: isinstance(read.pandas()[0], dict),
    ("map", "pandas"): lambda read: isinstance(read.pandas()[0], list),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_is_said_of_a_reader_is_so(name: str, tmp_path: Path) -> None:
    said = set(readers(VALUES[name].type)) - {"Spark"}
    assert said == {reader for case, reader in TRIED if case == name}
    for reader in said:
        assert TRIED[name, reader](Read(tmp_path, VALUES[name]))


@pytest.mark.parametrize("name", HARMLESS)
def test_every_reader_takes_a_type_of_which_nothing_is_said(name: str, tmp_path: Path) -> None:
    values = HARMLESS[name]
    assert readers(values.type) == {}
    read = Read(tmp_path, values)
    assert read.duckdb()[1] == values.to_pylist()[0]
    assert pl.read_parquet(read.file)["c"].to_list() == values.to_pylist()
    assert not read.pandas().isna()[0]
    read.delta()


def test_the_warning_names_the_column_and_its_readers(outside: Outside) -> None:
    frame = pl.DataFrame({"root_id": [2**63, 1], "id": [BIG, None]}, schema={"root_id": pl.UInt64, "id": pl.Int64})
    place = outside.write(frame, "traps")
    found = check(outside.register(place), "type_traps")
    assert (found.outcome, list(found.details["columns"])) == ("warned", ["root_id (uint64)", "id (int64)"])
    assert {"pandas", "Delta", "Spark"} == set(found.details["columns"]["root_id (uint64)"])
    assert pd.read_parquet(place)["id"].dtype == np.float64
    assert "root_id (uint64): pandas: a float where there are nulls" in found.message
