from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl
import pytest

from feature_registry import Column, feature_table
from feature_registry.model import CheckResult, TableVersion
from feature_registry.registry import Registry
from feature_registry.registry.validation import rows
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop

BIG = 2**62


def checked(
    workshop: Workshop, frame: pl.DataFrame, blocking: tuple[str, ...] = (), **said: Any
) -> dict[str, CheckResult]:
    @feature_table(**SAID, blocking=blocking, **said)
    def child() -> pl.DataFrame:
        return frame

    workshop.make(child)
    return workshop.checks(f"{DATASTACK}/child@1507")


def parent(workshop: Workshop, frame: pl.DataFrame, mat_version: int | None = 1507) -> None:
    @feature_table(**SAID, versioned=mat_version is not None)
    def parents() -> pl.DataFrame:
        return frame

    workshop.make(parents, mat_version=mat_version)


@pytest.fixture(params=[rows.ROWS_PER_PASS, 2], ids=["one pass", "many passes"])
def passes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROWS_PER_PASS", request.param)


def test_the_schema_is_as_declared(workshop: Workshop) -> None:
    columns = {
        "id": Column("An id", type="int64"),
        "volume": Column("A volume", type="float64"),
        "name": Column(type="string"),
    }
    frame = pl.DataFrame({"id": [1], "volume": [1.0], "name": ["a"], "more": [1]})
    found = checked(workshop, frame, columns=columns)["schema"]
    assert (found.outcome, found.details["undeclared"]) == ("passed", ["more"])


def test_columns_that_lack_or_differ_are_named(workshop: Workshop) -> None:
    columns = {"id": Column("An id", type="uint64"), "lost": Column("Not there")}
    found = checked(
        workshop, pl.DataFrame({"id": [1]}), columns=columns, key=["gone"], references={"away": "parents.id"}
    )
    assert found["schema"].outcome == "warned"
    assert found["schema"].details["missing"] == ["lost", "gone", "away"]
    assert found["schema"].details["differing"] == {"id": "int64, declared uint64"}
    assert found["key"].details == {"missing": ["gone"]}
    assert found["references_away"].details == {"missing": ["away"]}


@pytest.mark.usefixtures("passes")
def test_a_key_that_is_one(workshop: Workshop) -> None:
    frame = pl.DataFrame({"a": [1, 1, 2, 2], "b": [1, 2, 1, 2]})
    found = checked(workshop, frame, key=["a", "b"])["key"]
    assert (found.outcome, found.details) == ("passed", {"rows": 4, "duplicates": 0, "nulls": 0})


@pytest.mark.usefixtures("passes")
def test_duplicates_and_nulls_of_a_key_are_counted(workshop: Workshop) -> None:
    frame = pl.DataFrame({"a": [BIG + 1, BIG + 1, BIG + 1, BIG + 2, None, 5], "b": [7, 7, 7, 7, 7, None]})
    found = checked(workshop, frame, key=["a", "b"])["key"]
    assert found.outcome == "warned"
    assert found.details == {"rows": 6, "duplicates": 2, "nulls": 2, "examples": [f"{BIG + 1}, 7"]}
    assert checked(workshop, frame.select("a"), key=["a"])["key"].details["duplicates"] == 2


def test_an_empty_table_has_a_key(workshop: Workshop) -> None:
    assert checked(workshop, pl.DataFrame(schema={"a": pl.Int64}), key=["a"])["key"].outcome == "passed"


@pytest.mark.usefixtures("passes")
def test_orphans_are_counted_and_shown(workshop: Workshop) -> None:
    parent(workshop, pl.DataFrame({"id": [BIG, BIG + 1, BIG + 2, None]}))
    frame = pl.DataFrame({"parent": [BIG, BIG, BIG + 3, BIG + 3, BIG + 4, None]})
    found = checked(workshop, frame, references={"parent": "parents.id"})["references_parent"]
    assert found.outcome == "warned"
    assert found.details == {
        "parent": f"{DATASTACK}/parents@1507.0",
        "rows": 5,
        "orphans": 3,
        "share": 0.6,
        "examples": [str(BIG + 3), str(BIG + 4)],
    }


@pytest.mark.usefixtures("passes")
def test_a_reference_that_holds(workshop: Workshop) -> None:
    parent(workshop, pl.DataFrame({"id": [1, 2, 3]}))
    frame = pl.DataFrame({"parent": [1, 1, 3, None]}, schema={"parent": pl.Int32})
    found = checked(workshop, frame, references={"parent": "parents.id"})["references_parent"]
    assert (found.outcome, found.details["orphans"], found.details["share"]) == ("passed", 0, 0.0)


def test_a_parent_at_another_version_excuses_nothing(workshop: Workshop) -> None:
    parent(workshop, pl.DataFrame({"id": [1]}), mat_version=507)
    found = checked(workshop, pl.DataFrame({"parent": [1]}), references={"parent": "parents.id"})["references_parent"]
    assert (found.outcome, found.details) == ("skipped", {})


def test_a_parent_without_versions_serves_all(workshop: Workshop) -> None:
    parent(workshop, pl.DataFrame({"id": [1]}), mat_version=None)
    found = checked(workshop, pl.DataFrame({"parent": [1, 2]}), references={"parent": "parents.id"})[
        "references_parent"
    ]
    assert found.details["orphans"] == 1


def test_a_parent_without_the_column_is_told(workshop: Workshop) -> None:
    parent(workshop, pl.DataFrame({"id": [1]}))
    found = checked(workshop, pl.DataFrame({"parent": [1]}), references={"parent": "parents.nucleus"})[
        "references_parent"
    ]
    assert found.outcome == "warned"
    assert "no column nucleus" in found.message


def test_a_blocking_reference_that_nobody_can_verify_fails(workshop: Workshop) -> None:
    @feature_table(**SAID, blocking=["references"], references={"parent": "parents.id"})
    def child() -> pl.DataFrame:
        return pl.DataFrame({"parent": [1]})

    result = workshop.make(child, succeeds=False)
    [evaluation] = [each for each in result.get_asset_check_evaluations() if each.check_name == "references_parent"]
    assert not evaluation.passed
    assert workshop.registry.find(DATASTACK, "child", 1507) is None


def test_declared_checks_block_and_see_what_was_returned(workshop: Workshop) -> None:
    seen: list[Any] = []

    def whole(version: TableVersion, registry: Registry, value: Any) -> CheckResult:
        """All rows are there."""
        seen.append(value)
        rows = registry.scan(version).collect().height
        return CheckResult(name="any", outcome="passed" if rows == 1 else "failed", message=f"{rows} rows")

    def unasked(version: TableVersion, registry: Registry, value: Any) -> CheckResult:
        return CheckResult(name="any", outcome="skipped", blocking=True)

    frame = pl.DataFrame({"id": [1, 2]})

    @feature_table(**SAID, checks={"whole": whole, "unasked": unasked})
    def child() -> pl.DataFrame:
        return frame

    specs = {spec.name: spec for spec in child.check_specs}
    assert (specs["whole"].blocking, specs["whole"].description) == (True, "All rows are there.")
    workshop.make(child, succeeds=False)
    version = workshop.registry.describe(f"{DATASTACK}/child@1507").version
    found = {check.name: check for check in version.checks}
    assert (found["whole"].outcome, found["whole"].blocking, found["whole"].message) == ("failed", True, "2 rows")
    assert (found["unasked"].outcome, found["unasked"].blocking) == ("skipped", False)
    assert (version.status, seen) == ("draft", [frame])

    frame = frame.head(1)
    workshop.make(child)
    assert workshop.registry.describe(f"{DATASTACK}/child@1507").version.status == "published"
    workshop.make(child, selection=dg.AssetSelection.checks_for_assets(child))
    assert seen[2] is None
