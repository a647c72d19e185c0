from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_registry.errors import Invalid
from feature_registry.formats._sorting import morton, sorted_batches

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


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_equal_keys_keep_their_order(data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True))
    rows = data.draw(st.integers(0, 60))
    columns = {name: pa.array([data.draw(COLUMNS[name][1]) for _ in range(rows)], COLUMNS[name][0]) for name in keys}
    table = pa.table(columns | {"row": pa.array(range(rows), pa.int64())})
    found = sorted_batches(reader(table, 5), keys).read_all()
    plain = table.to_pylist()
    expected = sorted(plain, key=lambda row: order(row, keys))  # stable, too
    assert found.schema == table.schema
    assert found["row"].to_pylist() == [row["row"] for row in expected]


TYPES = {
    "large": pa.array(["b", None], pa.large_string()),
    "view": pa.array(["b", None], pa.string_view()),
    "bytes": pa.array([b"\xff\x00", None], pa.binary(2)),
    "category": pa.array(["b", None], pa.dictionary(pa.int8(), pa.large_string())),
    "u64": pa.array([2**64 - 1, None], pa.uint64()),
    "half": pa.array([1.5, None], pa.float16()),
    "money": pa.array([Decimal("1.5"), None], pa.decimal32(5, 1)),
    "nanos": pa.array([2**63 - 1, None], pa.timestamp("ns", "UTC")),
    "seconds": pa.array([2**62, None], pa.timestamp("s", "America/New_York")),
    "took": pa.array([-1, None], pa.duration("ns")),
    "time": pa.array([1, None], pa.time32("s")),
    "day": pa.array([86_400_000, None], pa.date64()),
    "nothing": pa.nulls(2),
    "vector": pa.array([[1.0, None], None], pa.list_(pa.float32(), 2)),
    "points": pa.array([[{"x": 1}], None], pa.large_list(pa.struct([pa.field("x", pa.uint8(), nullable=False)]))),
    "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())),
    "A": pa.array([1, None]),
    "a": pa.array([2, None]),
}


def test_types_come_back_as_they_were() -> None:
    table = pa.table(TYPES | {"key": [2, 1]}, metadata={"made": "by us"})
    found = sorted_batches(reader(table, 1), ("key",)).read_all()
    assert found.schema.equals(table.schema, check_metadata=True)
    assert found.equals(pa.concat_tables([table.slice(1), table.slice(0, 1)]))


@pytest.mark.parametrize("kind", [pa.decimal256(50), pa.list_(pa.float16()), pa.struct([("at", pa.duration("s"))])])
def test_what_would_not_come_back_is_refused_by_name(kind: pa.DataType) -> None:
    table = pa.table({"key": [1], "odd": pa.nulls(1, kind)})
    with pytest.raises(Invalid) as refused:
        sorted_batches(reader(table, 1), ("key",))
    assert refused.value.value == "odd"


def test_more_than_memory_holds_waits_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = pa.table({"key": np.random.default_rng(0).integers(0, 1000, 3_000_000), "row": np.arange(3_000_000)})
    batches = sorted_batches(reader(table, 100_000), ("key",), memory="60MB")
    first = batches.read_next_batch()
    assert any(path.is_file() for path in tmp_path.rglob("*"))
    found = pa.concat_tables([pa.Table.from_batches([first]), batches.read_all()])
    assert (found["row"].to_numpy() == np.argsort(table["key"].to_numpy(), kind="stable")).all()
    assert list(tmp_path.iterdir()) == []


def test_leaves_no_files_behind_when_it_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    partly = sorted_batches(reader(pa.table({"key": np.arange(1_000_000)[::-1]}), 10_000), ("key",), memory="60MB")
    partly.read_next_batch()
    del partly
    assert list(tmp_path.iterdir()) == []


def test_what_the_source_raises_is_what_is_raised() -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"key": [1]})
        raise Invalid("does not fit", field="key", value=2)

    with pytest.raises(Invalid, match="does not fit"):
        sorted_batches(pa.RecordBatchReader.from_batches(pa.schema({"key": pa.int64()}), broken()), ("key",)).read_all()


def interleaved(point: tuple[int, ...]) -> int:
    """The code by its definition: bit after bit."""
    places = [value + 2**31 for value in point]
    return sum(((place >> bit) & 1) << (3 * bit + axis) for bit in range(32) for axis, place in enumerate(places))


COORDINATE = st.one_of(st.integers(-(2**31), 2**31 - 1), st.integers(-5, 5), st.integers(0, 400_000))


@settings(max_examples=100, deadline=None)
@given(points=st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE), min_size=1), axes=st.sampled_from([2, 3]))
def test_morton_interleaves_the_bits(points: list[tuple[int, ...]], axes: int) -> None:
    columns = [pa.array([point[axis] for point in points], pa.int32()) for axis in range(axes)]
    high, low = morton(columns)
    codes = [(int(upper) << 63) | int(lower) for upper, lower in zip(high, low, strict=True)]
    assert codes == [interleaved(point[:axes]) for point in points]


def test_morton_orders_what_lies_beyond_and_nulls_last() -> None:
    values = [None, 2**40, 5, 0, -1, -(2**40)]
    table = pa.table({"x": pa.array(values), "y": pa.array([0] * 6, pa.uint16()), "z": pa.array([0] * 6, pa.int8())})
    found = sorted_batches(reader(table, 2), (), ("x", "y", "z")).read_all()
    assert found["x"].to_pylist() == [-(2**40), -1, 0, 5, None, 2**40]  # the last two are taken for the same
    with pytest.raises(Invalid, match="integers"):
        sorted_batches(reader(pa.table({"x": [0.5]}), 1), (), ("x", "x"))


def test_morton_keeps_neighbours_together() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(0, 64)] * 3), -1).reshape(-1, 3)
    np.random.default_rng(0).shuffle(grid)
    table = pa.table({axis: grid[:, number] for number, axis in enumerate("xyz")})
    found = sorted_batches(reader(table, 50_000), (), ("x", "y", "z")).read_all()
    for start in range(0, len(found), 512):  # an aligned cube of 8 voxels a side
        cube = found.slice(start, 512)
        assert [pc.max(column).as_py() - pc.min(column).as_py() for column in cube.columns] == [7, 7, 7]


def test_refuses_keys_without_an_order() -> None:
    table = pa.table({"list": [[1]], "id": [1]})
    for keys in (("list",), ("nothing",), ("id", "nothing")):
        with pytest.raises(Invalid):
            sorted_batches(reader(table, 1), keys)


def test_what_the_order_leaves_equal_goes_by_the_columns_that_name_a_row() -> None:
    ids = list(range(2_000))
    random.Random(3).shuffle(ids)
    table = pa.table({"root": [number % 7 for number in ids], "id": ids})
    found = sorted_batches(pa.RecordBatchReader.from_stream(table), ["root"], unique=["id", "absent"]).read_all()
    assert found.to_pylist() == sorted(table.to_pylist(), key=lambda row: (row["root"], row["id"]))
