from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_registry.errors import Unavailable
from feature_registry.model import (
    CheckResult,
    Contents,
    Entry,
    MaterializationVersion,
    PlanRequest,
    Registration,
    Search,
)
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry.storage.file import Storage

ROWS = pl.DataFrame({"id": range(100), "size": range(100)})
BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@pytest.fixture
def registry(catalogs: Callable[[str], Registry]) -> Registry:
    return catalogs("sqlite")


def parquet(folder: Path, parts: int = 4) -> Path:
    folder.mkdir(parents=True)
    for part in range(parts):
        ROWS.slice(part * 25, 25).write_parquet(folder / f"{part}.parquet")
    return folder


def delta(folder: Path) -> Path:
    ROWS.write_delta(folder)
    return folder


def register(registry: Registry, location: Path, name: str = "t", **said: Any) -> Entry:
    fields = {"description": "A.", "owner": "lab", "license": "CC0-1.0", "mat_version": 7, "publish": True} | said
    return registry.register(Registration(location=location, datastack="d", name=name, **fields)).entry


def results(entry: Entry) -> dict[str, str]:
    return {each.name: each.outcome for each in entry.version.checks if each.at is not None}


def result(entry: Entry, name: str) -> CheckResult:
    return next(each for each in entry.version.checks if each.name == name)


def flip(file: Path, at: int = 100) -> None:
    """One byte is another; size and time of change stay."""
    before, content = file.stat(), bytearray(file.read_bytes())
    content[at] ^= 0xFF
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


# --------------------------------------------------------------------------------------------------------- existence


@pytest.mark.row("D1")
@BOTH
def test_what_is_deleted_is_missing_and_its_entry_stays_until_it_is_back(
    catalogs: Callable[[str], Registry], kind: str, tmp_path: Path
) -> None:
    registry = catalogs(kind)
    folder = parquet(tmp_path / "t")
    assert register(registry, folder).existence == "verified"
    begun = datetime.now(UTC)
    folder.rename(tmp_path / "away")
    gone = registry.check("d/t@7")
    assert (gone.existence, gone.version.status) == ("missing", "published")
    at = result(gone, "exists").at
    assert at is not None and at >= begun
    assert registry.describe("d/t@7") == gone
    assert gone.warnings == (f"d/t@7.0: exists: nothing is left at file://{folder}",)
    assert registry.plan(PlanRequest(table="d/t@7", dry_run=True)).warnings == gone.warnings
    assert [entry.existence for entry in registry.search(Search()).entries] == ["missing"]
    assert registry.history("d/t@7")[-1].kind == "checked"
    (tmp_path / "away").rename(folder)
    back = registry.check("d/t@7")
    assert (back.existence, back.warnings) == ("verified", ())
    assert results(back) == {"exists": "passed", "content": "passed", "schema_drift": "passed", "rows": "passed"}


@pytest.mark.row("D1")
def test_a_storage_that_does_not_answer_leaves_it_unverified(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = parquet(tmp_path / "t")
    register(registry, folder)
    shutil.rmtree(folder)

    def silent(*_: Any) -> Any:
        raise Unavailable("is not to be reached")

    with monkeypatch.context() as patched:
        patched.setattr(Storage, "marks", silent)
        entry = registry.check("d/t@7")
    assert (entry.existence, entry.warnings) == ("unverified", ())
    assert "is not to be reached" in result(entry, "exists").message
    assert registry.check("d/t@7").existence == "missing"


@pytest.mark.row("D1")
def test_what_was_rebuilt_without_its_files_is_recorded_only(
    registry: Registry, catalogs: Callable[[str], Registry], tmp_path: Path
) -> None:
    folder = parquet(tmp_path / "t")
    register(registry, folder)
    known = Contents.model_validate_json(registry.contents().model_dump_json())
    folder.rename(tmp_path / "away")
    other = catalogs("sqlite")
    other.rebuild(known)
    assert other.describe("d/t@7").existence == "recorded"
    (tmp_path / "away").rename(folder)
    assert other.check("d/t@7").existence == "verified"
    assert other.plan(PlanRequest(table="d/t@7", dry_run=True)).cost.files == 4


@pytest.mark.row("D1")
def test_a_part_that_is_gone_is_named(registry: Registry, tmp_path: Path) -> None:
    register(registry, parquet(tmp_path / "t"))
    (tmp_path / "t" / "2.parquet").unlink()
    entry = registry.check("d/t@7")
    assert entry.existence == "missing"
    assert result(entry, "exists").message == "1 of 4 files are gone: 2.parquet"
    assert results(entry)["rows"] == "failed"


def test_a_draft_that_is_gone_is_not_published(registry: Registry, tmp_path: Path) -> None:
    register(registry, parquet(tmp_path / "t"), publish=False)
    shutil.rmtree(tmp_path / "t")
    registry.check("d/t@7")
    with pytest.raises(Exception, match="failed blocking checks"):
        registry.publish("d/t@7")


# ----------------------------------------------------------------------------------------------------------- content


@pytest.mark.row("D9")
@pytest.mark.parametrize("write", [parquet, delta])
def test_a_changed_byte_of_a_static_table_is_an_alarm(
    registry: Registry, tmp_path: Path, write: Callable[[Path], Path], caplog: pytest.LogCaptureFixture
) -> None:
    entry = register(registry, write(tmp_path / "t"), durability="durable")
    assert (entry.table.mutability, entry.table.durability) == ("static", "durable")
    file = next((tmp_path / "t").glob("*.parquet"))
    flip(file)
    with caplog.at_level(logging.ERROR):
        entry = registry.check("d/t@7")
    content = result(entry, "content")
    assert (content.outcome, content.details) == ("failed", {"by": "checksum"})
    assert file.name in content.message
    assert f"d/t@7.0: content: {content.message}" in entry.warnings
    assert entry.version.status == "published"
    event = registry.history("d/t@7")[-1]
    assert (event.kind, event.details["checks"][1]["outcome"]) == ("checked", "failed")
    assert [record.getMessage() for record in caplog.records] == [f"d/t@7.0: content: {content.message}"]
    caplog.clear()
    flip(file)
    assert registry.check("d/t@7").warnings == ()
    assert not caplog.records


@pytest.mark.row("D9")
def test_without_checksums_the_store_tells_and_the_result_says_so(tmp_path: Path) -> None:
    registry = Registry(Settings(home=tmp_path / "home", checksum_bytes=0))
    register(registry, parquet(tmp_path / "t"))
    assert result(registry.check("d/t@7"), "content").message == "as registered, by etag"
    os.utime(tmp_path / "t" / "1.parquet", ns=(1, 1))
    assert result(registry.check("d/t@7"), "content").message == "1 of 4 files changed, by etag: 1.parquet"
    with (tmp_path / "t" / "1.parquet").open("ab") as file:
        file.write(b"more")
    assert result(registry.check("d/t@7"), "content").message.endswith("by etag and size: 1.parquet")
    registry.close()


def test_the_same_bytes_written_anew_are_told_because_links_refuse_them(registry: Registry, tmp_path: Path) -> None:
    register(registry, parquet(tmp_path / "t"))
    os.utime(tmp_path / "t" / "1.parquet", ns=(1, 1))
    entry = registry.check("d/t@7")
    assert results(entry)["content"] == "warned"
    assert "the same bytes by checksum" in entry.warnings[0]


@pytest.mark.row("D9")
@pytest.mark.parametrize(("mutability", "outcome"), [("static", "failed"), ("append", "failed"), ("mutable", "passed")])
def test_a_changed_file_is_judged_by_the_mutability(
    registry: Registry, tmp_path: Path, mutability: str, outcome: str
) -> None:
    register(registry, parquet(tmp_path / "t"), mutability=mutability)
    ROWS.head(7).write_parquet(tmp_path / "t" / "0.parquet")
    entry = registry.check("d/t@7")
    assert (results(entry)["content"], results(entry)["rows"]) == (outcome, outcome)
    assert result(entry, "rows").message.startswith("82 rows, 100 were registered")
    assert bool(entry.warnings) == (outcome == "failed")


@pytest.mark.row("D9")
@pytest.mark.parametrize(("mutability", "outcome"), [("static", "failed"), ("append", "passed"), ("mutable", "passed")])
def test_an_appended_file_is_judged_by_the_mutability(
    registry: Registry, tmp_path: Path, mutability: str, outcome: str
) -> None:
    register(registry, parquet(tmp_path / "t"), mutability=mutability)
    ROWS.head(7).write_parquet(tmp_path / "t" / "9.parquet")
    entry = registry.check("d/t@7")
    assert results(entry) == {"exists": "passed", "content": "passed", "schema_drift": "passed", "rows": outcome}
    assert result(entry, "rows").message.startswith("107 rows, 100 were registered")


# ---------------------------------------------------------------------------------------------------- schema and rows


@pytest.mark.row("D2")
@BOTH
def test_a_column_that_was_added_to_a_delta_table_is_seen(
    catalogs: Callable[[str], Registry], kind: str, tmp_path: Path
) -> None:
    registry = catalogs(kind)
    register(registry, delta(tmp_path / "t"))
    more = ROWS.with_columns(extra=pl.lit(1)).head(20)
    more.write_delta(tmp_path / "t", mode="append", delta_write_options={"schema_mode": "merge"})
    entry = registry.check("d/t@7")
    assert results(entry) == {"exists": "passed", "content": "passed", "schema_drift": "warned", "rows": "warned"}
    assert result(entry, "schema_drift").message == "its newest snapshot 1: extra is new"
    assert result(entry, "rows").message == "its newest snapshot 1: 120 rows, 100 were registered"
    assert len(entry.warnings) == 2


@pytest.mark.row("D2")
def test_other_columns_in_the_very_place_are_told_one_by_one(registry: Registry, tmp_path: Path) -> None:
    register(registry, parquet(tmp_path / "t", 1))
    other = pl.DataFrame({"id": [1.5], "new": [1]})
    other.write_parquet(tmp_path / "t" / "0.parquet")
    entry = registry.check("d/t@7")
    assert result(entry, "schema_drift").outcome == "failed"
    message = "size is not stored any more; new is new; id is double, was int64"
    assert result(entry, "schema_drift").message == message
    (tmp_path / "t" / "0.parquet").write_bytes(b"no table")
    assert "cannot be read any more" in result(registry.check("d/t@7"), "schema_drift").message


# ---------------------------------------------------------------------------------------- what was said of it, later


@pytest.mark.row("D3")
def test_a_version_that_expired_since_flips_the_flag_of_its_entries(registry: Registry, tmp_path: Path) -> None:
    frozen, ends = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    registry.clock = lambda: datetime(2024, 2, 1, tzinfo=UTC)
    registry.record_versions([MaterializationVersion(datastack="d", mat_version=7, time_stamp=frozen, expires_on=ends)])
    register(registry, parquet(tmp_path / "t"))
    entry = registry.check("d/t@7")
    assert (result(entry, "mat_version").outcome, entry.warnings) == ("warned", ())
    assert "expires on 2024-03-01" in result(entry, "mat_version").message
    registry.clock = lambda: ends
    entry = registry.check("d/t@7")
    assert entry.version.status == "published"
    assert entry.warnings == ("d/t@7.0: mat_version: 7 has expired",)


@pytest.mark.row("D4")
def test_what_was_unverified_is_completed(registry: Registry, tmp_path: Path) -> None:
    assert result(register(registry, parquet(tmp_path / "t")), "mat_version").outcome == "skipped"
    at = datetime(2024, 1, 1, tzinfo=UTC)
    registry.record_versions([MaterializationVersion(datastack="d", mat_version=7, time_stamp=at)])
    assert result(registry.check("d/t@7"), "mat_version").outcome == "passed"


# --------------------------------------------------------------------------------------------------------------- all


@BOTH
def test_what_was_looked_at_longest_ago_comes_first(
    catalogs: Callable[[str], Registry], kind: str, tmp_path: Path
) -> None:
    registry = catalogs(kind)
    for name in ("a", "b", "c"):
        register(registry, parquet(tmp_path / name, 1), name)
    register(registry, parquet(tmp_path / "draft", 1), "draft", publish=False)
    shutil.rmtree(tmp_path / "b")
    registry.check("d/a")
    registry.check("d/c")
    assert [entry.table.name for entry in registry.check_all(limit=2)] == ["b", "a"]
    everything = list(registry.check_all("d"))
    assert [(entry.table.name, entry.existence) for entry in everything] == [
        ("c", "verified"),
        ("b", "missing"),
        ("a", "verified"),
    ]
    assert list(registry.check_all("other")) == []


def test_several_layouts_are_one_table(registry: Registry, tmp_path: Path) -> None:
    for layout in ("by_id", "by_size"):
        parquet(tmp_path / "t" / layout, 2)
    register(registry, tmp_path / "t", layouts=[{"name": "by_id"}, {"name": "by_size"}])
    assert set(results(registry.check("d/t@7")).values()) == {"passed"}
    flip(tmp_path / "t" / "by_size" / "1.parquet")
    assert "by_size/1.parquet" in result(registry.check("d/t@7"), "content").message


def test_a_table_of_one_file(registry: Registry, tmp_path: Path) -> None:
    ROWS.write_parquet(tmp_path / "t.parquet")
    register(registry, tmp_path / "t.parquet")
    assert set(results(registry.check("d/t@7")).values()) == {"passed"}
    (tmp_path / "t.parquet").unlink()
    assert registry.check("d/t@7").existence == "missing"
