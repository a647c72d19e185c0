from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_registry.errors import Invalid
from feature_registry.formats._sorting import sorted_batches

START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "id": (pa.int64(), st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-2, 2))),
    "x": (pa.float64(), st.one_of(st.none(), st.floats())),
    "text": (pa.string(), st.one_of(st.none(), st.text(max_size=3))),
    "at": (pa.timestamp("ns", "UTC"), st.one_of(st.none(), st.integers(0, 3).map(lambda n: START + timedelta(days=n)))),
    "category": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["b", "a", None])),
}


def reader(table: pa.Table, rows: int) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=rows))


def order(row: dict[str, Any], keys: list[str]) -> list[tuple[int, Any]]:
    def place(value: Any) -> tuple[int, Any]:
        return (2, 0) if value is None else (1, 0) if value != value else (0, value)

    return [place(row[key]) for key in keys]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_runs_on_disk_give_the_same_order(data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True))
    rows = data.draw(st.integers(0, 60))
    columns = {name: pa.array([data.draw(COLUMNS[name][1]) for _ in range(rows)], COLUMNS[name][0]) for name in keys}
    table = pa.table(columns | {"row": pa.array(range(rows), pa.int64())})
    memory = data.draw(st.sampled_from([100, 300, 10**9]))
    found = sorted_batches(reader(table, 5), tuple(keys), memory).read_all()
    plain = table.to_pylist()
    expected = sorted(plain, key=lambda row: order(row, keys))  # stable, too
    assert found.schema == table.schema
    assert found["row"].to_pylist() == [row["row"] for row in expected]


def test_memory_is_bounded_by_ranges_of_equal_keys_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import feature_registry.formats._sorting as sorting

    sizes = []
    ordered = sorting._ordered
    monkeypatch.setattr(sorting, "_ordered", lambda table, keys: sizes.append(len(table)) or ordered(table, keys))
    monkeypatch.setattr(sorting, "SAMPLES", 100)
    table = pa.table({"key": np.zeros(50_000, np.int64), "value": np.arange(50_000)})
    found = sorted_batches(reader(table, 1000), ("key",), memory=80_000).read_all()
    assert found["value"].to_pylist() == list(range(50_000))
    assert max(sizes) < 12_000


def test_leaves_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = pa.table({"key": np.arange(10_000)[::-1]})
    sorted_batches(reader(table, 100), ("key",), memory=10_000).read_all()
    assert list(tmp_path.iterdir()) == []
    partly = sorted_batches(reader(table, 100), ("key",), memory=10_000)
    partly.read_next_batch()
    del partly
    assert list(tmp_path.iterdir()) == []


def test_refuses_keys_without_an_order() -> None:
    table = pa.table({"list": [[1]], "id": [1]})
    for keys in (("list",), ("nothing",), ("id", "nothing")):
        with pytest.raises(Invalid):
            sorted_batches(reader(table, 1), keys)
