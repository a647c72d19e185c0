from __future__ import annotations

import sys
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from feature_registry.client import FeatureRegistry
from feature_registry.errors import Invalid, NotFound
from feature_registry_tests.client import tables
from feature_registry_tests.client.conftest import Installed
from feature_registry_tests.client.tables import ROOT

col = pl.col
SYNAPSES = tables.synapses()


def test_a_table_says_what_it_is(registry: FeatureRegistry) -> None:
    table = registry["synapses"]
    assert table.ref == f"{tables.DATASTACK}/synapses@{tables.MAT_VERSION}.0"
    assert table.rows == tables.SYNAPSES
    assert table.schema == SYNAPSES.schema
    assert list(table.columns) == SYNAPSES.columns
    assert "Made for tests." in repr(table)
    assert "CC-BY-4.0" in repr(table)


def test_references_may_be_whole(registry: FeatureRegistry) -> None:
    assert registry.table(f"{tables.DATASTACK}/synapses@1507").ref == registry["synapses@1507.0"].ref
    with pytest.raises(NotFound):
        _ = registry["synapses@3"].entry
    with pytest.raises(NotFound):
        _ = registry["no_such_table"].entry
    with pytest.raises(Invalid):
        registry.table("a b")


def test_a_scan_is_the_table(registry: FeatureRegistry) -> None:
    assert_frame_equal(registry["synapses"].scan().collect(), SYNAPSES)


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ([("post_pt_root_id", "==", ROOT + 3)], col("post_pt_root_id") == ROOT + 3),
        ([("post_pt_root_id", "in", [ROOT + 3, ROOT + 99])], col("post_pt_root_id").is_in([ROOT + 3, ROOT + 99])),
        ([("size", ">", 500), ("cell_type", "==", "BC")], (col("size") > 500) & (col("cell_type") == "BC")),
        ([[("size", "<", 5)], [("score", ">", 0.95)]], (col("size") < 5) | (col("score") > 0.95)),
        ([("created", "<", "2024-01-01T00:01:00Z")], col("created").dt.epoch("s") < 1704067260),
        (col("id") % 2 == 0, col("id") % 2 == 0),
        ((col("post_pt_root_id") == ROOT + 3) & (col("size") % 2 == 0), None),
        (col("target_id").is_null(), None),
        ([("id", "in", [])], pl.lit(False)),
    ],
)
def test_a_filtered_scan_has_the_matching_rows(registry: FeatureRegistry, where: Any, meant: pl.Expr | None) -> None:
    expected = SYNAPSES.filter(where if meant is None else meant)
    assert_frame_equal(registry["synapses"].scan(where).collect(), expected)


def test_columns_are_chosen_after_the_filter(registry: FeatureRegistry) -> None:
    found = registry["synapses"].scan([("size", ">", 990)], columns=["id"]).collect()
    assert_frame_equal(found, SYNAPSES.filter(col("size") > 990).select("id"))


@pytest.mark.parametrize("name", ["segclr", "parted"])
def test_direct_urls_say_their_partitions_too_or_are_refused(registry: FeatureRegistry, name: str) -> None:
    by = ["root_id", "bucket", "region"]
    found = registry[name].to_polars([("region", "==", "V1")], mode="urls").select(by).sort(by)
    assert_frame_equal(found, tables.segclr().filter(col("region") == "V1").select(by).sort(by))
    with pytest.raises(Invalid) as wrong:
        registry[name].scan([("region", "==", "a b/ü=1")], mode="urls")
    assert (wrong.value.field, wrong.value.expected) == ("mode", "links")


def test_a_plan_prunes_and_says_so(installed: Installed) -> None:
    plan = installed.http["synapses"].plan([("post_pt_root_id", "==", ROOT + 3)], columns=["id"])
    assert (plan.cost.files, plan.cost.files_total) == (1, 4)
    assert plan.cost.bytes < plan.cost.bytes_total
    assert "1 of 4 files" in str(plan)
    assert "/v1/links/" not in repr(plan)
    assert len(plan.urls) == 1
    assert plan.scan().collect().height == tables.SYNAPSES // tables.CELLS


def test_an_expression_prunes_too(installed: Installed) -> None:
    plan = installed.http["synapses"].plan((col("post_pt_root_id") == ROOT + 99) & (col("size") % 2 == 0))
    assert plan.cost.files == 1
    assert plan.scan().collect().height == tables.SYNAPSES // tables.CELLS // 2


def test_a_plan_without_files_is_an_empty_table(registry: FeatureRegistry) -> None:
    plan = registry["synapses"].plan([("post_pt_root_id", "==", 5)])
    assert plan.cost.files == 0
    assert_frame_equal(plan.scan().collect(), SYNAPSES.clear())


def test_a_dry_run_grants_nothing(registry: FeatureRegistry) -> None:
    plan = registry["synapses"].plan(dry_run=True)
    assert plan.grant is None
    assert registry.spent(plan) == 0
    with pytest.raises(Invalid):
        plan.scan()


def test_what_was_read_is_charged_and_was_sent(installed: Installed) -> None:
    before = installed.bytes_sent()
    plan = installed.http["synapses"].plan([("post_pt_root_id", "==", ROOT + 3)], columns=["size"])
    plan.scan().collect()
    sent = installed.bytes_sent() - before
    assert 0 < sent == installed.http.spent(plan)


def test_a_million_ids(installed: Installed) -> None:
    ids = pl.int_range(ROOT, ROOT + 7_000_000, 7, eager=True)
    found = installed.http["synapses"].scan([("id", "in", ids)], columns=["id"]).collect()
    assert_frame_equal(found, SYNAPSES.select("id"))


@pytest.mark.parametrize("name", ["segclr", "parted"])
def test_partition_columns_come_from_the_paths(registry: FeatureRegistry, name: str) -> None:
    table = registry[name]
    by = ["root_id", "embedding"]
    expected = tables.segclr().cast({"embedding": table.schema["embedding"]}).sort(by)
    found = table.scan().collect()
    assert_frame_equal(found.select(expected.columns).sort(by), expected)
    plan = table.plan([("bucket", "==", 2)])
    assert plan.cost.files < plan.cost.files_total
    assert_frame_equal(plan.scan().collect().select(by).sort(by), expected.filter(col("bucket") == 2).select(by))
    awkward = table.scan([("region", "==", "a b/ü=1")]).collect()
    assert awkward.height == expected.filter(col("region") == "a b/ü=1").height > 0


@pytest.mark.parametrize("where", [[("root_id", ">", 5)], col("root_id") > pl.lit(5, dtype=pl.UInt64)])
def test_logical_types_come_back(registry: FeatureRegistry, where: Any) -> None:
    found = registry["logical"].scan(where).collect()
    assert found.schema == registry["logical"].schema == {"root_id": pl.UInt64}
    assert found["root_id"].sort().to_list() == [ROOT, 2**63 - 1]
    assert registry["logical"].scan([("root_id", "in", [2**64 - 1])]).collect().height == 0


def test_older_files_of_an_evolved_table_lack_a_column(registry: FeatureRegistry) -> None:
    assert_frame_equal(registry["evolved"].scan().collect().sort("id"), tables.evolved())


def test_unsigned_ids_stay_whole(registry: FeatureRegistry) -> None:
    found = registry["flywire"].scan([("root_id", ">=", 2**63)]).collect()
    assert found["root_id"].to_list() == [2**64 - 1, 2**63]
    assert found.schema == {"root_id": pl.UInt64}


def test_an_empty_table(registry: FeatureRegistry) -> None:
    assert_frame_equal(registry["nothing"].scan().collect(), pl.DataFrame({"id": []}, schema={"id": pl.Int64}))


@pytest.mark.parametrize("columns", [["nowhere"], ["id", "id"], []])
def test_columns_that_are_none(registry: FeatureRegistry, columns: list[str]) -> None:
    with pytest.raises(Invalid) as wrong:
        registry["synapses"].scan(columns=columns)
    assert wrong.value.field == "columns"


def test_hours_are_checked(registry: FeatureRegistry) -> None:
    with pytest.raises(Invalid) as wrong:
        registry["synapses"].plan(hours=-1)
    assert wrong.value.field == "hours"


def test_pandas_keeps_ids_with_nulls_as_integers(registry: FeatureRegistry) -> None:
    frame = registry["synapses"].to_pandas([("post_pt_root_id", "==", ROOT)])
    expected = SYNAPSES.filter(col("post_pt_root_id") == ROOT)
    assert str(frame["target_id"].dtype) == "Int64"
    assert str(frame["id"].dtype) == "int64"
    assert frame["target_id"].isna().sum() == expected["target_id"].null_count() > 0
    assert frame["target_id"].dropna().tolist() == expected["target_id"].drop_nulls().to_list()


def test_arrow(registry: FeatureRegistry) -> None:
    found = registry["synapses"].to_arrow(columns=["id", "size"])
    assert found.num_rows == tables.SYNAPSES
    assert found.column_names == ["id", "size"]


@pytest.mark.parametrize("package", ["pandas", "pyarrow"])
def test_a_missing_pandas_is_named(registry: FeatureRegistry, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"feature-registry\[pandas\]"):
        registry["order"].to_pandas()


def test_batches_are_even_and_complete(registry: FeatureRegistry) -> None:
    batches = list(registry["synapses"].batches(columns=["id", "size"], rows=3_000))
    assert [batch.height for batch in batches] == [3_000] * 6 + [2_000]
    assert_frame_equal(pl.concat(batches), SYNAPSES.select("id", "size"))


def test_batches_with_a_seed_are_shuffled_the_same_way_each_time(registry: FeatureRegistry) -> None:
    def ids(seed: int) -> list[int]:
        return pl.concat(registry["synapses"].batches(columns=["id"], rows=3_000, seed=seed))["id"].to_list()

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    assert sorted(ids(1)) == SYNAPSES["id"].to_list()


def test_batches_may_be_left(registry: FeatureRegistry) -> None:
    first = next(registry["synapses"].batches(rows=100))
    assert first.height == 100


def test_batches_of_no_rows(registry: FeatureRegistry) -> None:
    assert list(registry["nothing"].batches()) == []
    with pytest.raises(Invalid):
        registry["synapses"].batches(rows=0)


def test_a_plan_has_its_whole_predicate(registry: FeatureRegistry) -> None:
    ids = list(range(ROOT, ROOT + 20_000))
    plan = registry["synapses"].plan([("id", "in", ids)])
    assert plan.where == ((("id", "in", tuple(ids)),),)
    assert plan.scan().collect().height == len(SYNAPSES.filter(col("id").is_in(ids)))
