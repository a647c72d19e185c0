from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from feature_registry.errors import Invalid, NotFound
from feature_registry.formats import Inspected, WriteOptions
from feature_registry.formats.parquet import TableFormat
from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(Location(tmp_path), Settings(home=tmp_path / "home"))


def put(path: Path, columns: dict[str, Any] | pa.Table, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)


def inspected(store: Store, folder: Path) -> Inspected:
    return TableFormat().inspect(store, Location(folder))


def test_one_file_is_a_table(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "year=1/some.data", {"id": [1, 2]})
    location = Location(tmp_path / "year=1/some.data")
    assert TableFormat().sniff(store, location)
    found = inspected(store, tmp_path / "year=1/some.data")
    assert found.manifest["path"].to_pylist() == [""]
    assert location.joined("") == location
    assert found.inspection.partition_columns == ()
    assert TableFormat().scan(store, found.inspection).collect()["id"].to_list() == [1, 2]


def test_hidden_and_other_files_are_no_part(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a/b.parquet", {"id": [1]})
    put(tmp_path / "t/c.PQ", {"id": [2]})
    for name in ("_temporary/x.parquet", ".x.parquet", "_x.parquet", "a/.hidden/x.parquet"):
        put(tmp_path / "t" / name, {"other": ["x"]})
    (tmp_path / "t/README.md").write_text("read me")
    (tmp_path / "t/_SUCCESS").touch()
    found = inspected(store, tmp_path / "t")
    assert found.manifest["path"].to_pylist() == ["a/b.parquet", "c.PQ"]
    assert sorted(TableFormat().scan(store, found.inspection).collect()["id"]) == [1, 2]


def test_sniffs_by_content(store: Store, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/x.parquet").write_bytes(b"no such thing")
    assert not TableFormat().sniff(store, Location(tmp_path / "t"))
    assert not TableFormat().sniff(store, Location(tmp_path / "t/x.parquet"))
    put(tmp_path / "d/x.parquet", {"id": [1]})
    (tmp_path / "d/_delta_log").mkdir()
    (tmp_path / "d/_delta_log/0.json").touch()
    assert not TableFormat().sniff(store, Location(tmp_path / "d"))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_a_broken_file_is_named(store: Store, tmp_path: Path, content: bytes) -> None:
    put(tmp_path / "t/a.parquet", {"id": [1]})
    (tmp_path / "t/b c.parquet").write_bytes(content)
    with pytest.raises(Invalid) as caught:
        inspected(store, tmp_path / "t")
    assert caught.value.value == str(Location(tmp_path / "t/b c.parquet"))


def test_schemas_that_differ_are_refused_by_file_and_column(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a.parquet", {"id": [1], "x": [1.5]})
    put(tmp_path / "t/b.parquet", {"id": [1], "x": ["text"]})
    with pytest.raises(Invalid, match="'x'") as caught:
        inspected(store, tmp_path / "t")
    assert (caught.value.field, caught.value.value) == ("file", "b.parquet")


def test_columns_that_older_files_lack_are_null(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a.parquet", {"id": [1]})
    put(tmp_path / "t/b.parquet", {"x": [5], "id": [2]})
    found = inspected(store, tmp_path / "t")
    assert [(field.name, field.type) for field in found.inspection.fields] == [("id", "int64"), ("x", "int64")]
    assert TableFormat().scan(store, found.inspection).collect().to_dict(as_series=False) == {
        "id": [1, 2],
        "x": [None, 5],
    }
    assert found.manifest["nulls.x"].to_pylist() == [1, 0]
    assert found.manifest["min.x"].to_pylist() == [None, 5]


def test_encodings_of_strings_do_not_differ(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a.parquet", {"x": pa.array(["a"]).dictionary_encode()})
    put(tmp_path / "t/b.parquet", {"x": pa.array(["b"], pa.large_string())})
    put(tmp_path / "t/c.parquet", {"x": pa.array(["c"])})
    found = inspected(store, tmp_path / "t")
    assert found.inspection.fields[0].type == "string"
    assert TableFormat().scan(store, found.inspection).collect()["x"].to_list() == ["a", "b", "c"]


def test_hive_folders_of_others(store: Store, tmp_path: Path) -> None:
    for folder in ("p=a%20b/n=1", "p=a%2Fb/n=-2", "p=__HIVE_DEFAULT_PARTITION__/n=3", "p=plain text/n=4"):
        put(tmp_path / "t" / folder / "x.parquet", {"id": [1]})
    found = inspected(store, tmp_path / "t")
    assert found.inspection.partition_columns == ("p", "n")
    assert [(f.name, f.type) for f in found.inspection.fields] == [("id", "int64"), ("p", "string"), ("n", "int64")]
    texts = (found.manifest[f"partition.{name}"].to_pylist() for name in ("p", "n"))
    assert dict(zip(*texts, strict=True)) == {
        "a b": "1", "a/b": "-2", None: "3", "plain text": "4",
    }  # fmt: skip
    frame = TableFormat().scan(store, found.inspection).collect()
    assert set(frame.select("p", "n").rows()) == {("a b", 1), ("a/b", -2), (None, 3), ("plain text", 4)}


@pytest.mark.parametrize("text", ["01", "1.0", "+1", " 1", "1e3", "9223372036854775808", "", "x"])
def test_what_is_no_canonical_integer_stays_a_string(store: Store, tmp_path: Path, text: str) -> None:
    put(tmp_path / "t/p=1/x.parquet", {"id": [1]})
    put(tmp_path / f"t/p={text}/x.parquet", {"id": [1]})
    found = inspected(store, tmp_path / "t")
    assert found.inspection.fields[1].type == "string"
    assert set(TableFormat().scan(store, found.inspection).collect()["p"]) == {"1", text}


def test_partition_columns_that_files_hold_too(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/p=1/x.parquet", {"p": [1], "id": [5]})
    put(tmp_path / "t/p=2/x.parquet", {"p": [2], "id": [6]})
    found = inspected(store, tmp_path / "t")
    assert [field.name for field in found.inspection.fields] == ["id", "p"]
    assert TableFormat().scan(store, found.inspection).collect().rows() == [(5, 1), (6, 2)]


def test_uneven_partitions_are_refused(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/p=1/x.parquet", {"id": [5]})
    put(tmp_path / "t/x.parquet", {"id": [6]})
    with pytest.raises(Invalid, match="partition columns"):
        inspected(store, tmp_path / "t")


def test_statistics_span_row_groups(store: Store, tmp_path: Path) -> None:
    columns = {
        "id": [3, 1, None, None, 2**60 + 1, None],
        "u": pa.array([2**64 - 1, 0, 1, 2, 3, None], pa.uint64()),
        "x": [1.0, float("nan"), 3.0, 4.0, 5.0, 6.0],
        "at": pa.array([datetime(2024, 1, 1, 0, 0, 0, 123456, UTC)] * 6, pa.timestamp("us", "Asia/Tokyo")),
        "ns": pa.array([1_234_567_891, -1, None, None, None, None], pa.timestamp("ns")),
        "text": ["b", "ä", "a", None, None, None],
    }
    put(tmp_path / "t/a.parquet", columns, row_group_size=2)
    manifest = inspected(store, tmp_path / "t").manifest
    row = manifest.drop_columns(["min.ns", "max.ns"]).to_pylist()[0]
    assert (row["min.id"], row["max.id"], row["nulls.id"]) == (1, 2**60 + 1, 3)
    assert (row["min.u"], row["max.u"], row["nulls.u"]) == (0, 2**64 - 1, 1)
    assert (row["min.text"], row["max.text"], row["nulls.text"]) == ("a", "ä", 3)
    assert row["min.at"] == row["max.at"] == datetime(2024, 1, 1, 0, 0, 0, 123456, UTC)
    assert "min.x" not in row
    assert manifest["min.ns"].cast(pa.int64()).to_pylist() == [-1]
    assert manifest["max.ns"].cast(pa.int64()).to_pylist() == [1_234_567_891]


def test_missing_statistics_are_null(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a.parquet", {"id": [1], "all_null": pa.nulls(1, pa.int64())})
    put(tmp_path / "t/b.parquet", {"id": [2], "all_null": [7]}, write_statistics=False)
    row = inspected(store, tmp_path / "t").manifest.to_pydict()
    assert row["min.id"] == [1, None]
    assert row["nulls.id"] == [0, None]
    assert row["nulls.all_null"] == [1, None]
    assert row["min.all_null"] == [None, None]


def test_names_with_dots_are_not_taken_for_fields(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a.parquet", {"a.b": [1], "a": [{"b": 99}]})
    found = inspected(store, tmp_path / "t")
    assert "min.a.b" not in found.manifest.column_names
    assert [field.name for field in found.inspection.fields] == ["a.b", "a"]


def test_pandas_metadata_is_left_out(store: Store, tmp_path: Path) -> None:
    schema = pa.schema([("id", pa.int64())], metadata={"pandas": "{}", "mine": "kept"})
    put(tmp_path / "t/a.parquet", pa.table({"id": [1]}).replace_schema_metadata(schema.metadata))
    found = pa.ipc.open_stream(__import__("base64").b64decode(inspected(store, tmp_path / "t").inspection.arrow_schema))
    assert found.schema.metadata == {b"mine": b"kept"}


def test_fingerprint_follows_every_file(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a.parquet", {"id": [1]})
    before = inspected(store, tmp_path / "t").inspection.fingerprint
    put(tmp_path / "t/a.parquet", {"id": [2]})
    after = inspected(store, tmp_path / "t").inspection.fingerprint
    put(tmp_path / "t/b.parquet", {"id": [2]})
    assert len({before, after, inspected(store, tmp_path / "t").inspection.fingerprint}) == 3


def test_snapshots_are_refused(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a.parquet", {"id": [1]})
    with pytest.raises(Invalid):
        TableFormat().inspect(store, Location(tmp_path / "t"), "3")


def test_a_dead_writers_folder_is_refused(store: Store, tmp_path: Path) -> None:
    put(tmp_path / "t/a.parquet", {"id": [1]})
    (tmp_path / "t/_unfinished").touch()
    with pytest.raises(Invalid, match="not finished"):
        inspected(store, tmp_path / "t")


def test_many_partitions_share_the_memory(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_registry.formats._sorting.MEMORY", 1000)
    table = pa.table({"part": list(range(40)) * 5, "id": list(range(200))})
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=17))
    location = Location(tmp_path / "t")
    TableFormat().write(store, location, reader, WriteOptions(partition_by=("part",)))
    found = TableFormat().inspect(store, location)
    assert sorted(found.manifest["partition.part"].to_pylist()) == sorted(map(str, range(40)))  # a file each
    frame = TableFormat().scan(store, found.inspection).collect()
    assert_frame_equal(frame.select("part", "id"), pl.DataFrame(pl.from_arrow(table)), check_row_order=False)


def test_files_are_zstd(store: Store, tmp_path: Path) -> None:
    table = pa.table({"id": [1], "text": ["a"]})
    TableFormat().write(store, Location(tmp_path / "t"), table.to_reader(), WriteOptions())
    group = pq.read_metadata(tmp_path / "t/part-00000.parquet").row_group(0)
    assert [group.column(i).compression for i in range(2)] == ["ZSTD", "ZSTD"]
    assert group.column(0).statistics.has_min_max


def test_types_that_parquet_lacks_are_refused_by_name(store: Store, tmp_path: Path) -> None:
    odd = pa.schema([("id", pa.int64()), ("odd", pa.month_day_nano_interval())]).empty_table()
    with pytest.raises(Invalid) as caught:
        TableFormat().write(store, Location(tmp_path / "t"), odd.to_reader(), WriteOptions())
    assert caught.value.value == "odd"
    assert list(store.list(Location(tmp_path / "t"))) == []


def test_an_empty_folder_is_not_found(store: Store, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with pytest.raises(NotFound):
        inspected(store, tmp_path / "t")
