from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from feature_registry.registry.validation import rows
from feature_registry_tests.registry.validation.conftest import Outside, check

BIG = 2**62
MANY = pl.DataFrame({"id": range(BIG, BIG + 1_000)})


def test_a_small_table_is_looked_at_whole(outside: Outside) -> None:
    found = check(outside.register(pl.concat([MANY, MANY.tail(1)]), key=["id"]), "key")
    assert (found.outcome, found.blocking) == ("warned", False)
    assert (found.details["rows"], found.details["duplicates"]) == (1_001, 1)
    assert found.details["examples"] == [str(BIG + 999)]


@pytest.mark.parametrize("files", [1, 7])
def test_of_a_large_table_a_sample_is_looked_at_and_says_so(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, files: int
) -> None:
    monkeypatch.setattr(rows, "ROWS_SAMPLED", 100)
    place = outside.folder / "many"
    place.mkdir()
    for part in range(files):
        MANY.slice(part * 1_000 // files, (part + 1) * 1_000 // files - part * 1_000 // files).write_parquet(
            place / f"{part}.parquet", row_group_size=64
        )
    found = check(outside.register(place, key=["id"]), "key")
    assert (found.outcome, found.message) == ("passed", "unique over 100 of 1,000 rows, a sample")
    assert found.details == {"rows": 100, "duplicates": 0, "nulls": 0, "of": 1_000}


@pytest.mark.parametrize("partition_by", [None, "part"])
def test_of_many_files_some_are_opened(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, partition_by: str | None
) -> None:
    monkeypatch.setattr(rows, "FILES_SAMPLED", 8)
    place = outside.folder / "many"
    for part in range(20):
        frame = MANY.slice(part * 10, 10).with_columns(part=pl.lit(part, pl.Int32))
        write_deltalake(place, frame.to_arrow(), mode="append", partition_by=partition_by)
    files = sorted(place.rglob("*.parquet"))
    opened = {number for start in (0, 6, 12, 18) for number in (start, start + 1)}
    for number in set(range(20)) - opened:
        files[number].write_bytes(bytes(files[number].stat().st_size))
    found = check(outside.register(place, key=["id", "part"]), "key")
    assert (found.outcome, found.message) == ("passed", "unique over 80 of 200 rows, a sample from 8 of 20 files")
    assert found.details["of"] == 200
    files[19].write_bytes(bytes(files[19].stat().st_size))
    found = check(outside.register(place, "other", key=["id", "part"]), "key")
    assert (found.outcome, "cannot be read" in found.message) == ("warned", True)


def test_a_sample_sees_the_end_of_the_table(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROWS_SAMPLED", 100)
    found = check(outside.register(pl.concat([MANY, MANY.tail(1)]), key=["id"]), "key")
    assert found.details["duplicates"] == 1


def test_the_whole_table_is_looked_at_where_the_policy_says_so(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ROWS_SAMPLED", 100)
    monkeypatch.setattr(rows, "ROWS_PER_PASS", 128)
    outside.open(key="whole")
    twice = pl.concat([MANY.head(500), MANY.slice(100, 1), MANY.tail(500)])
    found = check(outside.register(twice, key=["id"]), "key")
    assert (found.details["rows"], found.details["duplicates"]) == (1_001, 1)


def test_nulls_are_known_from_the_statistics_also_where_no_row_is_read(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ROWS_SAMPLED", 100)
    hole = MANY.with_columns(pl.when(pl.col("id") != BIG + 300).then("id"))
    found = check(outside.register(hole, key=["id"]), "key")
    assert (found.outcome, found.details["nulls"]) == ("warned", {"id": 1})
    outside.open(key="none")
    found = check(outside.register(MANY, "unread", key=["id"]), "key")
    assert (found.outcome, "was not looked at" in found.message) == ("skipped", True)


def test_rows_that_cannot_be_read_are_said(outside: Outside, tmp_path: Path) -> None:
    place = outside.write(MANY, "broken")
    content = bytearray(place.read_bytes())
    content[4:200] = b"\xff" * 196  # pages, not the footer
    place.write_bytes(bytes(content))
    found = check(outside.register(place, key=["id"]), "key")
    assert found.outcome == "warned"
    assert "cannot be read" in found.message
