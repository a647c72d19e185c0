from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import deltalake
import polars as pl
import pyarrow as pa
import pytest

from feature_registry.errors import Invalid
from feature_registry.location import Location
from feature_registry.registry.validation import places
from feature_registry_tests.registry.validation.conftest import Outside, check

ROWS = pl.DataFrame({"id": [1, 2]})


@pytest.mark.row("M3")
def test_a_place_is_known_in_every_spelling(outside: Outside) -> None:
    folder = outside.folder / "a b"
    folder.mkdir()
    ROWS.write_parquet(folder / "0.parquet")
    outside.register(folder, "first")
    spelled = [
        f"{folder}/",
        f"{folder.parent}//./a b",
        f"file://{folder.parent}/a%20b",
        f"file://localhost{folder.parent}/a%20b/",
        f"{folder.parent}/other/../a b",
    ]
    for number, spelling in enumerate(spelled):
        wanted = outside.said(folder, f"t{number}").model_copy(update={"location": Location(spelling)})
        found = check(outside.registry.preview(wanted), "location")
        assert (found.outcome, found.details["tables"]) == ("warned", ["d/first@7"])


@pytest.mark.row("M3")
def test_schemes_of_one_store_are_one() -> None:
    assert Location("s3a://b//k/./x/") == Location("s3n://b/k/x") == Location("S3://b/k/x") == "s3://b/k/x"
    assert Location("gcs://b/k") == Location("gs://b/k")


def test_places_above_and_below_are_told(outside: Outside) -> None:
    top = outside.folder / "top"
    for part in ("x", "y"):
        (top / part).mkdir(parents=True)
        ROWS.write_parquet(top / part / "0.parquet")
    outside.register(top / "x", "x")
    outside.register(top / "y", "y")
    found = check(outside.register(top, "whole"), "location")
    assert (found.outcome, found.message) == ("warned", "holds d/x@7, d/y@7")
    found = check(outside.register(top / "x" / "0.parquet", "file"), "location")
    assert found.message == "lies inside of d/whole@7, d/x@7"
    assert check(outside.register(ROWS, "beside"), "location").outcome == "passed"


@pytest.mark.row("M4")
def test_a_format_is_sniffed_and_another_one_refused(outside: Outside) -> None:
    delta = outside.folder / "delta"
    deltalake.write_deltalake(delta, ROWS.to_arrow())
    for wrong in ("parquet", "iceberg"):
        with pytest.raises(Invalid) as raised:
            outside.register(delta, format=wrong)
        assert raised.value.field == "format"
        assert "delta" in str(raised.value.expected)
    assert outside.registry.newest_event() == 0
    for name, place, form in (("a", delta, "delta"), ("b", outside.write(ROWS, "flat"), "parquet")):
        report = outside.register(place, name)
        assert (check(report, "format").message, report.entry.version.inspection.format) == (form, form)
        assert outside.registry.scan(report.entry.version).collect().sort("id").equals(ROWS)


def test_what_the_whole_world_may_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.parquet"
    ROWS.write_parquet(file)
    manifest = pa.table({"path": [""]})
    monkeypatch.setattr(places, "_reachable", lambda folder: True)
    file.chmod(0o644)
    assert places.world_readable(Location(file), manifest).outcome == "failed"
    file.chmod(0o640)
    assert places.world_readable(Location(file), manifest).outcome == "passed"
    assert places.world_readable(Location("s3://b/k"), manifest).outcome == "skipped"


def test_a_file_is_open_if_all_folders_above_are() -> None:
    with TemporaryDirectory() as folder:  # pytest's own folders are shut
        file = Path(folder) / "inner" / "a"
        file.parent.mkdir(mode=0o755)
        file.touch(mode=0o644)
        Path(folder).chmod(0o755)
        assert places._open(file, places._reachable)
        link = Path(folder) / "link"
        link.symlink_to(file)
        assert places._open(link, places._reachable)
        file.parent.chmod(0o700)
        assert not places._open(link, places._reachable)
        file.parent.chmod(0o755)
        file.chmod(0o640)
        assert not places._open(file, places._reachable)
