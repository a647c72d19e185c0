from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feature_registry.errors import Conflict, Denied, Exhausted, Invalid, NotFound
from feature_registry.model import (
    CheckResult,
    Column,
    MaterializationVersion,
    Person,
    PlanRequest,
    Registration,
    Report,
    Search,
)
from feature_registry.registry import Registry
from feature_registry.settings import Settings

ROWS = pl.DataFrame(
    {"id": range(100), "size": range(0, 200, 2), "root_id": [864691135000000000 + i for i in range(100)]}
)
SAID = {"description": "Synapses.", "owner": "team", "license": "CC-BY-4.0"}


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry(Settings(home=tmp_path / "home"))
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Parquet table of four files, sorted by `root_id`."""
    place = tmp_path / "data"
    place.mkdir()
    for part in range(4):
        ROWS.slice(part * 25, 25).write_parquet(place / f"{part}.parquet")
    return place


def register(
    registry: Registry,
    location: Any,
    name: str = "synapses",
    mat_version: int | None = 7,
    by_pipeline: bool = False,
    **said: Any,
) -> Report:
    fields = {"datastack": "d", "name": name, "mat_version": mat_version, "publish": True}
    return registry.register(Registration(location=location, **(fields | SAID | said)), by_pipeline=by_pipeline)


def outcome(report: Report, name: str) -> str:
    return next(check.outcome for check in report.checks if check.name == name)


def test_a_registration_answers_with_the_entry_and_its_checks(registry: Registry, folder: Path) -> None:
    report = register(registry, folder)
    inspection = report.entry.version.inspection
    assert report.created
    assert report.entry.version.status == "published"
    assert (inspection.format, inspection.rows, inspection.files) == ("parquet", 100, 4)
    assert [field.type for field in inspection.fields] == ["int64", "int64", "int64"]
    assert outcome(report, "schema") == "passed"
    assert outcome(report, "mat_version") == "skipped"  # nobody knows any
    assert registry.describe("d/synapses") == report.entry
    assert registry.scan(report.entry.version).collect().equals(ROWS)


def test_the_bucket_is_the_same_before_and_after(registry: Registry, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    register(registry, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_same_place_and_snapshot_is_the_same_revision(registry: Registry, folder: Path) -> None:
    first = register(registry, folder)
    again = register(registry, f"{folder}/")
    assert not again.created
    assert again.entry.version.id == first.entry.version.id


def test_a_table_written_anew_in_place_is_a_new_revision(registry: Registry, tmp_path: Path) -> None:
    place = tmp_path / "delta"
    ROWS.write_delta(place)
    first = register(registry, place)
    shutil.rmtree(place)
    ROWS.head(5).write_delta(place)
    again = register(registry, place)
    assert first.entry.version.inspection.snapshot == again.entry.version.inspection.snapshot == "0"
    assert (again.created, again.entry.version.inspection.rows) == (True, 5)


def test_changed_data_is_a_new_revision(registry: Registry, folder: Path) -> None:
    register(registry, folder)
    ROWS.write_parquet(folder / "4.parquet")
    report = register(registry, folder)
    assert (report.created, report.entry.version.revision) == (True, 1)
    assert registry.describe("d/synapses@7").version.inspection.rows == 200
    assert registry.describe("d/synapses@7.0").version.inspection.rows == 100


def test_metadata_that_is_left_out_stays_as_it_was(registry: Registry, folder: Path) -> None:
    register(registry, folder, tags=["a"])
    registry.register(Registration(location=folder, datastack="d", name="synapses", mat_version=8, description="New."))
    table = registry.describe("d/synapses").table
    assert (table.description, table.tags, table.license) == ("New.", ("a",), "CC-BY-4.0")


def test_a_preview_says_the_same_and_registers_nothing(registry: Registry, folder: Path) -> None:
    wanted = Registration(location=folder, datastack="d", name="synapses", mat_version=7)
    seen = registry.preview(wanted)
    assert registry.newest_event() == 0
    assert [check.model_dump() for check in seen.checks] == [
        check.model_dump() for check in registry.register(wanted).checks
    ]


def test_a_schema_unlike_the_declared_one_that_the_pipeline_writes_is_named_by_column_and_stays_a_draft(
    registry: Registry, folder: Path
) -> None:
    columns = {"size": Column(type="float32"), "gone": Column()}
    report = register(registry, folder, by_pipeline=True, columns=columns, key=["id", "other"])
    found = next(check for check in report.checks if check.name == "schema")
    assert (found.outcome, found.blocking, report.entry.version.status) == ("failed", True, "draft")
    assert (found.details["missing"], list(found.details["differing"])) == (["gone", "other"], ["size"])
    assert "float32" in found.message
    with pytest.raises(Invalid, match="blocking"):
        registry.publish("d/synapses@7")


def test_a_key_with_nulls_is_seen_by_the_statistics_and_stays_a_draft(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "t/part=1").mkdir(parents=True)
    (tmp_path / "t/part=__HIVE_DEFAULT_PARTITION__").mkdir()
    ROWS.write_parquet(tmp_path / "t/part=1/a.parquet")
    ROWS.with_columns(size=pl.lit(None, pl.Int64)).write_parquet(
        tmp_path / "t/part=__HIVE_DEFAULT_PARTITION__/a.parquet"
    )
    for key, outcome, nulls in (
        (("id", "size", "part"), "failed", {"size": 100, "part": 100}),
        (("id",), "skipped", {}),
    ):
        report = register(registry, tmp_path / "t", name=f"t{len(key)}", by_pipeline=True, key=key)
        found = next(check for check in report.checks if check.name == "key")
        assert (found.outcome, found.details.get("nulls", {})) == (outcome, nulls)
        assert report.entry.version.status == ("draft" if nulls else "published")


def test_a_format_that_is_not_there_is_refused(registry: Registry, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as raised:
        register(registry, folder, format="delta")
    assert (raised.value.field, raised.value.value, raised.value.expected) == ("format", "delta", "parquet")
    with pytest.raises((NotFound, Invalid)):
        register(registry, tmp_path / "nothing")
    assert registry.newest_event() == 0


@pytest.mark.parametrize("logical_types", [{"gone": "uint64"}, {"id": "complex"}])
def test_a_logical_type_is_of_a_stored_column_and_known(
    registry: Registry, folder: Path, logical_types: dict[str, str]
) -> None:
    with pytest.raises(Invalid) as raised:
        register(registry, folder, logical_types=logical_types)
    assert raised.value.field == "logical_types"
    assert registry.newest_event() == 0


def test_an_unknown_name_is_answered_with_what_exists(registry: Registry, folder: Path) -> None:
    register(registry, folder)
    for ref, expected in (("e/synapses", ["d"]), ("d/spines", ["synapses"]), ("d/synapses@8", [7])):
        with pytest.raises(NotFound) as raised:
            registry.describe(ref)
        assert raised.value.expected == expected
    with pytest.raises(Invalid, match="no reference"):
        registry.describe("synapses@")


def test_a_draft_is_published_when_its_blocking_checks_hold(registry: Registry, folder: Path) -> None:
    report = register(registry, folder, publish=False)
    id = report.entry.version.id
    good, bad = (CheckResult(name="key", outcome=outcome, blocking=True) for outcome in ("passed", "failed"))
    assert registry.record_checks(id, [bad]).version.status == "draft"
    assert registry.record_checks(id, [good]).version.status == "published"
    kinds = [event.kind for event in registry.history("d/synapses")]
    assert kinds == ["described", "registered", "checked", "checked", "published"]


def test_publishing_asks_for_all_that_is_missing_at_once(registry: Registry, folder: Path) -> None:
    registry.register(Registration(location=folder, datastack="d", name="synapses", mat_version=7))
    with pytest.raises(Invalid) as raised:
        registry.publish("d/synapses@7")
    assert raised.value.field == "description"
    assert "description, owner, license" in raised.value.message
    registry.edit("d/synapses@7", {"description": "Synapses.", "owner": "team", "license": "CC-BY-4.0"})
    assert registry.publish("d/synapses@7").version.status == "published"


def test_an_edit_is_checked_whole_and_changes_nothing_if_wrong(registry: Registry, folder: Path) -> None:
    register(registry, folder)
    before = registry.newest_event()
    for changes, field in (({"descripton": "x"}, "descripton"), ({"mutability": "often"}, "mutability")):
        with pytest.raises(Invalid) as raised:
            registry.edit("d/synapses", changes)
        assert raised.value.field == field
    registry.edit("d/synapses", {"description": "Synapses."})
    assert registry.newest_event() == before


def test_a_deprecated_table_reads_with_a_warning_that_names_its_successor(registry: Registry, folder: Path) -> None:
    register(registry, folder)
    register(registry, folder, name="better")
    registry.deprecate("d/synapses@7", "outdated", "d/better")
    entry = registry.describe("d/synapses@7")
    assert entry.version.status == "deprecated"
    assert "d/better" in entry.warnings[0]
    assert registry.resolve("d/synapses").table.name == "better"


def test_a_place_that_is_registered_under_another_name_is_said(registry: Registry, folder: Path) -> None:
    register(registry, folder)
    report = register(registry, folder, name="other")
    assert outcome(report, "location") == "warned"
    assert "d/synapses@7" in next(check for check in report.checks if check.name == "location").message


def test_lineage_is_walked_both_ways_and_a_circle_is_refused(registry: Registry, folder: Path) -> None:
    register(registry, folder, name="a")
    register(registry, folder, name="b", derived_from=["d/a@7.0"])
    register(registry, folder, name="c", derived_from=["d/b@7.0"])
    assert registry.lineage("d/b@7").upstream == ("d/a@7.0",)
    assert registry.lineage("d/a@7").downstream == ("d/b@7.0", "d/c@7.0")
    assert registry.search(Search(derived_from="d/a")).entries[0].table.name == "b"
    before = registry.newest_event()
    with pytest.raises(Conflict):
        register(registry, folder, name="e", derived_from=["d/e@7.0"])
    assert registry.newest_event() == before


def test_materialization_versions_are_recorded_once(registry: Registry) -> None:
    version = MaterializationVersion(datastack="d", mat_version=7, time_stamp=datetime(2024, 1, 1, tzinfo=UTC))
    registry.record_datastack(registry_datastack("d"))
    assert registry.record_versions([version]) == (version,)
    assert registry.record_versions([version]) == ()
    expired = version.model_copy(update={"valid": False})
    assert registry.record_versions([expired]) == (expired,)
    assert registry.mat_versions("d") == (expired,)
    with pytest.raises(NotFound, match="datastack"):
        registry.mat_versions("e")


def registry_datastack(name: str) -> Any:
    from feature_registry.model import Datastack

    return Datastack(name=name, aligned_volume="v")


def test_a_plan_keeps_only_the_files_that_can_hold_the_rows(registry: Registry, folder: Path) -> None:
    register(registry, folder)
    cell = 864691135000000030
    plan = registry.plan(
        PlanRequest(table="d/synapses", where=[("root_id", "in", [str(cell), cell + 1])], columns=["id"])
    )
    assert [file.path for file in plan.files] == ["1.parquet"]
    assert (plan.cost.files, plan.cost.files_total, plan.cost.rows, plan.cost.rows_total) == (1, 4, 25, 100)
    assert plan.cost.bytes == (folder / "1.parquet").stat().st_size
    assert any("root_id" in reason for reason in plan.why)
    assert plan.files[0].checksum is not None
    assert plan.grant is not None
    assert (plan.grant.files, plan.grant.reserved, plan.grant.charged) == ("1", plan.cost.bytes, 0)
    assert registry.grant(plan.grant.id) == plan.grant


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"columns": ["nothing"]}, "columns"),
        ({"where": [("nothing", "==", 1)]}, "where"),
        ({"where": [("id", "==", "many")]}, "where"),
    ],
)
def test_a_plan_for_unknown_columns_or_wrong_values_is_refused(
    registry: Registry, folder: Path, request_: dict[str, Any], field: str
) -> None:
    register(registry, folder)
    with pytest.raises(Invalid) as raised:
        registry.plan(PlanRequest(table="d/synapses", **request_))
    assert (raised.value.field or "").startswith(field)


def test_direct_urls_are_charged_whole_and_a_dry_run_is_not(registry: Registry, folder: Path) -> None:
    register(registry, folder)
    dry = registry.plan(PlanRequest(table="d/synapses", dry_run=True))
    assert dry.grant is None
    assert {file.url for file in dry.files} == {None}
    plan = registry.plan(PlanRequest(table="d/synapses", mode="urls"))
    assert plan.grant is not None
    assert plan.grant.charged == plan.cost.bytes_total
    direct = registry.plan(PlanRequest(table="d/synapses", mode="direct"))
    assert [file.url for file in direct.files] == [str(folder / f"{part}.parquet") for part in range(4)]


def test_the_plan_that_crosses_the_budget_is_refused_and_reserves_nothing(tmp_path: Path, folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    registry = Registry(Settings(home=tmp_path / "home", budget_bytes=size + 10, price_per_gb=1.0))
    register(registry, folder)
    first = registry.plan(PlanRequest(table="d/synapses"))
    assert first.cost.budget_left == 10
    assert first.cost.price == pytest.approx(size / 1e9)
    with pytest.raises(Exhausted, match="at most 10"):
        registry.plan(PlanRequest(table="d/synapses"))
    other = registry.acting(Person(name="bob"))
    assert other.plan(PlanRequest(table="d/synapses")).cost.budget_left == 10
    registry.close()


def test_a_plan_that_is_asked_for_twice_by_one_name_reserves_once(tmp_path: Path, folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    registry = Registry(Settings(home=tmp_path / "home", budget_bytes=size))
    register(registry, folder)
    request = PlanRequest(table="d/synapses", grant="0123456789" * 2)
    first, again = registry.plan(request), registry.plan(request)
    assert (again.grant, again.files) == (first.grant, first.files)
    assert again.cost.budget_left == 0
    for other in (registry.acting(Person(name="bob")), registry):
        asked = request if other is not registry else request.model_copy(update={"mode": "urls"})
        with pytest.raises(Conflict, match="another grant"):
            other.plan(asked)
    registry.close()


def test_a_draft_is_planned_by_its_maker_only(registry: Registry, folder: Path) -> None:
    register(registry, folder, publish=False)
    assert registry.plan(PlanRequest(table="d/synapses@7")).cost.rows == 100
    with pytest.raises((NotFound, Denied)):
        registry.acting(Person(name="bob")).plan(PlanRequest(table="d/synapses@7"))


def test_over_http_only_the_configured_prefixes_may_be_registered(registry: Registry, folder: Path) -> None:
    confined = registry.acting(registry.person, registry.settings.prefixes)
    with pytest.raises(Denied) as raised:
        register(confined, folder)
    assert raised.value.field == "location"


def test_a_step_reads_what_its_run_made_else_what_everybody_gets(registry: Registry, folder: Path) -> None:
    assert registry.find("d", "synapses", 7) is None
    register(registry, folder, publish=False, producer={"run_id": "run"})
    assert registry.find("d", "synapses", 7) is None
    assert registry.find("d", "synapses", 7, "run") is not None
    registry.publish("d/synapses@7")
    assert registry.find("d", "synapses", 7, "another") is not None


def test_the_export_lists_what_is_published(registry: Registry, folder: Path) -> None:
    register(registry, folder)
    register(registry, folder, name="draft", publish=False)
    text = registry.export("catalog_json")
    assert '"d/synapses@7.0"' in text
    assert "draft@" not in text
    with pytest.raises(NotFound) as raised:
        registry.export("nothing")
    assert "catalog_json" in raised.value.expected
