"""What every format must do. `TestFormat` runs over all of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from feature_registry import formats
from feature_registry.errors import Conflict, Invalid, NotFound
from feature_registry.formats import Format, WriteOptions, names, stored_schema
from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage import Store, open_store

FINE = datetime(2024, 1, 1, 0, 0, 0, 123456)
MANY_TYPES = pa.table(
    {
        "id": pa.array([1, 2**53 + 1, -(2**63), 2**63 - 1], pa.int64()),
        "unsigned": pa.array([0, 2**53 + 1, None, 2**63 - 1], pa.uint64()),
        "u8": pa.array([0, 255, None, 1], pa.uint8()),
        "u16": pa.array([0, 65535, None, 1], pa.uint16()),
        "u32": pa.array([0, 2**32 - 1, None, 1], pa.uint32()),
        "i8": pa.array([-128, 127, None, 1], pa.int8()),
        "f32": pa.array([1.5, math.nan, None, -math.inf], pa.float32()),
        "f64": pa.array([1e300, math.nan, None, -0.0]),
        "f16": pa.array(np.array([1.5, 2, 3, 65504], np.float16)),
        "yes": [True, False, None, True],
        "text": ["ä中🧠", "", None, "a" * 1000],
        "category": pa.array(["x", "y", None, "x"]),
        "bytes": [b"\xff\x00", b"", None, b"x"],
        "money": pa.array([Decimal("1.23"), Decimal(f"-{'9' * 36}.99"), None, 0], pa.decimal128(38, 2)),
        "day": pa.array([date(1900, 1, 1), date(2024, 2, 29), None, date(9999, 12, 31)]),
        "instant": pa.array([FINE, datetime(1969, 1, 1), None, datetime(2024, 1, 2)], pa.timestamp("us", "UTC")),
        "local": pa.array([FINE] * 3 + [None], pa.timestamp("us")),
        "in_zone": pa.array([FINE] * 3 + [None], pa.timestamp("us", "America/New_York")),
        "millis": pa.array([1, -1, None, 0], pa.timestamp("ms", "UTC")),
        "nanos": pa.array([1000, -1000, None, 0], pa.timestamp("ns")),
        "vector": pa.array([[1.0, 2.0], [3.0, math.nan], None, [5.0, 6.0]], pa.list_(pa.float32(), 2)),
        "points": pa.array([[1, 2], [], None, [3, None]], pa.list_(pa.int32())),
        "struct": pa.array([{"x": 1, "y": "a"}, {"x": None, "y": "b"}, {"x": 3, "y": None}, {"x": 4, "y": "d"}]),
    }
)  # fmt: skip


@pytest.fixture(params=names())
def table_format(request: pytest.FixtureRequest) -> Format:
    return formats.get(request.param)


@pytest.fixture
def location(tmp_path: Path) -> Location:
    return Location(tmp_path / "table")


@pytest.fixture
def store(location: Location, tmp_path: Path) -> Store:
    return open_store(location, Settings(home=tmp_path / "home"))


def reader(table: pa.Table, rows: int = 1000) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=rows))


def round_trip(
    table_format: Format, store: Store, location: Location, table: pa.Table, options: WriteOptions | None = None
) -> pl.DataFrame:
    written = table_format.write(store, location, reader(table), options or WriteOptions())
    inspection = table_format.inspect(store, location, written.snapshot).inspection
    inspection = inspection.model_copy(update={"logical_types": written.logical_types})
    return table_format.scan(store, inspection).collect()


class TestFormat:
    @pytest.mark.row("M4")
    def test_rows_and_types_come_back(self, table_format: Format, store: Store, location: Location) -> None:
        back = round_trip(table_format, store, location, MANY_TYPES)
        assert_frame_equal(back, pl.DataFrame(pl.from_arrow(MANY_TYPES)), check_row_order=True)
        assert back["unsigned"].to_list() == [0, 2**53 + 1, None, 2**63 - 1]

    def test_inspection(self, table_format: Format, store: Store, location: Location) -> None:
        written = table_format.write(store, location, reader(MANY_TYPES), WriteOptions())
        inspection, manifest = (found := table_format.inspect(store, location)).inspection, found.manifest
        assert (inspection.location, inspection.format, inspection.snapshot) == (
            location,
            table_format.name,
            written.snapshot,
        )
        assert (inspection.rows, inspection.files) == (4, 1)
        assert inspection.bytes == manifest["size"][0].as_py() > 0
        assert [field.name for field in inspection.fields] == MANY_TYPES.column_names
        schema = stored_schema(inspection)
        assert [(field.name, field.type) for field in inspection.fields] == [(f.name, str(f.type)) for f in schema]
        assert store.head(location.joined(manifest["path"][0].as_py())).size == inspection.bytes

    def test_statistics(self, table_format: Format, store: Store, location: Location) -> None:
        table_format.write(store, location, reader(MANY_TYPES), WriteOptions())
        manifest = table_format.inspect(store, location).manifest
        row = manifest.to_pylist()[0]
        assert (row["min.id"], row["max.id"], row["nulls.id"]) == (-(2**63), 2**63 - 1, 0)
        assert (row["min.unsigned"], row["max.unsigned"], row["nulls.unsigned"]) == (0, 2**63 - 1, 1)
        assert row["min.instant"] <= datetime(1969, 1, 1, tzinfo=UTC)
        assert row["max.instant"] >= datetime(2024, 1, 2, tzinfo=UTC)
        assert row["max.local"] >= datetime(2024, 1, 1, 0, 0, 0, 123456)
        assert row.get("min.f64") is None
        assert manifest.schema.field("min.id").type == pa.int64()
        assert pa.types.is_timestamp(manifest.schema.field("min.instant").type)

    def test_empty_table(self, table_format: Format, store: Store, location: Location) -> None:
        empty = MANY_TYPES.schema.empty_table()
        back = round_trip(table_format, store, location, empty)
        assert_frame_equal(back, pl.DataFrame(pl.from_arrow(empty)))
        assert table_format.inspect(store, location).inspection.rows == 0

    def test_files_and_row_groups(self, table_format: Format, store: Store, location: Location) -> None:
        table = pa.table({"id": np.arange(10_000)})
        back = round_trip(table_format, store, location, table, WriteOptions(bytes_per_file=1, rows_per_group=3_000))
        assert back["id"].to_list() == list(range(10_000))
        manifest = table_format.inspect(store, location).manifest
        assert manifest["rows"].to_pylist() == [3000, 3000, 3000, 1000]
        assert manifest["min.id"].to_pylist() == [0, 3000, 6000, 9000]
        assert manifest["max.id"].to_pylist() == [2999, 5999, 8999, 9999]
        assert manifest["path"].to_pylist() == sorted(manifest["path"].to_pylist())

    def test_sorts(self, table_format: Format, store: Store, location: Location) -> None:
        random = np.random.default_rng(0)
        table = pa.table({"a": random.integers(0, 50, 5_000), "b": random.random(5_000), "row": np.arange(5_000)})
        options = WriteOptions(sort_by=("a", "b"), bytes_per_file=1, rows_per_group=1_000)
        back = round_trip(table_format, store, location, table, options)
        assert_frame_equal(back, pl.DataFrame(pl.from_arrow(table)).sort("a", "b"))
        manifest = table_format.inspect(store, location).manifest
        assert all(np.asarray(manifest["max.a"])[:-1] <= np.asarray(manifest["min.a"])[1:])

    def test_sorts_along_a_curve(self, table_format: Format, store: Store, location: Location) -> None:
        axes = np.unravel_index(np.random.default_rng(0).permutation(4096), (16, 16, 16))
        table = pa.table({"x": axes[0], "y": axes[1], "z": axes[2], "row": np.arange(4096)})
        options = WriteOptions(sort_by=("x", "y", "z"), curve="morton", bytes_per_file=1, rows_per_group=512)
        back = round_trip(table_format, store, location, table, options)
        assert_frame_equal(back.sort("row"), pl.DataFrame(pl.from_arrow(table)))
        manifest = table_format.inspect(store, location).manifest
        for axis in "xyz":  # an eighth of the rows is an eighth of the place
            assert np.subtract(manifest[f"max.{axis}"], manifest[f"min.{axis}"]).tolist() == [7] * 8

    def test_partitions(self, table_format: Format, store: Store, location: Location) -> None:
        texts = ["a b", "a%20b", "x/y", "ä中", "a=b", "1", "'", None]
        table = pa.table({"text": texts * 2, "number": [1, 2] * 8, "id": np.arange(16)})
        back = round_trip(table_format, store, location, table, WriteOptions(partition_by=("text", "number")))
        assert_frame_equal(back.select(table.column_names), pl.DataFrame(pl.from_arrow(table)), check_row_order=False)
        found = table_format.inspect(store, location)
        assert found.inspection.partition_columns == ("text", "number")
        assert set(found.manifest["partition.text"].to_pylist()) == set(texts)
        assert set(found.manifest["partition.number"].to_pylist()) == {"1", "2"}

    @pytest.mark.parametrize(
        "values",
        [
            pa.array(["1", "2", None]),
            pa.array(["01", "1", "2"]),
            pa.array([-1, 2**63 - 1, -(2**63)]),
            pa.array([1, 2, None], pa.int32()),
            pa.array([1, 2, 255], pa.uint8()),
            pa.array([1, 2, 2**63 - 1], pa.uint64()),
            pa.array([None, None, None], pa.string()),
            pa.array([None, None, None], pa.int64()),
        ],
        ids=lambda values: f"{values.type} {values.to_pylist()}",
    )
    def test_partition_types_come_back(
        self, table_format: Format, store: Store, location: Location, values: pa.Array
    ) -> None:
        table = pa.table({"id": [1, 2, 3], "part": values})
        back = round_trip(table_format, store, location, table, WriteOptions(partition_by=("part",)))
        assert_frame_equal(back, pl.DataFrame(pl.from_arrow(table)), check_row_order=False)

    @pytest.mark.parametrize("values", [[True, False, None], [date(2024, 1, 1), date(1900, 1, 1), None]])
    def test_other_partition_types_come_back_or_are_refused(
        self, table_format: Format, store: Store, location: Location, values: list[Any]
    ) -> None:
        table = pa.table({"id": [1, 2, 3], "part": values})
        try:
            back = round_trip(table_format, store, location, table, WriteOptions(partition_by=("part",)))
        except Invalid as refused:
            assert (refused.field, refused.value) == ("partition_by", "part")
            assert list(store.list(location)) == []
        else:
            assert_frame_equal(back, pl.DataFrame(pl.from_arrow(table)), check_row_order=False)

    def test_empty_partitioned_table(self, table_format: Format, store: Store, location: Location) -> None:
        empty = pa.schema([("id", pa.int64()), ("part", pa.int32())]).empty_table()
        back = round_trip(table_format, store, location, empty, WriteOptions(partition_by=("part",)))
        assert_frame_equal(back, pl.DataFrame(pl.from_arrow(empty)))

    def test_below_folders_that_look_like_partitions(self, table_format: Format, store: Store, tmp_path: Path) -> None:
        table = pa.table({"id": [1, 2, 3], "part": ["x", "y", "z"]})
        for folder in ("a=1/t", "part=7/t", "id=9/t"):
            place = Location(tmp_path / folder)
            back = round_trip(table_format, store, place, table, WriteOptions(partition_by=("part",)))
            assert_frame_equal(back, pl.DataFrame(pl.from_arrow(table)), check_row_order=False)

    def test_a_folder_with_an_odd_name(self, table_format: Format, store: Store, tmp_path: Path) -> None:
        table = pa.table({"id": [1, 2, 3], "part": ["x", "y", "z"]})
        for folder in ("my data", "ä中", "a+b", "a#b", "a?b", "[x]*"):
            for partition_by in ((), ("part",)):
                place = Location(tmp_path / folder / str(len(partition_by)))
                back = round_trip(table_format, store, place, table, WriteOptions(partition_by=partition_by))
                assert_frame_equal(back, pl.DataFrame(pl.from_arrow(table)), check_row_order=False)

    @pytest.mark.parametrize("name", ["a b", "a.b", "ä", "a,b", "a;b", "a`b", 'a"b', "A"])
    def test_odd_column_names(self, table_format: Format, store: Store, location: Location, name: str) -> None:
        table = pa.table({name: [1, 2, 3]})
        assert_frame_equal(round_trip(table_format, store, location, table), pl.DataFrame(pl.from_arrow(table)))

    def test_pushes_filters_down(self, table_format: Format, store: Store, location: Location) -> None:
        table = pa.table({"id": np.arange(10), "other": np.arange(10)})
        written = table_format.write(store, location, reader(table), WriteOptions())
        frame = table_format.scan(store, table_format.inspect(store, location, written.snapshot).inspection)
        plan = frame.filter(pl.col("id") == 3).select("id").explain()
        assert "PROJECT 1/2" in plan
        assert "SELECTION" in plan

    @pytest.mark.row("M4")
    def test_sniffs_its_own(self, table_format: Format, store: Store, location: Location) -> None:
        assert not table_format.sniff(store, location)
        table_format.write(store, location, reader(pa.table({"id": [1]})), WriteOptions())
        assert table_format.sniff(store, location)
        assert formats.sniff(store, location).name == table_format.name
        others = [formats.get(name) for name in names() if name != table_format.name]
        assert not any(other.sniff(store, location) for other in others)

    def test_never_writes_over_a_table(self, table_format: Format, store: Store, location: Location) -> None:
        table = pa.table({"id": [1]})
        table_format.write(store, location, reader(table), WriteOptions())
        before = [(found.location, found.etag) for found in store.list(location)]
        with pytest.raises(Conflict):
            table_format.write(store, location, reader(table), WriteOptions())
        assert [(found.location, found.etag) for found in store.list(location)] == before

    def test_a_failed_write_leaves_nothing(self, table_format: Format, store: Store, location: Location) -> None:
        schema = pa.schema([("id", pa.int64())])

        def batches() -> Iterator[pa.RecordBatch]:
            yield pa.record_batch({"id": np.arange(1000)})
            with pytest.raises((NotFound, Invalid)):
                table_format.inspect(store, location)
            raise RuntimeError("the source broke")

        broken = pa.RecordBatchReader.from_batches(schema, batches())
        with pytest.raises(Exception, match="the source broke"):
            table_format.write(store, location, broken, WriteOptions(bytes_per_file=1, rows_per_group=100))
        assert list(store.list(location)) == []
        assert not table_format.sniff(store, location)

    def test_nothing_there(self, table_format: Format, store: Store, location: Location) -> None:
        with pytest.raises(NotFound):
            table_format.inspect(store, location)
        store.write(location.joined("notes.txt"), b"hello")
        assert not table_format.sniff(store, location)
        with pytest.raises(NotFound):
            table_format.inspect(store, location)

    def test_refuses_partitions_and_sorts_that_cannot_be(
        self, table_format: Format, store: Store, location: Location
    ) -> None:
        table = pa.table({"id": [1], "x": [1.5], "text": [""], "list": [[1]]})
        for options in (
            WriteOptions(partition_by=("nothing",)),
            WriteOptions(partition_by=("x",)),
            WriteOptions(partition_by=("text",)),
            WriteOptions(partition_by=("id", "x", "text", "list")),
            WriteOptions(sort_by=("nothing",)),
            WriteOptions(sort_by=("list",)),
        ):
            with pytest.raises(Invalid):
                table_format.write(store, location, reader(table), options)
            assert list(store.list(location)) == []

    def test_fingerprint_names_the_content(self, table_format: Format, store: Store, location: Location) -> None:
        table_format.write(store, location, reader(pa.table({"id": [1]})), WriteOptions())
        first = table_format.inspect(store, location).inspection
        assert table_format.inspect(store, location).inspection == first
        other = Location(str(location) + "2")
        table_format.write(store, other, reader(pa.table({"id": [1, 2, 3]})), WriteOptions())
        assert table_format.inspect(store, other).inspection.fingerprint != first.fingerprint

    def test_metadata_is_kept_with_the_data(self, table_format: Format, store: Store, location: Location) -> None:
        import pyarrow.parquet as pq

        table_format.write(store, location, reader(pa.table({"id": [1]})), WriteOptions(metadata={"made by": "ä"}))
        path = table_format.inspect(store, location).manifest["path"][0].as_py()
        assert pq.read_metadata(location.joined(path).key).metadata[b"made by"] == "ä".encode()
