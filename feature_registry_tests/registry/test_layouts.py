"""One table version in several layouts: what is composed of them, what is refused, and where they live on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from polars.testing import assert_frame_equal

from feature_registry import formats, pruning
from feature_registry.catalog import entries
from feature_registry.errors import Conflict, Invalid, NotFound
from feature_registry.exports import catalog_json
from feature_registry.formats import WriteOptions
from feature_registry.location import Location
from feature_registry.model import HashBuckets, Layout, Registration, Report, Search
from feature_registry.registry import Registry, layouts, manifests
from feature_registry.settings import Settings

ROWS = 4_000
BUCKETS = 4
BY_PRE = Layout(name="by_pre", sort_by=("pre",))
BY_POST = Layout(name="by_post", sort_by=("post", "id"))
BY_CELL = Layout(
    name="by_cell",
    hash_buckets=(HashBuckets(column="post", partition_column="bucket", transform="modulo", buckets=BUCKETS),),
)
LAYOUTS = (BY_PRE, BY_POST, BY_CELL)
SAID = {"description": "Synapses.", "owner": "team", "license": "MIT", "key": ["id"]}


def rows(count: int = ROWS) -> pl.DataFrame:
    ids = pl.Series("id", range(count), pl.Int64)
    first = 864691135000000000
    return pl.DataFrame(
        {"id": ids, "pre": first + ids * 7919 % count, "post": first + ids * 104729 % count, "size": ids / 3}
    )


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(Settings(home=tmp_path / "home"))
    yield opened
    opened.close()


@pytest.fixture(params=["parquet", "delta"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write(registry: Registry, kind: str, place: Path, layout: Layout, frame: pl.DataFrame) -> None:
    buckets = [each.partition_column for each in layout.hash_buckets]
    for name in buckets:
        frame = frame.with_columns((pl.col("post") % BUCKETS).alias(name))
    location = Location(place / layout.name)
    options = WriteOptions(
        partition_by=tuple(buckets), sort_by=layout.sort_by, bytes_per_file=10_000, rows_per_group=500
    )
    formats.get(kind).write(registry.store(location), location, frame.to_arrow().to_reader(), options)


def written(registry: Registry, kind: str, place: Path) -> Path:
    for layout in LAYOUTS:
        write(registry, kind, place, layout, rows())
    return place


def register(registry: Registry, place: Path, **said: Any) -> Report:
    fields = {"datastack": "d", "name": "synapses", "mat_version": 7, "publish": True, "layouts": LAYOUTS} | SAID
    return registry.register(Registration.checked(fields | {"location": place} | said))


def manifest(registry: Registry, version_id: str, part: entries.ManifestPart = "files") -> pa.Table:
    with registry.database.read() as connection:
        content = entries.manifest(connection, version_id, part)
    assert content is not None
    return manifests.decode(content)


def both(registry: Registry, version_id: str) -> tuple[pa.Table, pa.Table]:
    return manifest(registry, version_id), manifest(registry, version_id, "groups")


# ------------------------------------------------------------------------------------------------------ registration


def test_what_all_share_is_told_of_the_table_and_the_rest_of_its_layouts(
    registry: Registry, kind: str, tmp_path: Path
) -> None:
    report = register(registry, written(registry, kind, tmp_path / "t"))
    seen = report.entry.version.inspection
    assert report.entry.version.status == "published"
    assert [field.name for field in seen.fields] == formats.stored_schema(seen).names == ["id", "pre", "post", "size"]
    assert (seen.rows, seen.snapshot, seen.partition_columns) == (ROWS, None, ())
    assert [each.name for each in seen.layouts] == ["by_pre", "by_post", "by_cell"]
    assert [each.snapshot for each in seen.layouts] == [None if kind == "parquet" else "0"] * 3
    assert [each.partition_columns for each in seen.layouts] == [(), (), ("bucket",)]
    assert seen.layouts[2].hash_buckets == BY_CELL.hash_buckets
    assert "bucket" in formats.stored_schema(seen.of_layout("by_cell")).names
    assert [each.arrow_schema for each in seen.layouts[:2]] == [None, None]
    assert (seen.bytes, seen.files) == (sum(e.bytes for e in seen.layouts), sum(e.files for e in seen.layouts))
    on_disk = {
        str(path.relative_to(tmp_path / "t")): path.stat().st_size for path in tmp_path.rglob("t/*/**/*.parquet")
    }
    files = manifest(registry, report.entry.version.id)
    assert dict(zip(files["path"].to_pylist(), files["size"].to_pylist(), strict=True)) == on_disk
    assert files["path"].to_pylist() == sorted(on_disk)
    assert files["layout"].to_pylist() == [path.split("/")[0] for path in sorted(on_disk)]
    assert not files["etag"].null_count
    assert not files["checksum"].null_count
    (check,) = (each for each in report.checks if each.name == "layouts")
    assert (check.outcome, check.blocking) == ("passed", True)
    assert check.message == "3 layouts with the same 4 columns and 4,000 rows"
    (key,) = (each for each in report.checks if each.name == "key")
    assert key.outcome == "passed"
    assert not register(registry, tmp_path / "t").created


def test_a_layout_reads_as_the_table(registry: Registry, kind: str, tmp_path: Path) -> None:
    version = register(registry, written(registry, kind, tmp_path / "t")).entry.version
    for name in (None, "by_pre", "by_post", "by_cell"):
        assert_frame_equal(registry.scan(version, name).sort("id").collect(), rows())
    assert registry.scan(version, "by_post").collect()["post"].is_sorted()
    with pytest.raises(Invalid, match="layout"):
        registry.scan(version, "by_size")


def test_a_layouts_files_are_rows_of_the_manifest_of_all(registry: Registry, kind: str, tmp_path: Path) -> None:
    version = register(registry, written(registry, kind, tmp_path / "t")).entry.version
    files = manifest(registry, version.id)
    found = []
    for layout in version.inspection.layouts:
        numbers, some = manifests.of_layout(files, version.inspection, layout.name)
        assert some.select(["path", "rows"]).equals(files.take(pa.array(numbers)).select(["path", "rows"]))
        assert sum(some["rows"].to_pylist()) == ROWS
        assert len(some) == layout.files
        assert ("partition.bucket" in some.column_names) == (layout.name == "by_cell")
        found += numbers.tolist()
    assert sorted(found) == list(range(len(files)))


def test_row_groups_say_what_a_read_would_cost(registry: Registry, kind: str, tmp_path: Path) -> None:
    version = register(registry, written(registry, kind, tmp_path / "t")).entry.version
    files, groups = both(registry, version.id)
    names = [field.name for field in version.inspection.fields]
    assert set(groups.column_names) == {"file", "size", "rows"} | {f"size.{name}" for name in names} | {
        f"{part}.{name}" for part in ("min", "max", "nulls") for name in ("pre", "post", "id")
    }
    sizes = reduce(pc.add, [groups[f"size.{name}"] for name in names])
    assert sizes.to_pylist() == groups["size"].to_pylist()
    per_file = groups.group_by("file").aggregate([("rows", "sum"), ("size", "sum"), ("file", "count")]).sort_by("file")
    assert per_file["file"].to_pylist() == list(range(len(files)))
    assert per_file["rows_sum"].to_pylist() == files["rows"].to_pylist()
    assert pc.all(pc.less(per_file["size_sum"], files["size"])).as_py()
    assert max(per_file["file_count"].to_pylist()) > 1
    cell = int(rows()["post"][17])
    kept = pruning.prune(groups, ((("post", "==", cell),),), formats.stored_schema(version.inspection)).kept
    named = files["layout"].take(groups["file"].take(pa.array(kept))).to_pylist()
    assert named.count("by_post") == 1
    assert named.count("by_pre") == ROWS / 500


def test_of_a_column_that_a_layout_parts_by_the_row_groups_say_nothing(
    registry: Registry, kind: str, tmp_path: Path
) -> None:
    """Its files lack the column, which must not be taken for nulls: then they would be left out."""
    frame = rows(40).with_columns(part=pl.col("id") % 2)
    sorted_by, parted = Layout(name="sorted", sort_by=("part",)), Layout(name="parted")
    write(registry, kind, tmp_path / "t", sorted_by, frame)
    place = Location(tmp_path / "t" / "parted")
    formats.get(kind).write(
        registry.store(place), place, frame.to_arrow().to_reader(), WriteOptions(partition_by=("part",))
    )
    version = register(registry, tmp_path / "t", layouts=[sorted_by, parted]).entry.version
    assert [field.name for field in version.inspection.fields] == frame.columns
    files, groups = both(registry, version.id)
    kept = pruning.prune(groups, ((("part", "==", 1),),), formats.stored_schema(version.inspection)).kept
    named = files["layout"].take(groups["file"].take(pa.array(kept))).to_pylist()
    assert named.count("parted") == 2
    assert_frame_equal(registry.scan(version, "parted").sort("id").collect(), frame)


def test_what_a_folder_does_not_tell_of_a_type_is_said(registry: Registry, tmp_path: Path) -> None:
    frame = rows(40).with_columns(part=pl.col("id").cast(pl.Int32) % 2)
    write(registry, "parquet", tmp_path / "t", Layout(name="plain"), frame)
    place = Location(tmp_path / "t" / "parted")
    formats.get("parquet").write(
        registry.store(place), place, frame.to_arrow().to_reader(), WriteOptions(partition_by=("part",))
    )
    named = [Layout(name="plain"), Layout(name="parted")]
    with pytest.raises(Invalid, match="has the column 'part' as int64"):
        register(registry, tmp_path / "t", layouts=named)
    version = register(registry, tmp_path / "t", layouts=named, logical_types={"part": "int32"}).entry.version
    for name in ("plain", "parted"):
        assert_frame_equal(registry.scan(version, name).sort("id").collect(), frame)


def test_a_table_may_say_itself_how_a_layout_is_bucketed(registry: Registry, tmp_path: Path) -> None:
    place = written(registry, "parquet", tmp_path / "t")
    plain = [BY_PRE, Layout(name="by_cell")]
    version = register(registry, place, layouts=plain, hash_buckets=list(BY_CELL.hash_buckets)).entry.version
    assert (version.status, len(version.inspection.fields)) == ("published", 4)
    meant = {"bucket": {"description": "Which bucket."}}  # a column of the layout is none of the table
    with pytest.raises(Invalid, match="not stored: bucket"):
        register(registry, place, name="other", layouts=plain, columns=meant)


def test_of_too_many_files_no_row_groups_are_kept(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "MOST_FILES_OPENED", 3)
    version = register(registry, written(registry, "parquet", tmp_path / "t")).entry.version
    with registry.database.read() as connection:
        assert entries.manifest(connection, version.id, "groups") is None
    assert len(manifest(registry, version.id)) > 3


def test_one_layout_is_the_location_itself(registry: Registry, kind: str, tmp_path: Path) -> None:
    written(registry, kind, tmp_path / "t")
    version = register(registry, tmp_path / "t" / "by_pre", layouts=[BY_PRE]).entry.version
    assert version.layouts == (BY_PRE,)
    assert version.inspection.layouts == ()
    assert "layout" not in manifest(registry, version.id).column_names
    assert_frame_equal(registry.scan(version).sort("id").collect(), rows())


def test_a_layout_that_is_written_again_is_a_new_revision(registry: Registry, kind: str, tmp_path: Path) -> None:
    place = written(registry, kind, tmp_path / "t")
    register(registry, place)
    shutil.rmtree(place / "by_post")
    write(registry, kind, place, BY_POST, rows().with_columns(size=pl.col("size") + 1))
    assert register(registry, place).ref.revision == 1


# ----------------------------------------------------------------------------------------------------- what is wrong


def spoil_nothing(registry: Registry, place: Path) -> None:
    pass


def no_folder(registry: Registry, place: Path) -> None:
    shutil.rmtree(place / "by_post")


def replaced(change: Callable[[pl.DataFrame], pl.DataFrame], kind: str = "parquet") -> Callable[[Registry, Path], None]:
    def replace(registry: Registry, place: Path) -> None:
        shutil.rmtree(place / "by_post")
        write(registry, kind, place, BY_POST, change(rows()))

    return replace


@pytest.mark.parametrize(
    ("spoil", "said", "field", "message"),
    [
        (no_folder, {}, "layouts", "is not there"),
        (no_folder, {"format": "parquet"}, "layouts", "is not there"),
        (replaced(lambda frame: frame.drop("size")), {}, "layouts", "has the column 'size' alone"),
        (replaced(lambda frame: frame.with_columns(more=1)), {}, "layouts", "has the column 'more' alone"),
        (replaced(lambda frame: frame.with_columns(bucket=1)), {}, "layouts", "has the column 'bucket' alone"),
        (replaced(lambda frame: frame.with_columns(pl.col("size").cast(pl.Float32))), {}, "layouts", "as float"),
        (replaced(lambda frame: frame.head(10)), {}, "layouts", "has 10 rows"),
        (replaced(lambda frame: frame, "delta"), {}, "layouts", "is of the format delta"),
        (replaced(lambda frame: frame, "delta"), {"format": "parquet"}, "format", "is not the format"),
        (spoil_nothing, {"snapshot": "0"}, "snapshot", "several layouts"),
        (spoil_nothing, {"layouts": [BY_PRE, BY_PRE]}, "layouts", "is the name of two layouts"),
        (spoil_nothing, {"layouts": [BY_PRE, {"name": "by_post", "sort_by": ["x"]}]}, "layouts", "speaks of 'x'"),
        (
            spoil_nothing,
            {"layouts": [BY_PRE, BY_CELL.model_copy(update={"name": "by_post"})]},
            "layouts",
            "speaks of 'bucket'",
        ),
        (spoil_nothing, {"layouts": [BY_PRE, {"name": "by_post", "curve": "morton"}]}, "layouts", "no columns for its"),
        (spoil_nothing, {"location": "by_pre", "layouts": [{"name": "a", "sort_by": ["x"]}]}, "layouts", "'x'"),
        (spoil_nothing, {"location": "by_pre/part-00000.parquet"}, "location", "is a file"),
        (spoil_nothing, {"layouts": [BY_PRE, {"name": "../by_post"}]}, "layouts", "pattern"),
    ],
)
def test_what_is_no_table_in_several_layouts_is_refused_and_changes_nothing(
    registry: Registry,
    tmp_path: Path,
    spoil: Callable[[Registry, Path], None],
    said: dict[str, Any],
    field: str,
    message: str,
) -> None:
    place = written(registry, "parquet", tmp_path / "t")
    if "part-" in said.get("location", ""):
        (place / said["location"]).write_bytes(next(place.rglob("*.parquet")).read_bytes())
    spoil(registry, place)
    before, number = sorted(tmp_path.rglob("*")), registry.newest_event()
    with pytest.raises(Invalid, match=message) as raised:
        register(registry, place, **said | {"location": place / said.get("location", "")})
    assert str(raised.value.field).split(".")[0] == field
    assert registry.newest_event() == number
    assert sorted(tmp_path.rglob("*")) == before


# ------------------------------------------------------------------------------------------------- where they live on


def test_layouts_and_sort_columns_are_found(registry: Registry, tmp_path: Path) -> None:
    register(registry, written(registry, "parquet", tmp_path / "t"))
    register(registry, tmp_path / "t" / "by_pre", name="other", layouts=[])
    for wanted in ({"layout": "by_cell"}, {"layout": "post"}, {"hash_column": "post"}, {"partition_column": "bucket"}):
        assert [str(each.ref) for each in registry.search(Search(**wanted)).entries] == ["d/synapses@7.0"]
    registry.unregister("d/synapses@7")
    assert registry.search(Search(layout="post")).entries == ()


def test_moved_layouts_stay_what_they_are(registry: Registry, kind: str, tmp_path: Path) -> None:
    before = register(registry, written(registry, kind, tmp_path / "old" / "t")).entry.version
    held = both(registry, before.id)
    shutil.copytree(tmp_path / "old", tmp_path / "new", copy_function=shutil.copy)  # which gives files another time
    instant = datetime.now(UTC)
    (moved,) = registry.relocate(Location(tmp_path / "old"), Location(tmp_path / "new"))
    shutil.rmtree(tmp_path / "old")
    after = registry.describe("d/synapses@7").version
    assert after == moved.version
    assert after.inspection.location == Location(tmp_path / "new" / "t")
    for name in ("by_pre", "by_post", "by_cell"):
        assert_frame_equal(registry.scan(after, name).sort("id").collect(), rows())
    files, groups = both(registry, after.id)
    assert groups.equals(held[1])
    assert files.drop_columns("etag").equals(held[0].drop_columns("etag"))
    assert files["etag"].to_pylist() != held[0]["etag"].to_pylist()
    fingerprints = [{each.fingerprint for each in version.inspection.layouts} for version in (before, after)]
    assert (fingerprints[0] == fingerprints[1]) == (kind == "delta")  # whose log says no times
    assert registry.describe("d/synapses@7", as_of=instant).version == before
    assert not register(registry, tmp_path / "new" / "t").created


def test_a_layout_that_was_not_copied_whole_is_not_moved(registry: Registry, kind: str, tmp_path: Path) -> None:
    before = register(registry, written(registry, kind, tmp_path / "old")).entry
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    shutil.rmtree(tmp_path / "new" / "by_cell")
    with pytest.raises(Invalid, match="by_cell"):
        registry.relocate(Location(tmp_path / "old"), Location(tmp_path / "new"))
    write(registry, kind, tmp_path / "new", BY_CELL, rows().with_columns(size=pl.col("size") + 1))
    with pytest.raises(Conflict, match="by_cell"):
        registry.relocate(Location(tmp_path / "old"), Location(tmp_path / "new"))
    assert registry.describe("d/synapses@7").version == before.version


def test_layouts_are_no_leftovers(registry: Registry, kind: str, tmp_path: Path) -> None:
    home = Path(registry.home("d", "synapses", 7, "run").key)
    written(registry, kind, home)
    assert registry.leftovers(timedelta()) != ()
    version = register(registry, home).entry.version
    assert registry.collect(registry.leftovers(timedelta())) == ()
    assert_frame_equal(registry.scan(version, "by_cell").sort("id").collect(), rows())


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_layouts_come_back_whole(catalogs: Callable[[str], Registry], database: str, kind: str, tmp_path: Path) -> None:
    before = catalogs(database)
    register(before, written(before, kind, tmp_path / "t"))
    instant = datetime.now(UTC)
    register(before, tmp_path / "t" / "by_pre", mat_version=8, layouts=[BY_PRE])
    version = before.describe("d/synapses@7").version
    assert before.describe("d/synapses@7", as_of=instant).version == version
    assert before.search(Search(layout="by_cell", as_of=instant)).entries[0].version.id == version.id
    held = both(before, version.id)

    rebuilt, restored = catalogs(database), catalogs(database)
    rebuilt.rebuild(catalog_json.parse(before.export("catalog_json")))
    before.backup(tmp_path / "backup.db")
    restored.restore(tmp_path / "backup.db")
    for registry in (rebuilt, restored):
        assert registry.contents() == before.contents()
        again = registry.describe("d/synapses@7").version
        assert again == version
        assert both(registry, again.id) == held
        assert not register(registry, tmp_path / "t").created


def test_layouts_that_are_gone_leave_no_manifest(registry: Registry, kind: str, tmp_path: Path) -> None:
    version = register(registry, written(registry, kind, tmp_path / "t")).entry.version
    registry.unregister("d/synapses@7")
    with registry.database.read() as connection:
        assert [entries.manifest(connection, version.id, part) for part in ("files", "groups")] == [None, None]
    with pytest.raises(NotFound):
        registry.describe("d/synapses@7")
    assert len(list((tmp_path / "t").rglob("*.parquet"))) == version.inspection.files


def test_a_rebuild_without_a_layouts_files_says_so(registry: Registry, tmp_path: Path) -> None:
    register(registry, written(registry, "parquet", tmp_path / "t"))
    held = registry.contents()
    (tmp_path / "t" / "by_post").rename(tmp_path / "away")
    other = Registry(Settings(home=tmp_path / "other"))
    other.rebuild(held)
    checks = {check.name: check for check in other.describe("d/synapses@7").version.checks}
    assert checks["manifest"].outcome == "failed"
    (tmp_path / "away").rename(tmp_path / "t" / "by_post")
    other.rebuild(held)
    version = other.describe("d/synapses@7").version
    assert [each.outcome for each in version.checks if each.name == "manifest"] == ["passed"]
    assert all(
        mine.equals(theirs) for mine, theirs in zip(both(other, version.id), both(registry, version.id), strict=True)
    )
    other.close()
