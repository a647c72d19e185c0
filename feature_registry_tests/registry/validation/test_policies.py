"""What a failed check does, by the policies of the datastack."""

from __future__ import annotations

import polars as pl
import pytest

from feature_registry.errors import Conflict, Invalid
from feature_registry.model import Column, Registration
from feature_registry.registry import validation
from feature_registry_tests.registry.validation.conftest import Outside, check

ROWS = pl.DataFrame({"id": [2**60, 2**60 + 1, 2**60 + 1], "size": [1.0, 2.0, 3.0]})
WRONG = {"columns": {"size": Column(type="float32"), "gone": Column()}}


def test_a_report_has_every_check_by_name_with_an_outcome_and_why(outside: Outside) -> None:
    report = outside.register(ROWS, key=["id"])
    found = {each.name: each.outcome for each in report.checks}
    assert found == {
        "exists": "passed",
        "format": "passed",
        "schema": "passed",
        "location": "passed",
        "schema_change": "skipped",
        "key": "warned",
        "mat_version": "skipped",
        "name": "passed",
        "world_readable": "passed",
        "type_traps": "passed",
        "license": "passed",
    }
    assert all(each.message for each in report.checks if each.outcome != "passed")
    assert outside.registry.describe("d/t@7").version.checks == report.checks


def test_every_default_is_an_action_with_a_reason() -> None:
    assert {action for action, _ in validation.DEFAULTS.values()} == {"enforce", "warn"}
    assert all(reason for _, reason in validation.DEFAULTS.values())


@pytest.mark.row("D2")
def test_a_schema_that_is_not_declared_is_filled_from_the_data(outside: Outside) -> None:
    report = outside.register(ROWS)
    assert check(report, "schema").message == "2 columns filled from the data"
    assert [field.type for field in report.entry.version.inspection.fields] == ["int64", "double"]


@pytest.mark.row("D2")
def test_a_schema_unlike_the_declared_one_is_reported_by_column_and_blocks_or_warns(outside: Outside) -> None:
    with pytest.raises(Invalid) as raised:
        outside.register(ROWS, **WRONG)
    assert raised.value.field == "schema"
    assert "gone" in raised.value.message
    assert "size is double, declared float32" in raised.value.message
    assert outside.registry.newest_event() == 0

    for action, outcome in (("warn", "warned"), ("record", "skipped")):
        outside.open(checks={"schema": action})
        found = check(outside.register(ROWS, action, **WRONG), "schema")
        assert (found.outcome, found.blocking) == (outcome, False)
        assert (found.details["missing"], list(found.details["differing"])) == (["gone"], ["size"])


def test_all_that_fails_is_refused_at_once_and_a_preview_says_the_same(outside: Outside) -> None:
    outside.open(checks={"key": "enforce", "type_traps": "enforce"})
    rows = ROWS.with_columns(pl.col("id").cast(pl.UInt64))
    wanted = outside.said(rows, key=["id"], **WRONG)
    seen = outside.registry.preview(wanted)
    failed = {each.name for each in seen.checks if each.outcome == "failed" and each.blocking}
    with pytest.raises(Invalid) as raised:
        outside.registry.register(wanted)
    assert {each.field for each in raised.value.faults} == failed == {"schema", "key", "type_traps"}
    assert outside.registry.newest_event() == 0


def test_a_policy_for_no_check_is_refused(outside: Outside) -> None:
    outside.open(checks={"keys": "warn"})
    with pytest.raises(Invalid) as raised:
        outside.register(ROWS)
    assert (raised.value.field, raised.value.value) == ("policies.checks", ["keys"])


@pytest.mark.row("L1")
def test_the_same_again_is_nothing_and_a_conflicting_one_raises(outside: Outside) -> None:
    outside.open(checks={"schema_change": "enforce"})
    place = outside.write(ROWS, "same")
    first = outside.register(place, mat_version=6)
    before = outside.registry.newest_event()
    again = outside.register(place, mat_version=6)
    assert (again.created, again.entry.version.id, again.checks) == (False, first.entry.version.id, first.checks)
    assert outside.registry.newest_event() == before

    other = ROWS.select(pl.col("id").cast(pl.Int32, strict=False), weight="size")
    with pytest.raises(Conflict) as raised:
        outside.register(other)
    assert raised.value.field == "schema_change"
    assert "gone: size; id was int64, now int32" in raised.value.message
    assert outside.registry.newest_event() == before
    assert outside.registry.version(first.entry.version.id) == first.entry.version

    outside.open()
    found = check(outside.register(other), "schema_change")
    assert (found.outcome, found.details["gone"], found.details["new"]) == ("warned", ["size"], ["weight"])


def test_an_older_version_is_compared_with_the_one_before_it_and_not_with_a_later_one(outside: Outside) -> None:
    outside.register(ROWS, mat_version=6, publish=True)
    outside.register(ROWS.select("id"), mat_version=9, publish=True)
    assert check(outside.register(ROWS, mat_version=7), "schema_change").details["since"] == "d/t@6.0"


def test_what_is_confirmed_is_what_was_looked_at(outside: Outside) -> None:
    place = outside.write(ROWS, "confirmed")
    seen = outside.registry.preview(outside.said(place))
    assert outside.registry.preview(outside.said(place)).confirm == seen.confirm
    ROWS.head(1).write_parquet(place)
    with pytest.raises(Conflict) as raised:
        outside.register(place, confirm=seen.confirm)
    assert raised.value.field == "confirm"
    assert outside.registry.newest_event() == 0
    again = outside.registry.preview(outside.said(place))
    assert outside.register(place, confirm=again.confirm).confirm == again.confirm != seen.confirm


def test_something_new_that_is_said_of_a_registered_table_is_checked_and_recorded(outside: Outside) -> None:
    place = outside.write(ROWS, "known")
    outside.register(place)
    again = outside.register(place, key=["id"])
    assert not again.created
    assert check(again, "key").outcome == "warned"
    assert check(again, "key").at is not None


def test_what_the_pipeline_writes_is_never_refused_and_its_rows_are_not_read(outside: Outside) -> None:
    report = outside.registry.register(outside.said(ROWS, key=["id"], **WRONG), by_pipeline=True)
    assert (check(report, "schema").outcome, check(report, "schema").blocking) == ("failed", True)
    assert report.entry.version.status == "draft"
    assert check(report, "key").outcome == "skipped"
    assert "world_readable" not in {each.name for each in report.checks}


@pytest.mark.row("D5")
def test_tightened_policies_list_the_violators_and_break_no_read(outside: Outside) -> None:
    outside.open(publishing_needs=("description",))
    fields = {"location": outside.write(ROWS, "poor"), "datastack": "d", "mat_version": 7, "publish": True}
    outside.registry.register(Registration(**fields, name="poor", description="Rows.", key=["id"]))
    outside.register(ROWS.head(1), "rich", publish=True, citation="A paper.")
    outside.register(ROWS, "draft", publish=False)
    assert outside.registry.lint() == ()

    outside.open(publishing_needs=("description", "license", "citation"), checks={"key": "enforce"})
    found = [(each.table, each.field) for each in outside.registry.lint()]
    assert found == [("d/poor@7.0", "license"), ("d/poor@7.0", "citation"), ("d/poor@7.0", "key")]
    assert outside.registry.lint("e") == ()
    entry = outside.registry.describe("d/poor@7")
    assert outside.registry.scan(entry.version).collect().equals(ROWS)
