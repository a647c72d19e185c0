from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_registry.errors import Exhausted, Invalid
from feature_registry.location import Location
from feature_registry.model import Plan, PlanRequest
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.registry import arranged
from feature_registry_tests.registry.arranged import LAYOUTS, POSITION, ROOT

BOX = [(name, operator, value) for name in POSITION for operator, value in ((">=", 300), ("<", 500))]
ONE_INPUT = [("post_pt_root_id", "==", ROOT + 7)]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    home = tmp_path_factory.mktemp("arranged")
    found = Registry(Settings(home=home / "home", budget_bytes=10_000_000))
    place = Location(home / "table")
    arranged.write(found.store(place), place)
    found.register(arranged.registration(place))
    yield found
    found.close()


def plan(registry: Registry, where: Any, **options: Any) -> Plan:
    request = {"table": "minnie65_public/arranged@1507", "where": where, "dry_run": True, "mode": "direct"}
    return registry.plan(PlanRequest.checked(request | options))


@pytest.mark.parametrize(
    ("where", "layout"),
    [
        (ONE_INPUT, "by_post"),
        ([("post_pt_root_id", "in", [ROOT + 7, ROOT + 70])], "by_post"),
        ([("pre_pt_root_id", "==", ROOT + 7)], "by_pre"),
        ([*ONE_INPUT, ("pre_pt_root_id", "<", ROOT + 50)], "by_post"),
        ([*ONE_INPUT, ("id", "==", ROOT + 3)], "by_post"),
        (BOX, "by_position"),
        ([("size", "<", 100)], "bucketed"),
    ],
)
def test_the_layout_that_fits_is_read(registry: Registry, where: Any, layout: str) -> None:
    made = plan(registry, where)
    assert made.layout == layout
    assert all(file.path.startswith(f"{layout}/") for file in made.files)
    assert made.why[0].startswith(f"layout {layout}: ")
    others = [each.name for each in LAYOUTS if each.name != layout]
    assert [line.split()[1] for line in made.why[1:4]] == others
    whole = made.entry.version.inspection.of_layout(layout)
    assert (made.cost.files_total, made.cost.bytes_total) == (whole.files, whole.bytes)
    assert made.cost.rows_total == arranged.ROWS
    assert made.cost.bytes == sum(file.size for file in made.files) < whole.bytes


def test_a_bucket_is_read_where_nothing_else_knows_the_id(tmp_path: Path) -> None:
    registry, place = Registry(Settings(home=tmp_path / "home")), Location(tmp_path / "table")
    layouts = (LAYOUTS[0], LAYOUTS[3])
    arranged.write(registry.store(place), place, layouts)
    registry.register(arranged.registration(place, layouts))
    made = plan(registry, ONE_INPUT)
    assert made.layout == "bucketed"
    assert {Path(file.path).parts[1] for file in made.files} == {f"post_bucket={(ROOT + 7) % arranged.BUCKETS}"}
    assert any("hash buckets of post_pt_root_id" in line for line in made.why)
    registry.close()


@pytest.mark.parametrize("layout", [each.name for each in LAYOUTS])
def test_a_layout_can_be_asked_for(registry: Registry, layout: str) -> None:
    made = plan(registry, ONE_INPUT, layout=layout, dry_run=False)
    assert made.layout == layout
    assert made.why[0].startswith(f"layout {layout} was asked for: ")
    files = [str(file.url) for file in made.files]
    found = pl.concat(pl.read_parquet(file, hive_partitioning=False) for file in files)
    expected = arranged.synapses().filter(pl.col("post_pt_root_id") == ROOT + 7)["id"]
    wanted = found.filter(pl.col("post_pt_root_id") == ROOT + 7)["id"]
    assert wanted.sort().to_list() == expected.sort().to_list()
    assert made.grant is not None
    assert made.grant.reserved == made.cost.bytes == sum(Path(file).stat().st_size for file in files)


def test_an_unknown_layout_is_named(registry: Registry) -> None:
    with pytest.raises(Invalid) as wrong:
        plan(registry, [], layout="by_size")
    assert (wrong.value.field, wrong.value.value) == ("layout", "by_size")
    assert wrong.value.expected == [each.name for each in LAYOUTS]


def test_a_layouts_own_column_is_no_column_of_the_table(registry: Registry) -> None:
    for options in ({"where": [("post_bucket", "==", 1)]}, {"where": [], "columns": ["post_bucket"]}):
        with pytest.raises(Invalid) as wrong:
            plan(registry, **options, layout="bucketed")
        assert "post_bucket" in str(wrong.value)


def test_the_budget_is_asked_for_the_files_of_the_layout(registry: Registry) -> None:
    before = plan(registry, ONE_INPUT).cost.budget_left
    made = plan(registry, ONE_INPUT, dry_run=False)
    assert before is not None
    assert made.cost.budget_left == before - made.cost.bytes
    poor = Registry(registry.settings.model_copy(update={"budget_bytes": 10_000_000 - before + 2 * made.cost.bytes}))
    with pytest.raises(Exhausted):
        plan(poor, ONE_INPUT, layout="by_pre", dry_run=False)
    assert plan(poor, ONE_INPUT, dry_run=False).layout == "by_post"
    poor.close()


def test_what_is_not_known_of_row_groups_is_read_whole(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.access, "_groups", lambda _: None)
    made = plan(registry, ONE_INPUT)
    assert made.layout == "by_post"
    assert made.why[0] == f"layout by_post: {made.cost.bytes:,} of {made.cost.bytes:,} bytes in 1 of 5 files"


def test_the_only_layout_may_be_named(tmp_path: Path) -> None:
    registry, place = Registry(Settings(home=tmp_path / "home")), Location(tmp_path / "table")
    arranged.write(registry.store(place), place, (LAYOUTS[3],))
    registry.register(arranged.registration(place.joined("bucketed"), (LAYOUTS[3],), name="single"))
    table = "minnie65_public/single@1507"
    made = plan(registry, ONE_INPUT, table=table, layout="bucketed")
    assert made.layout is None
    assert made.cost.files < made.cost.files_total  # what the layout says of its buckets counts
    assert made.why == plan(registry, ONE_INPUT, table=table).why
    with pytest.raises(Invalid) as wrong:
        plan(registry, ONE_INPUT, table=table, layout="by_pre")
    assert wrong.value.expected == ["bucketed"]
    registry.close()
