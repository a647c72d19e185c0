"""A table in several layouts, through every way of reading."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from feature_registry.client import FeatureRegistry
from feature_registry.client.text import card
from feature_registry.errors import Conflict, Invalid
from feature_registry.location import Location
from feature_registry_tests.client.conftest import Installed
from feature_registry_tests.deployment import deployed
from feature_registry_tests.registry import arranged
from feature_registry_tests.registry.arranged import LAYOUTS, POSITION, ROOT

SYNAPSES = arranged.synapses()
NAMES = [layout.name for layout in LAYOUTS]
ONE = [("post_pt_root_id", "==", ROOT + 7)]
INPUTS = SYNAPSES.filter(pl.col("post_pt_root_id") == ROOT + 7).sort("id")
TABLES = ["arranged", "arranged_delta"]


@pytest.fixture(scope="module")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    root = tmp_path_factory.mktemp("arranged")
    with deployed(root / "home", allowed_prefixes=(str(root),)) as made:
        http = made.client("minnie65_public", mat_version=1507)
        for name, format in zip(TABLES, ("parquet", "delta"), strict=True):
            place = Location(root / name)
            arranged.write(made.registry.store(place), place, format=format)
            made.registry.register(arranged.registration(place, name=name))
        yield Installed(made, http, FeatureRegistry("minnie65_public", 1507, server=made.registry))
        http.close()


@pytest.fixture(params=["http", "embedded"])
def registry(request: pytest.FixtureRequest, laid_out: Installed) -> FeatureRegistry:
    client: FeatureRegistry = getattr(laid_out, request.param)
    return client


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("layout", [None, *NAMES])
@pytest.mark.parametrize("mode", [None, "links", "urls"])
def test_every_layout_answers_the_table(registry: FeatureRegistry, table: str, layout: str | None, mode: Any) -> None:
    plan = registry[table].plan(layout=layout, mode=mode)
    assert plan.layout in ([layout] if layout else NAMES)
    found = plan.scan().collect()
    assert found.columns == SYNAPSES.columns
    assert_frame_equal(found.sort("id"), SYNAPSES.sort("id"))
    assert_frame_equal(registry[table].scan(ONE, layout=layout, mode=mode).collect().sort("id"), INPUTS)
    some = registry[table].to_polars(ONE, ["size", "id"], layout=layout, mode=mode)
    assert_frame_equal(some.sort("id"), INPUTS.select("size", "id"))


LAYOUT = st.sampled_from([None, *NAMES])
IDS = st.integers(-1, arranged.CELLS).map(lambda cell: ROOT + cell * 7)
CONDITIONS = st.one_of(
    st.tuples(st.sampled_from(["pre_pt_root_id", "post_pt_root_id"]), st.sampled_from(["==", "<", ">="]), IDS),
    st.tuples(st.sampled_from(["pre_pt_root_id", "post_pt_root_id"]), st.sampled_from(["in", "not in"]), st.lists(IDS)),
    st.tuples(st.sampled_from(POSITION), st.sampled_from(["<", ">=", "!="]), st.integers(-10, 1_010)),
    st.tuples(st.just("tag"), st.just("=="), st.sampled_from(["t0", "t1", "none"])),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(CONDITIONS, min_size=1, max_size=3), min_size=1, max_size=2), LAYOUT)
def test_whatever_is_asked_no_row_is_lost(laid_out: Installed, where: Any, layout: str | None) -> None:
    operators = {
        "==": pl.Expr.eq, "!=": pl.Expr.ne, "<": pl.Expr.lt, ">=": pl.Expr.ge, "in": pl.Expr.is_in,
        "not in": lambda column, values: column.is_in(values).not_(),
    }  # fmt: skip
    meant = pl.any_horizontal(
        pl.all_horizontal(operators[operator](pl.col(name), value) for name, operator, value in part) for part in where
    )
    found = laid_out.embedded["arranged"].scan(where, layout=layout).collect()
    assert_frame_equal(found.sort("id"), SYNAPSES.filter(meant).sort("id"))


@pytest.mark.parametrize("table", TABLES)
def test_duckdb_reads_the_layout_that_fits(laid_out: Installed, table: str) -> None:
    before = laid_out.bytes_sent()
    with laid_out.http.duckdb({table: ONE}) as connection:
        found = connection.sql(f"FROM {table} ORDER BY id").pl()
        assert "/v1/links/" in connection.sql(f"SELECT sql FROM duckdb_views() WHERE view_name = '{table}'").pl().item()
    assert_frame_equal(found, INPUTS)
    assert laid_out.bytes_sent() - before < laid_out.http[table].bytes / 20
    with laid_out.http.duckdb([table]) as connection:
        assert_frame_equal(connection.sql(f"FROM {table} ORDER BY id").pl(), SYNAPSES.sort("id"))


def test_duckdb_reads_buckets(laid_out: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    from feature_registry.client.table import Table

    plan = Table.plan
    monkeypatch.setattr(Table, "plan", lambda table, where: plan(table, where, layout="bucketed"))
    for table in TABLES:
        with laid_out.http.duckdb([table]) as connection:
            assert_frame_equal(connection.sql(f"FROM {table} ORDER BY id").pl(), SYNAPSES.sort("id"))


def test_less_is_sent_than_of_another_layout(laid_out: Installed) -> None:
    sent = {}
    for layout in (None, *NAMES):
        before = laid_out.bytes_sent()
        plan = laid_out.http["arranged"].plan(ONE, layout=layout)
        plan.scan().collect()
        sent[layout] = laid_out.bytes_sent() - before
        assert laid_out.http.spent(plan) == sent[layout] > 0
    assert sent[None] == sent["by_post"] == min(sent.values())


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("layout", [None, *NAMES])
def test_a_download_is_one_layout(registry: FeatureRegistry, table: str, layout: str | None, tmp_path: Path) -> None:
    files = registry[table].download(tmp_path / "here", ONE, progress=False, layout=layout)
    said = json.loads((tmp_path / "here" / "table.json").read_text())
    held = said["layout"]
    assert held == (layout or "by_post")
    assert said["partition_columns"] == (["post_bucket"] if held == "bucketed" else [])
    wanted = pl.col("post_pt_root_id") == ROOT + 7
    found = pl.scan_parquet(tmp_path / "here/**/*.parquet").filter(wanted).select(SYNAPSES.columns).collect()
    assert_frame_equal(found.sort("id"), INPUTS)
    query = f"SELECT id FROM '{tmp_path}/here/**/*.parquet' WHERE post_pt_root_id = {ROOT + 7} ORDER BY id"
    assert duckdb.sql(query).pl()["id"].to_list() == INPUTS["id"].to_list()
    times = {file: file.stat().st_mtime_ns for file in files}
    more = registry[table].download(tmp_path / "here", progress=False)  # goes on with the layout that it has
    assert set(files) <= set(more)
    assert {file: file.stat().st_mtime_ns for file in files} == times
    whole = pl.scan_parquet(tmp_path / "here/**/*.parquet").select(SYNAPSES.columns).collect()
    assert_frame_equal(whole.sort("id"), SYNAPSES.sort("id"))


def test_a_folder_of_another_layout_is_left_alone(registry: FeatureRegistry, tmp_path: Path) -> None:
    registry["arranged"].download(tmp_path, ONE, progress=False, layout="by_pre")
    with pytest.raises(Conflict) as wrong:
        registry["arranged"].download(tmp_path, ONE, progress=False, layout="by_post")
    assert (wrong.value.field, wrong.value.value, wrong.value.expected) == ("folder", "by_pre", "by_post")


def test_an_unknown_layout_is_named(registry: FeatureRegistry) -> None:
    with pytest.raises(Invalid) as wrong:
        registry["arranged"].scan(layout="by_size")
    assert (wrong.value.field, wrong.value.expected) == ("layout", NAMES)


def test_a_table_says_how_it_is_laid_out(registry: FeatureRegistry) -> None:
    table = registry["arranged"]
    seen = table.entry.version.inspection
    assert table.bytes == seen.bytes == sum(layout.bytes for layout in seen.layouts)
    assert list(table.schema) == SYNAPSES.columns
    text = card(table.entry)
    assert "all 4 layouts together" in text
    assert "layout: by_post: sorted by post_pt_root_id, id; " in text
    assert f"layout: by_position: sorted by the Morton code of {', '.join(POSITION)}; " in text
    assert "layout: bucketed: sorted by size; 4 buckets of post_pt_root_id (modulo); " in text
    assert "4 layouts" in repr(registry.search("arranged"))
    plan = table.plan(ONE)
    assert "\n  layout by_post: " in str(plan)
    assert "\n  layout by_pre would be " in str(plan)


def test_the_past_is_read_too(laid_out: Installed) -> None:
    past = laid_out.deployment.client("minnie65_public", mat_version=1507, as_of=datetime.now(UTC))
    assert_frame_equal(past["arranged"].scan(ONE, layout="bucketed").collect().sort("id"), INPUTS)
    past.close()
