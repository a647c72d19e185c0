from __future__ import annotations

import json
import os
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema, write_deltalake
from deltalake.transaction import AddAction, create_table_with_add_actions

from feature_registry.errors import Conflict, Invalid, NotFound
from feature_registry.formats import Inspected, WriteOptions
from feature_registry.formats.delta import TableFormat
from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(Location(tmp_path), Settings(home=tmp_path / "home"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "t"


def inspected(store: Store, folder: Path, snapshot: str | None = None) -> Inspected:
    return TableFormat().inspect(store, Location(folder), snapshot)


def commit(table: Path, number: int) -> Path:
    return table / f"_delta_log/{number:020}.json"


def test_is_pinned_to_a_snapshot(store: Store, table: Path) -> None:
    for number in range(3):
        write_deltalake(table, pa.table({"id": [number]}), mode="append")
    first, last = inspected(store, table, "0").inspection, inspected(store, table).inspection
    assert (first.snapshot, first.rows, last.snapshot, last.rows) == ("0", 1, "2", 3)
    assert first.fingerprint != last.fingerprint
    assert TableFormat().scan(store, first).collect()["id"].to_list() == [0]
    assert sorted(TableFormat().scan(store, last).collect()["id"]) == [0, 1, 2]


def test_overwritten_rows_stay_readable(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"id": [1]}))
    write_deltalake(table, pa.table({"id": [2]}), mode="overwrite")
    assert TableFormat().scan(store, inspected(store, table, "0").inspection).collect()["id"].to_list() == [1]
    assert TableFormat().scan(store, inspected(store, table).inspection).collect()["id"].to_list() == [2]


def test_evolved_schemas(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"id": [1]}))
    write_deltalake(table, pa.table({"id": [2], "x": ["a"]}), mode="append", schema_mode="merge")
    found = inspected(store, table)
    assert sorted(TableFormat().scan(store, found.inspection).collect().rows()) == [(1, None), (2, "a")]


@pytest.mark.parametrize("snapshot", ["3", "999999"])
def test_a_snapshot_that_does_not_exist(store: Store, table: Path, snapshot: str) -> None:
    for number in range(3):
        write_deltalake(table, pa.table({"id": [number]}), mode="append")
    with pytest.raises(NotFound) as caught:
        inspected(store, table, snapshot)
    assert (caught.value.field, caught.value.expected) == ("snapshot", "0 to 2")


@pytest.mark.parametrize("snapshot", ["", "-1", "x", "1.0", "latest"])
def test_a_snapshot_that_is_none(store: Store, table: Path, snapshot: str) -> None:
    write_deltalake(table, pa.table({"id": [1]}))
    with pytest.raises(Invalid):
        inspected(store, table, snapshot)


def test_a_hole_in_the_log(store: Store, table: Path) -> None:
    for number in range(5):
        write_deltalake(table, pa.table({"id": [number]}), mode="append")
    commit(table, 2).unlink()
    with pytest.raises(Invalid, match=r"lacks the entries \[2\]"):
        inspected(store, table)
    commit(table, 0).unlink()
    with pytest.raises(Invalid):
        inspected(store, table)


def test_a_broken_log(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"id": [1]}))
    commit(table, 0).write_text("{ broken")
    with pytest.raises(Invalid) as caught:
        inspected(store, table)
    assert caught.value.field == "location"


def test_a_log_after_its_checkpoint(store: Store, table: Path) -> None:
    for number in range(4):
        write_deltalake(table, pa.table({"id": [number]}), mode="append")
    DeltaTable(table).create_checkpoint()
    for number in range(3):
        commit(table, number).unlink()
    assert inspected(store, table).inspection.rows == 4
    with pytest.raises(NotFound, match="no longer"):
        inspected(store, table, "1")


def test_time_stamps_are_widened(store: Store, table: Path) -> None:
    at = datetime(2024, 1, 1, 0, 0, 0, 123999, UTC)
    early = datetime(1960, 1, 1, 0, 0, 0, 1, UTC)
    write_deltalake(table, pa.table({"at": pa.array([at, early], pa.timestamp("us", "UTC"))}))
    row = inspected(store, table).manifest.to_pylist()[0]
    assert row["min.at"] <= early
    assert row["max.at"] >= at
    assert (row["max.at"] - at).total_seconds() < 0.002


def test_floats_have_no_statistics(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"x": [1.0, float("nan")], "id": [1, 2]}))
    names = inspected(store, table).manifest.column_names
    assert "min.x" not in names
    assert "min.id" in names


def test_statistics_of_fields_are_not_those_of_columns(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"s": [{"x": 1}], "s.x": [99]}))
    row = inspected(store, table).manifest.to_pylist()[0]
    assert row["min.s.x"] == 99


def test_partitions(store: Store, table: Path) -> None:
    texts = ["a b", "a%20b", "x/y", "ä中", "a=b", "01", "", None]
    data = pa.table({"text": texts, "day": [date(2024, 1, 1)] * 8, "id": range(8)})
    write_deltalake(table, data, partition_by=["text", "day"])
    found = inspected(store, table)
    assert found.inspection.partition_columns == ("text", "day")
    assert set(found.manifest["partition.day"].to_pylist()) == {"2024-01-01"}
    assert set(found.manifest["partition.text"].to_pylist()) == set(texts) - {""}  # to Delta an empty text is null
    for path in found.manifest["path"].to_pylist():
        assert Path(Location(table).joined(path).key).is_file()
    frame = TableFormat().scan(store, found.inspection).collect()
    assert set(frame["text"]) == set(texts) - {""}
    assert dict(frame.schema) == {"text": pl.String, "day": pl.Date, "id": pl.Int64}


def test_partitions_that_folders_do_not_say(store: Store, table: Path) -> None:
    instant = datetime(2024, 1, 1, 1, 2, 3, 4, UTC)
    rows = pl.DataFrame({"id": [1]})
    table.mkdir()
    for name in ("a.parquet", "b.parquet"):
        rows.write_parquet(table / name)
    schema = pa.schema([("id", pa.int64()), ("p", pa.string()), ("at", pa.timestamp("us", "UTC"))])
    said = {"at": "2024-01-01 01:02:03.000004"}
    size = (table / "a.parquet").stat().st_size
    actions = [
        AddAction("a.parquet", size, {"p": "x y", **said}, 0, True, "{}"),
        AddAction("b.parquet", size, {"p": None, **said}, 0, True, "{}"),
    ]
    create_table_with_add_actions(str(table), Schema.from_arrow(schema), actions, partition_by=["p", "at"])
    found = inspected(store, table)
    assert found.inspection.rows is None
    frame = TableFormat().scan(store, found.inspection).collect()
    assert frame.rows() == [(1, "x y", instant), (1, None, instant)]


def test_vectors_of_others_are_seen_as_they_are_stored(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"v": pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), "l": [[1]]}))
    found = inspected(store, table)
    assert [field.type for field in found.inspection.fields] == [
        "fixed_size_list<element: float>[2]",
        "list<element: int64>",
    ]
    frame = TableFormat().scan(store, found.inspection).collect()
    assert dict(frame.schema) == {"v": pl.Array(pl.Float32, 2), "l": pl.List(pl.Int64)}


def test_column_mapping_is_refused(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"id": [1]}))
    lines = [json.loads(line) for line in commit(table, 0).read_text().splitlines()]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["configuration"] = {
                "delta.columnMapping.mode": "name",
                "delta.columnMapping.maxColumnId": "1",
            }
            schema = json.loads(line["metaData"]["schemaString"])
            schema["fields"][0]["metadata"] = {
                "delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1",
            }  # fmt: skip
            line["metaData"]["schemaString"] = json.dumps(schema)
        if "protocol" in line:
            line["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}
    commit(table, 0).write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(Invalid, match="maps its columns"):
        inspected(store, table)


def test_deletion_vectors_are_refused(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"id": range(50)}))
    lines = [json.loads(line) for line in commit(table, 0).read_text().splitlines()]
    for line in lines:
        if "protocol" in line:
            features = ["deletionVectors"]
            line["protocol"] = {
                "minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features,
            }  # fmt: skip
    commit(table, 0).write_text("\n".join(map(json.dumps, lines)))
    assert inspected(store, table).inspection.rows == 50  # the feature alone deletes nothing
    vector = {  # the protocol's own example: an inline bitmap
        "storageType": "i",
        "pathOrInlineDv": "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L",
        "sizeInBytes": 40,
        "cardinality": 6,
    }
    for line in lines:
        if "add" in line:
            line["add"]["deletionVector"] = vector
    commit(table, 0).write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(Invalid, match="deletion vectors"):
        inspected(store, table)


def test_files_elsewhere_are_refused(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"id": [1]}))
    text = commit(table, 0).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["path"] = "file:///elsewhere/x.parquet"
    commit(table, 0).write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(Invalid, match="lies outside"):
        inspected(store, table)


def test_a_folder_that_deltalake_would_mistake(store: Store, tmp_path: Path) -> None:
    write_deltalake(tmp_path / "a b", pa.table({"id": [1]}))
    (tmp_path / "a%20b").mkdir()
    for act in (
        lambda place: TableFormat().inspect(store, place),
        lambda place: TableFormat().write(store, place, pa.table({"id": [1]}).to_reader(), WriteOptions()),
    ):
        with pytest.raises(Invalid, match="percent"):
            act(Location(tmp_path / "a%20b"))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (pa.array([1, 2**63], pa.uint64()), 2**63),
        (pa.array([2**64 - 1, None], pa.uint64()), 2**64 - 1),
        (pa.array([1], pa.timestamp("ns")), None),
    ],
)
def test_values_that_do_not_fit_are_refused(store: Store, table: Path, values: pa.Array, shown: Any) -> None:
    first = pa.record_batch({"id": pa.array([1, 2]), "x": pa.array([0, 0], values.type)})
    second = pa.record_batch({"id": pa.array(range(len(values))), "x": values})
    reader = pa.RecordBatchReader.from_batches(first.schema, [first, second])
    with pytest.raises(Invalid) as caught:
        TableFormat().write(store, Location(table), reader, WriteOptions(rows_per_group=1))
    assert caught.value.field == "x"
    assert shown is None or caught.value.value == shown
    assert list(store.list(Location(table))) == []


@pytest.mark.parametrize(
    "kind",
    [
        pa.null(), pa.time64("us"), pa.duration("us"), pa.decimal256(50, 2), pa.list_(pa.uint64()),
        pa.struct([("a", pa.uint8())]), pa.list_(pa.timestamp("ns")), pa.list_(pa.list_(pa.float32(), 2)),
    ],
    ids=str,
)  # fmt: skip
def test_types_that_delta_lacks_are_refused_by_name(store: Store, table: Path, kind: pa.DataType) -> None:
    empty = pa.schema([("id", pa.int64()), ("odd", kind)]).empty_table()
    with pytest.raises(Invalid) as caught:
        TableFormat().write(store, Location(table), empty.to_reader(), WriteOptions())
    assert caught.value.value == "odd"
    assert list(store.list(Location(table))) == []


def test_logical_types_are_said(store: Store, table: Path) -> None:
    data = pa.table({"u": pa.array([1], pa.uint64()), "i": [1], "at": pa.array([1000], pa.timestamp("ns", "UTC"))})
    written = TableFormat().write(store, Location(table), data.to_reader(), WriteOptions())
    assert written.snapshot == "0"
    assert written.logical_types == {"u": "uint64", "at": "timestamp[ns, tz=UTC]"}


def test_others_can_read_what_we_write(store: Store, table: Path) -> None:
    columns = {
        "id": [1, 2**60 + 1, None],
        "text": ["a", "é" * 500, None],
        "at": pa.array([datetime(2024, 1, 1, 0, 0, 0, 123456, UTC)] * 3, pa.timestamp("us", "UTC")),
        "here": pa.array([datetime(1960, 1, 1, 0, 0, 0, 123456)] * 3, pa.timestamp("us")),
        "x": [1.0, float("nan"), None],
        "v": pa.array([[1.0, 2.0]] * 3, pa.list_(pa.float32(), 2)),
        "day": [date(2024, 1, 1)] * 3,
        "part": ["p q", "r%s", None],
    }
    options = WriteOptions(partition_by=("part",), metadata={"made": "by us"})
    TableFormat().write(store, Location(table), pa.table(columns).to_reader(), options)
    frame = pl.scan_delta(str(table)).collect()
    assert set(frame["part"]) == {"p q", "r%s", None}
    assert sorted(frame["id"].drop_nulls()) == [1, 2**60 + 1]
    theirs = DeltaTable(table)
    assert theirs.history()[0]["made"] == "by us"
    assert pl.scan_delta(str(table)).filter(pl.col("id") == 2**60 + 1).collect()["text"].to_list() == ["é" * 500]
    assert len(pl.scan_delta(str(table)).filter(pl.col("here") == datetime(1960, 1, 1, 0, 0, 0, 123456)).collect()) == 3
    write_deltalake(table, pl.scan_delta(str(table)).collect().to_arrow(), mode="append")
    assert inspected(store, table).inspection.rows == 6


def test_of_two_writers_one_wins(store: Store, table: Path) -> None:
    other = pa.table({"id": [7]})

    def batches() -> Any:
        yield pa.record_batch({"id": [1]})
        write_deltalake(table, other)

    reader = pa.RecordBatchReader.from_batches(other.schema, batches())
    with pytest.raises(Conflict):
        TableFormat().write(store, Location(table), reader, WriteOptions())
    found = inspected(store, table)
    assert TableFormat().scan(store, found.inspection).collect()["id"].to_list() == [7]
    assert len([seen for seen in store.list(Location(table)) if seen.location.name.endswith(".parquet")]) == 1


def test_ten_thousand_files_in_little_more_than_their_log_takes(store: Store, table: Path) -> None:
    names = [f"c{number}" for number in range(10)]
    schema = pa.schema([(name, pa.int64()) for name in names])
    actions = [
        AddAction(
            f"part-{number:05}.parquet", 1000, {}, 0, True,
            json.dumps({"numRecords": 10, **dict.fromkeys(("minValues", "maxValues"), dict.fromkeys(names, number))}),
        )
        for number in range(10_000)
    ]  # fmt: skip
    create_table_with_add_actions(str(table), Schema.from_arrow(schema), actions)
    for action in actions:
        (table / action.path).write_bytes(bytes(action.size))

    def best(act: Any) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            act()
            times.append(time.perf_counter() - start)
        return min(times)

    log = best(lambda: pa.table(DeltaTable(table).get_add_actions(flatten=False)))
    ours = best(lambda: inspected(store, table))
    assert ours < 3 * log + 0.05
    found = inspected(store, table)
    assert (found.inspection.rows, found.inspection.bytes, found.inspection.files) == (100_000, 10_000_000, 10_000)


def test_a_file_whose_name_is_no_text_is_none_of_the_table(store: Store, table: Path) -> None:
    write_deltalake(table, pa.table({"id": [1]}))
    try:
        Path(os.fsdecode(os.fsencode(table) + b"/\xff")).touch()
    except OSError:
        pytest.skip("the file system refuses such names")
    assert inspected(store, table).manifest["etag"].null_count == 0


def test_a_file_of_another_size_is_not_what_the_log_says(store: Store, table: Path) -> None:
    for number in range(3):
        write_deltalake(table, pa.table({"id": [number]}), mode="append")
    wrong = sorted(table.glob("*.parquet"))[1]
    wrong.write_bytes(b"short")
    with pytest.raises(Invalid) as raised:
        inspected(store, table)
    assert (raised.value.message, raised.value.value) == ("has 5 bytes", str(Location(wrong)))
    assert str(raised.value.expected).endswith("bytes, as the table's log says")
