"""Joins, over HTTP and embedded, against a brute-force join of the same rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_registry.client import FeatureRegistry
from feature_registry.errors import Invalid
from feature_registry.model import Datastack, MaterializationVersion
from feature_registry_tests.deployment import Deployment, deployed

ROOT = 864691135000000000  # beyond 2^53: neighbours are equal as floats
CORTEX, ATLAS, PUBLIC, ELSEWHERE, UNKNOWN = "cortex", "atlas", "cortex_public", "fly", "nobody_knows"
VOLUMES = {CORTEX: "minnie65", ATLAS: "minnie65", PUBLIC: "minnie65", ELSEWHERE: "fafb", UNKNOWN: None}
SAID: dict[str, Any] = {"description": "Made for tests.", "owner": "tests", "license": "CC-BY-4.0", "publish": True}
ROOT_ID = {"kind": {"kind": "segmentation_node", "level": "root_id"}}
SUPERVOXEL = {"kind": {"kind": "segmentation_node", "level": "supervoxel_id"}}

SYNAPSES = pl.DataFrame(
    {
        "id": [ROOT + number for number in range(40)],
        "post_pt_root_id": [ROOT + number % 7 for number in range(40)],
        "supervoxel_id": [ROOT + 100 + number for number in range(40)],
        "size": [number % 9 for number in range(40)],
    }
)
# Every third synapse has a distance, one has two; one id is of no synapse, one is beyond int64, one is null.
DISTANCES = pl.DataFrame(
    {
        "id": [*(ROOT + number for number in range(0, 40, 3)), ROOT, ROOT + 1000, 2**64 - 1, None],
        "distance": [float(number) for number in range(18)],
        "size": list(range(18)),
    },
    schema_overrides={"id": pl.UInt64},
)
CELLS = pl.DataFrame({"root_id": [ROOT + number for number in range(5)], "cell_type": ["23P", "BC", "MC", "23P", None]})
NUMBERED = pl.DataFrame({"synapse": SYNAPSES["id"], "supervoxel": SYNAPSES["supervoxel_id"], "rank": range(40)})


def brute(left: pl.DataFrame, right: pl.DataFrame, on: tuple[str, str], how: str = "left") -> list[tuple[Any, ...]]:
    """Every row of the left with every row of the right whose key is the same integer."""
    others = [name for name in right.columns if name != on[1]]
    rows: list[tuple[Any, ...]] = []
    for row in left.rows(named=True):
        key = row[on[0]]
        equal = [each for each in right.rows(named=True) if key is not None and each[on[1]] == key]
        missing = [dict.fromkeys(others)] if how == "left" else []
        rows += [(*row.values(), *(each[name] for name in others)) for each in equal or missing]
    return ordered(rows)


def ordered(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)


def answer(frame: pl.LazyFrame) -> list[tuple[Any, ...]]:
    return ordered(frame.collect().rows())


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    root = tmp_path_factory.mktemp("joins")
    with deployed(root / "home", allowed_prefixes=(str(root),)) as made:
        for name, volume in VOLUMES.items():
            made.registry.record_datastack(Datastack(name=name, aligned_volume=volume))
        at = {"mat_version": 1507, "time_stamp": "2024-01-01T00:00:00Z"}
        made.registry.record_versions([MaterializationVersion(datastack=PUBLIC, parent=CORTEX, **at)])
        registry = FeatureRegistry(CORTEX, 1507, server=made.registry)
        for name, frame, fields in tables():
            place = root / f"{name}{len(list(root.iterdir()))}.parquet"
            frame.write_parquet(place)
            registry.register(place, name, **SAID, **fields)
        yield made


def tables() -> Iterator[tuple[str, pl.DataFrame, dict[str, Any]]]:
    id = {"kind": {"kind": "id", "table": "synapses"}}
    meant = {"columns": {"id": id, "post_pt_root_id": ROOT_ID, "supervoxel_id": SUPERVOXEL}, "key": ["id"]}
    yield "synapses", SYNAPSES, meant
    yield "synapses", SYNAPSES.head(20), {**meant, "mat_version": 1412}
    yield "synapses", SYNAPSES.head(10), {**meant, "mat_version": None}
    yield "synapses", SYNAPSES, {**meant, "datastack": ATLAS}
    yield "distances", DISTANCES, {"references": {"id": "synapses.id"}}
    yield "distances", DISTANCES, {"references": {"id": "synapses.id"}, "mat_version": 1412}
    yield "distances", DISTANCES, {"mat_version": None}
    yield "distances", DISTANCES, {"references": {"id": f"{CORTEX}/synapses.id"}, "datastack": PUBLIC}
    yield "sizes", DISTANCES.drop("size"), {"references": {"id": "synapses.id"}}
    for version in (1507, 1412):
        yield "numbered", NUMBERED, {"columns": {"synapse": id, "supervoxel": SUPERVOXEL}, "mat_version": version}
        yield "cells", CELLS, {"columns": {"root_id": ROOT_ID}, "mat_version": version}
        yield "unsaid", CELLS.rename({"root_id": "post_pt_root_id"}), {"mat_version": version}
    yield "pairs", SYNAPSES.select(pre="id", post="id"), {"references": {"pre": "synapses.id", "post": "synapses.id"}}
    for datastack in (ELSEWHERE, UNKNOWN):
        yield "distances", DISTANCES, {"references": {"id": f"{CORTEX}/synapses.id"}, "datastack": datastack}


@pytest.fixture(params=["http", "embedded"])
def registry(request: pytest.FixtureRequest, laboratory: Deployment) -> FeatureRegistry:
    server: Any = laboratory.settings.api_address if request.param == "http" else laboratory.registry
    return FeatureRegistry(CORTEX, 1507, server=server)


# ----------------------------------------------------------------------------------------------------- by reference


@pytest.mark.row("M14")
@pytest.mark.parametrize("how", ["left", "inner"])
def test_a_declared_reference_joins_by_itself(registry: FeatureRegistry, how: Any) -> None:
    frame = registry.join("synapses", "distances", how=how)
    assert frame.collect_schema() == {**SYNAPSES.schema, "distance": pl.Float64, "size_distances": pl.Int64}
    assert answer(frame) == brute(SYNAPSES, DISTANCES, ("id", "id"), how)


@pytest.mark.row("M14")
def test_the_reference_may_be_on_either_side(registry: FeatureRegistry) -> None:
    frame = registry.table("distances").join("synapses", how="inner")
    assert frame.collect_schema()["id"] == pl.UInt64
    assert answer(frame) == brute(DISTANCES, SYNAPSES, ("id", "id"), "inner")


@pytest.mark.row("M14")
def test_two_tables_that_reference_the_same_column_are_joined_by_it(registry: FeatureRegistry) -> None:
    found = registry.join("distances", "sizes", how="inner")
    assert answer(found) == brute(DISTANCES, DISTANCES.drop("size"), ("id", "id"), "inner")


@pytest.mark.row("M14")
def test_several_tables_join_in_one_line(registry: FeatureRegistry) -> None:
    frame = registry.join("synapses", "distances", "sizes", where=[("post_pt_root_id", "in", [ROOT, ROOT + 1])])
    some = SYNAPSES.filter(pl.col("post_pt_root_id").is_in([ROOT, ROOT + 1]))
    once = pl.DataFrame(brute(some, DISTANCES, ("id", "id")), schema=[*"abcdef"], orient="row")
    assert answer(frame) == brute(once, DISTANCES.drop("size"), ("a", "id"))
    assert frame.collect_schema().names()[-3:] == ["distance", "size_distances", "distance_sizes"]


@pytest.mark.row("M14")
def test_what_is_ambiguous_or_not_declared_says_what_there_is(registry: FeatureRegistry) -> None:
    with pytest.raises(Invalid, match="several ways") as several:
        registry.join("synapses", "pairs")
    assert "{'id': 'pre'}" in str(several.value)
    assert "{'id': 'post'}" in str(several.value)
    with pytest.raises(Invalid, match="no declared reference") as none:
        registry.join("synapses", "unsaid")
    assert "{'post_pt_root_id': 'post_pt_root_id'}" in str(none.value)
    left = registry.join("synapses", "pairs", on={"id": "post"}, columns=["id", "pre"])
    assert answer(left) == [(each, each) for each in SYNAPSES["id"]]


# ------------------------------------------------------------------------------------------------------ by columns


def test_columns_are_those_of_the_answer_and_only_they_are_read(registry: FeatureRegistry) -> None:
    frame = registry.join("synapses", "cells", on={"post_pt_root_id": "root_id"}, columns=["cell_type", "size"])
    assert frame.collect_schema().names() == ["cell_type", "size"]
    whole = brute(SYNAPSES, CELLS, ("post_pt_root_id", "root_id"))
    assert answer(frame) == ordered([(row[4], row[3]) for row in whole])
    with pytest.raises(Invalid, match="no column of the join"):
        registry.join("synapses", "distances", columns=["id", "nothing"])


@pytest.mark.parametrize(
    "where", [("post_pt_root_id", "==", ROOT + 3), ("post_pt_root_id", "not in", [ROOT, ROOT + 1])]
)
def test_conditions_on_the_key_are_passed_on(laboratory: Deployment, where: Any, monkeypatch: Any) -> None:
    """So that of the other table, too, only files are granted that can hold such rows."""
    asked = []
    planned = type(laboratory.registry).plan
    monkeypatch.setattr(
        type(laboratory.registry), "plan", lambda self, request: (asked.append(request), planned(self, request))[1]
    )
    registry = FeatureRegistry(CORTEX, 1507, server=laboratory.registry)
    frame = registry.join("synapses", "cells", on={"post_pt_root_id": "root_id"}, where=[where, ("size", "<", 8)])
    assert [len(request.where[0]) for request in asked] == [2, 1]
    assert asked[1].where[0][0][0] == "root_id"
    some = [row for row in brute(SYNAPSES, CELLS, ("post_pt_root_id", "root_id")) if row[3] < 8]
    some = [row for row in some if (row[1] == ROOT + 3 if where[1] == "==" else row[1] not in (ROOT, ROOT + 1))]
    assert answer(frame) == some


@pytest.mark.parametrize(
    "where",
    [
        [[("size", "==", 1)], [("post_pt_root_id", "==", ROOT)]],
        pl.col("size") == 1,
        [pl.col("post_pt_root_id") == ROOT],
        [],
        [[("post_pt_root_id", "==", ROOT)]],
    ],
)
def test_a_filter_of_any_form_keeps_the_others_rows(registry: FeatureRegistry, where: Any) -> None:
    some = registry.table("synapses").to_polars(where)
    frame = registry.join("synapses", "cells", on={"post_pt_root_id": "root_id"}, where=where)
    assert answer(frame) == brute(some, CELLS, ("post_pt_root_id", "root_id"))


@pytest.mark.parametrize(
    ("on", "field"),
    [("nothing", "on"), ({"id": "nothing"}, "on"), ([], "on"), ({"post_pt_root_id": "cell_type"}, "on")],
)
def test_columns_that_cannot_meet_are_refused(registry: FeatureRegistry, on: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        registry.join("synapses", "cells", on=on)
    assert refused.value.field == field
    with pytest.raises(Invalid, match="no join"):
        registry.join("synapses", "distances", how="cross")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ across versions


@pytest.mark.row("M8")
@pytest.mark.parametrize("version", [1412, "unversioned"])
def test_annotation_ids_join_across_versions_and_the_columns_say_so(registry: FeatureRegistry, version: Any) -> None:
    frame = registry.join("synapses", f"distances@{version}")
    assert frame.collect_schema().names() == [*SYNAPSES.columns, f"distance@{version}", f"size@{version}"]
    assert answer(frame) == brute(SYNAPSES, DISTANCES, ("id", "id"))


@pytest.mark.row("M8")
def test_declared_kinds_of_either_side_decide(registry: FeatureRegistry) -> None:
    by_kind = registry.join("synapses", "numbered@1412", on={"id": "synapse"}, columns=["id", "rank@1412"])
    assert answer(by_kind) == ordered(list(zip(SYNAPSES["id"], range(40), strict=True)))
    stable = registry.join("synapses", "numbered@1412", on={"supervoxel_id": "supervoxel"}, columns=["id", "rank@1412"])
    assert answer(stable) == ordered(list(zip(SYNAPSES["id"], range(40), strict=True)))


@pytest.mark.row("M8")
@pytest.mark.parametrize("other", ["cells@1412", "unsaid@1412"])
def test_root_ids_do_not_join_across_versions_unless_said(registry: FeatureRegistry, other: str) -> None:
    name = "root_id" if other.startswith("cells") else "post_pt_root_id"
    on = {"post_pt_root_id": name}
    with pytest.raises(Invalid, match="belongs to one materialization version") as refused:
        registry.join("synapses", other, on=on)
    assert "across_versions" in str(refused.value)
    frame = registry.join("synapses", other, on=on, across_versions=True)
    assert "cell_type@1412" in frame.collect_schema()
    assert answer(frame) == brute(SYNAPSES, CELLS, ("post_pt_root_id", "root_id"))


@pytest.mark.row("M8")
def test_what_is_not_declared_does_not_join_across_versions(registry: FeatureRegistry) -> None:
    with pytest.raises(Invalid, match="not declared"):
        registry.join("unsaid", "unsaid@1412", on="post_pt_root_id")
    registry.join("unsaid", "unsaid@1412", on="post_pt_root_id", across_versions=True)


@pytest.mark.row("M8")
def test_two_versions_of_a_table_join_by_its_key(registry: FeatureRegistry) -> None:
    frame = registry.join("synapses", "synapses@1412", how="inner", columns=["id", "size", "size@1412"])
    assert answer(frame) == ordered([(id, size, size) for id, _, _, size in SYNAPSES.head(20).rows()])


# -------------------------------------------------------------------------------------------------- across volumes


@pytest.mark.row("M6")
def test_two_datastacks_of_one_volume_are_joined(registry: FeatureRegistry) -> None:
    """A virtual version is the version of its parent; another datastack's version is not, whatever its number."""
    view = registry.join("synapses", f"{PUBLIC}/distances@1507")
    assert answer(view) == brute(SYNAPSES, DISTANCES, ("id", "id"))
    assert "distance" in view.collect_schema()
    foreign = registry.join("numbered", f"{ATLAS}/synapses@1507", on={"synapse": "id"})
    assert f"size@{ATLAS}@1507" in foreign.collect_schema()
    with pytest.raises(Invalid, match="belongs to one materialization version"):
        registry.join("cells", f"{ATLAS}/synapses@1507", on={"root_id": "post_pt_root_id"})


@pytest.mark.row("M6")
@pytest.mark.parametrize(("datastack", "why"), [(ELSEWHERE, "different aligned volumes"), (UNKNOWN, "not known")])
def test_two_volumes_are_not_joined_unless_said(registry: FeatureRegistry, datastack: str, why: str) -> None:
    other = f"{datastack}/distances@1507"
    for attempt in (
        lambda: registry.join("synapses", other),
        lambda: registry.table("synapses").join(other),
        lambda: registry.duckdb(["synapses", other]),
    ):
        with pytest.raises(Invalid, match=why) as refused:
            attempt()
        assert refused.value.value == {CORTEX: "minnie65", datastack: VOLUMES[datastack]}
        assert "across_volumes=True" in str(refused.value)
    frame = registry.join("synapses", other, across_volumes=True)
    assert answer(frame) == brute(SYNAPSES, DISTANCES, ("id", "id"))
    with registry.duckdb(["synapses", other], across_volumes=True) as connection:
        query = "SELECT count(*) FROM synapses JOIN distances ON synapses.id = distances.id"
        assert connection.sql(query).fetchall() == [(len(brute(SYNAPSES, DISTANCES, ("id", "id"), "inner")),)]


@pytest.mark.row("M8")
def test_views_say_of_which_version_they_are(registry: FeatureRegistry) -> None:
    with registry.duckdb(["synapses", "distances@1412"]) as connection:
        connection.sql("SELECT count(*) FROM distances")
        said = connection.sql("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall()
    assert dict(said) == {"synapses": f"{CORTEX}/synapses@1507.0", "distances": f"{CORTEX}/distances@1412.0"}


def test_nothing_is_granted_for_a_join_that_is_refused(laboratory: Deployment, tmp_path: Path) -> None:
    registry = FeatureRegistry(CORTEX, 1507, server=laboratory.registry)
    with laboratory.registry.database.read() as connection:
        before = connection.exec_driver_sql("SELECT count(*) FROM grants").scalar()
    with pytest.raises(Invalid):
        registry.join("synapses", "cells@1412", on={"post_pt_root_id": "root_id"})
    with laboratory.registry.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM grants").scalar() == before
