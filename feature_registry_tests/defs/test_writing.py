from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from feature_registry import feature_table
from feature_registry.defs import writing
from feature_registry.errors import Invalid
from feature_registry.formats import delta
from feature_registry.model import HashBuckets, Layout, Search, TableVersion
from feature_registry.pruning.buckets import allowed
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop

ROWS = 5_000
RANDOM = np.random.default_rng(0)
FRAME = pl.DataFrame(
    {
        "id": np.arange(ROWS) + 2**60,
        "pre_pt_root_id": RANDOM.integers(2**59, 2**59 + 50, ROWS),
        "post_pt_root_id": RANDOM.integers(2**59, 2**59 + 50, ROWS),
        "x": RANDOM.integers(-1000, 1000, ROWS).astype(np.int32),
        "y": RANDOM.integers(-1000, 1000, ROWS).astype(np.int32),
        "z": RANDOM.integers(-1000, 1000, ROWS).astype(np.int32),
        "tag": pl.Series(RANDOM.integers(0, 3, ROWS)).replace_strict({0: "a", 1: "b", 2: None}),
        "weight": pl.Series([0.5, float("nan"), None, -0.0, 1e300] * (ROWS // 5)),
        "vector": pl.Series([[1.0, 2.0]] * ROWS, dtype=pl.Array(pl.Float32, 2)),
        "mask": pl.Series([2**63 - 1, None] * (ROWS // 2), dtype=pl.UInt64),
    }
)
BUCKETS = HashBuckets(column="post_pt_root_id", partition_column="post_bucket", transform="bucket", buckets=4)
LAYOUTS = [
    Layout(name="by_pre", sort_by=("pre_pt_root_id", "id")),
    Layout(name="by_post", sort_by=("post_pt_root_id", "id")),
    Layout(name="by_position", sort_by=("x", "y", "z"), curve="morton"),
    Layout(name="in_buckets", sort_by=("id",), hash_buckets=(BUCKETS,)),
]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables are."""
    monkeypatch.setitem(SAID, "layouts_from", 0)


def asset(value: Any = FRAME, **said: Any) -> Any:
    @feature_table(**SAID, key=["id"], **({"layouts": LAYOUTS} | said))
    def synapses() -> Any:
        return value() if callable(value) else value

    return synapses


def made(workshop: Workshop) -> TableVersion:
    return workshop.registry.describe(f"{DATASTACK}/synapses@1507").version


def stored(version: TableVersion, layout: str) -> pl.DataFrame:
    """The rows as they stand in the files, one after the other."""
    folder = Path(version.inspection.location.key) / layout
    return pl.concat(pl.read_parquet(path, hive_partitioning=False) for path in sorted(folder.rglob("*.parquet")))


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_every_layout_holds_all_rows_in_its_order(workshop: Workshop, format: str) -> None:
    workshop.make(asset(format=format, bytes_per_file=1, rows_per_group=1000))
    version = made(workshop)
    assert [layout.name for layout in version.layouts] == [layout.name for layout in LAYOUTS]
    assert [layout.files for layout in version.inspection.layouts[:3]] == [5, 5, 5]
    assert (version.status, version.inspection.rows) == ("published", ROWS)
    assert workshop.checks(f"{DATASTACK}/synapses@1507")["layouts"].message == "4 layouts hold the same 5000 rows"
    assert_frame_equal(workshop.registry.scan(version).collect().sort("id"), FRAME)
    for layout in LAYOUTS[:2]:
        found = stored(version, layout.name).select(FRAME.columns)
        assert_frame_equal(found, FRAME.sort(layout.sort_by).select(found.columns), check_dtypes=False)


@pytest.mark.usefixtures("large")
def test_buckets_are_those_that_readers_compute(workshop: Workshop) -> None:
    workshop.make(asset())
    version = made(workshop)
    assert "post_bucket" not in [field.name for field in version.inspection.fields]
    folders = list((Path(version.inspection.location.key) / "in_buckets").glob("post_bucket=*"))
    assert len(folders) == 4
    for folder in folders:
        [file] = folder.glob("*.parquet")
        values = pl.read_parquet(file, hive_partitioning=False)["post_pt_root_id"].unique().to_list()
        assert allowed(BUCKETS, values) == {int(folder.name.partition("=")[2])}


def test_a_small_table_has_the_first_layout_only(workshop: Workshop) -> None:
    workshop.make(asset())
    version = made(workshop)
    assert [layout.name for layout in version.layouts] == ["by_pre"]
    assert version.inspection.location.name == "by_pre"
    assert version.inspection.layouts == ()
    assert workshop.checks(f"{DATASTACK}/synapses@1507")["layouts"].outcome == "passed"
    assert version.status == "published"
    assert_frame_equal(workshop.registry.scan(version).collect(), FRAME.sort("pre_pt_root_id", "id"))


def test_a_sorting_is_said_as_a_layout(workshop: Workshop) -> None:
    workshop.make(asset(layouts=(), sort_by=["post_pt_root_id", "id"]))
    assert made(workshop).layouts == (Layout(name="by_post_pt_root_id", sort_by=("post_pt_root_id", "id")),)


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    "wrong",
    [
        {"sort_by": ("nothing",)},
        {"sort_by": ("vector",)},
        {"sort_by": ("x", "weight"), "curve": "morton"},
        {"hash_buckets": (BUCKETS.model_copy(update={"column": "nothing"}),)},
        {"hash_buckets": (BUCKETS.model_copy(update={"column": "weight"}),)},
        {"hash_buckets": (BUCKETS.model_copy(update={"partition_column": "ID"}),)},
    ],
)
def test_what_the_table_lacks_is_said_before_anything_is_written(workshop: Workshop, wrong: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        workshop.make(asset(layouts=[*LAYOUTS, Layout(name="wrong", **wrong)]))
    assert workshop.files() == []


@pytest.mark.usefixtures("large")
def test_a_layout_that_fails_leaves_nothing(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    write = delta.TableFormat.write

    def failing(self: Any, store: Any, location: Any, *rest: Any) -> Any:
        if location.name == "by_position":
            assert len(workshop.files()) > 2
            raise RuntimeError("the disk broke")
        return write(self, store, location, *rest)

    monkeypatch.setattr(delta.TableFormat, "write", failing)
    workshop.make(asset(), succeeds=False)
    assert workshop.files() == []
    assert not workshop.registry.search(Search(datastack=DATASTACK, status="draft")).entries


@pytest.mark.usefixtures("large")
def test_layouts_that_differ_in_one_value_are_told_apart(workshop: Workshop) -> None:
    workshop.make(asset(format="parquet"))
    version = made(workshop)
    [path] = (Path(version.inspection.location.key) / "by_post").glob("*.parquet")
    table = pq.read_table(path)
    changed = pc.if_else(pc.equal(table["id"], 2**60 + 7), 2**60 + ROWS, table["id"])
    pq.write_table(table.set_column(0, table.schema.field("id"), changed), path)
    result = writing.same_rows(version, workshop.registry, None)
    assert (result.outcome, result.message) == ("failed", "by_post hold other rows than by_pre")


@pytest.mark.usefixtures("large")
def test_rows_may_bring_their_layouts(workshop: Workshop) -> None:
    class Brought:
        reader = FRAME.to_arrow().to_reader()
        layouts = tuple(LAYOUTS[:2])

    workshop.make(asset(Brought, layouts=()))
    assert [layout.name for layout in made(workshop).inspection.layouts] == ["by_pre", "by_post"]
