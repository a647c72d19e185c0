from __future__ import annotations

import gzip
import struct
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from feature_registry.cave import csv_dumps
from feature_registry.cli import app
from feature_registry.defs.converting import convert
from feature_registry.errors import Invalid, NotFound, RegistryError
from feature_registry.location import Location
from feature_registry.registry import Registry
from feature_registry.settings import Settings

MICRONS = Path(__file__).parents[3] / "shared" / "data" / "microns_v1412" / "synapses_10_post_cells.csv"
COLUMNS = {
    "id": "bigint",
    **{f"{point}_pt_position_{axis}": "integer" for point in ("pre", "ctr", "post") for axis in "xyz"},
    "size": "integer",
    **{f"{side}_pt_{level}_id": "bigint" for side in ("pre", "post") for level in ("supervoxel", "root")},
}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(Settings(home=tmp_path / "home"))


def written(folder: Path, lines: list[str], columns: dict[str, str], name: str = "nuclei") -> Location:
    (folder / f"{name}_header.csv").write_text("".join(f"{column},{kind}\n" for column, kind in columns.items()))
    with gzip.open(folder / f"{name}.csv.gz", "wt") as file:
        file.writelines(f"{line}\n" for line in lines)
    return Location(folder / f"{name}.csv.gz")


def nuclei(folder: Path, *more: str) -> Location:
    def point(*axes: float) -> str:
        return (b"\x01\x01\x00\x00\x80" + struct.pack("<3d", *axes)).hex()

    columns = {"id": "bigint", "created": "timestamp without time zone", "valid": "boolean"}
    columns |= {"pt_position": "USER-DEFINED", "pt_root_id": "bigint", "volume": "double precision"}
    lines = [
        f"3,2020-01-01 00:00:00,t,{point(7, 8, 9)},864691136041487045,1.25",
        f"1,2020-01-01 00:00:00,t,{point(1, 2, 3)},864691136041487043,",
        f"2,2020-01-01 00:00:00,f,{point(4, 5, 6)},864691136041487044,1.5",
    ]
    return written(folder, [*lines, *more], columns)


def files(registry: Registry) -> list[Path]:
    root = Path(registry.settings.managed_root.key)
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_dump_becomes_a_sorted_table(registry: Registry, tmp_path: Path) -> None:
    entry = convert(registry, nuclei(tmp_path), "minnie65", 117)
    assert str(entry.ref) == "minnie65/nuclei@117.0"
    assert entry.version.status == "published"
    assert entry.table.key == ("id",)
    assert [layout.name for layout in entry.version.layouts] == ["by_pt_root_id"]
    frame = registry.scan(entry.version).collect()
    assert frame.columns == ["id", "pt_position_x", "pt_position_y", "pt_position_z", "pt_root_id", "volume"]
    assert frame.rows() == [(1, 1, 2, 3, 864691136041487043, None), (3, 7, 8, 9, 864691136041487045, 1.25)]
    again = convert(registry, nuclei(tmp_path), "minnie65", 117, "nucleus_detection")
    assert str(again.ref) == "minnie65/nucleus_detection@117.0"


def test_a_key_that_is_not_unique_stays_a_draft(registry: Registry, tmp_path: Path) -> None:
    entry = convert(registry, nuclei(tmp_path, "3,,t,,,"), "minnie65", 117)
    assert entry.version.status == "draft"
    (key,) = [check for check in entry.version.checks if check.name == "key"]
    assert key.outcome == "failed"


@pytest.mark.parametrize("block", [100, 1 << 20])
@pytest.mark.parametrize("line", ["4,,t,,", "x,,t,,,", "4,,t,00,,", "4,,t,,1.5,"])
def test_what_is_wrong_leaves_nothing_behind(
    registry: Registry, tmp_path: Path, line: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first piece of the file that is read, and after other pieces."""
    monkeypatch.setattr(csv_dumps, "BLOCK", block)
    with pytest.raises(Invalid) as wrong:
        convert(registry, nuclei(tmp_path, *["4,,t,,,"] * 10, line), "minnie65", 117)
    assert wrong.value.field == Location(tmp_path / "nuclei.csv.gz")
    assert "row 14" in wrong.value.message or "id 4" in wrong.value.message
    assert files(registry) == []
    assert registry.datastacks() == ()


def test_a_file_that_is_cut_off_leaves_nothing_behind(registry: Registry, tmp_path: Path) -> None:
    place = nuclei(tmp_path)
    path = Path(place.key)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(Invalid, match="Truncated compressed stream"):
        convert(registry, place, "minnie65", 117)
    assert files(registry) == []


def test_what_is_missing_is_named(registry: Registry, tmp_path: Path) -> None:
    def refused(kind: type[RegistryError], file: str) -> str:
        with pytest.raises(kind) as wrong:
            convert(registry, Location(tmp_path / file), "minnie65", 117)
        return str(wrong.value)

    assert "is no CSV file" in refused(Invalid, "nuclei.parquet")
    assert "nuclei_header.csv" in refused(NotFound, "nuclei.csv.gz")
    Path(nuclei(tmp_path).key).unlink()
    assert "nuclei.csv.gz" in refused(NotFound, "nuclei.csv.gz")


@pytest.mark.skipif(not MICRONS.exists(), reason="needs the real data in ../shared/data, which is absent")
def test_real_synapses_come_out_bit_for_bit(registry: Registry, tmp_path: Path) -> None:
    place = written(tmp_path, MICRONS.read_text().splitlines(), COLUMNS, "synapses_pni_2")
    entry = convert(registry, place, "minnie65_public", 1412)
    types = {name: pl.Int64 if kind == "bigint" else pl.Int32 for name, kind in COLUMNS.items()}
    expected = pl.read_csv(MICRONS, has_header=False, schema=types)
    assert expected.height == 24_426
    frame = registry.scan(entry.version).collect()
    assert frame["post_pt_root_id"].is_sorted()
    assert_frame_equal(frame.sort("id"), expected.sort("id"))


def test_the_command_says_what_it_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path / "home"))
    place = nuclei(tmp_path)
    arguments = ["convert-csv", place.key, "--datastack", "minnie65", "--mat-version", "117"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.stderr
    assert "minnie65/nuclei@117.0 registered, published: 2 rows" in done.stdout
    nuclei(tmp_path, "x,,t,,,")
    failed = CliRunner().invoke(app, arguments)
    assert failed.exit_code == 1
    assert failed.stderr == f"error: {place}=x: in row 4, id is no int64\n"
