from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.defs import memory, metadata, reconcile
from feature_registry.defs.partitions import mat_versions
from feature_registry.defs.resources import opened
from feature_registry.errors import Unavailable
from feature_registry.location import Location
from feature_registry.model import Column, Entry, Producer, Registration
from feature_registry.registry import Registry
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop

ROOT = 864691135000000000


@feature_table(**SAID, key=["id"])
def nuclei() -> pl.DataFrame:
    return pl.DataFrame({"id": [ROOT]})


@feature_table(**SAID)
def others() -> pl.DataFrame:
    return pl.DataFrame({"id": [ROOT + 1]})


@feature_table(**SAID, key=["id"], blocking=["schema", "key"])
def doubled() -> pl.DataFrame:
    return pl.DataFrame({"id": [1, 1]})


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    (tmp_path / "dagster").mkdir()
    quiet = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=quiet) as instance:
        yield Workshop(tmp_path / "registry", instance=instance)


def outside(workshop: Workshop, name: str = "spines", mat_version: int | None = 1507, **said: Any) -> Entry:
    """A table that somebody registers who knows nothing of Dagster."""
    folder = workshop.folder / "outside"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{mat_version}-{len(list(folder.iterdir()))}.parquet"
    pl.DataFrame({"root_id": [ROOT], "volume": [0.5]}).write_parquet(path)
    fields: dict[str, Any] = {
        "owner": "spine-lab",
        "license": "CC0-1.0",
        "description": "Spines.",
        "columns": {"volume": Column("Volume of the spine", unit="um^3")},
        "publish": True,
        **said,
    }
    place = Location(path)
    return workshop.registry.register(
        Registration(location=place, datastack=DATASTACK, name=name, mat_version=mat_version, **fields)
    ).entry


def tick(workshop: Workshop, cursor: str | None = None, definitions: dg.Definitions | None = None) -> tuple[str, Any]:
    """What the sensor said, and the new cursor."""
    context = dg.build_sensor_context(
        instance=workshop.instance, cursor=cursor, resources=workshop.sensed, definitions=definitions
    )
    answer: Any = reconcile.reconcile(context)
    return answer.skip_message, context.cursor


def ticked(workshop: Workshop, times: int = 2, cursor: str | None = None, **more: Any) -> str:
    for _ in range(times):
        _, cursor = tick(workshop, cursor, **more)
    return cursor or ""


def catalog(workshop: Workshop) -> set[tuple[str, str, int | None, str]]:
    held = workshop.registry.contents().entries
    return {(each.table.datastack, each.table.name, each.version.mat_version, each.version.id) for each in held}


def ids(workshop: Workshop) -> set[str]:
    return {id for *_, id in catalog(workshop)}


def records(workshop: Workshop, kind: int = 0) -> list[dg.EventLogRecord]:
    return list(
        workshop.instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(memory.EVENTS[kind]), ascending=True
        )
    )


def dagster(workshop: Workshop) -> list[tuple[str, str, int | None, str]]:
    """What the materializations show; what is shown twice is there twice."""
    found = []
    for record in records(workshop):
        assert record.asset_materialization is not None and record.asset_key is not None
        number = None if record.partition_key is None else int(record.partition_key)
        found.append((*record.asset_key.path, number, str(record.asset_materialization.metadata[metadata.ID].value)))
    return found


def agreed(workshop: Workshop) -> None:
    """Nothing is missing on either side, and nothing is there twice; drafts are shown by their runs only."""
    drafts = {each.version.id for each in workshop.registry.contents(drafts=True).entries} - ids(workshop)
    public = [each for each in dagster(workshop) if each[-1] not in drafts]
    assert sorted(public, key=str) == sorted(catalog(workshop), key=str)
    # And Dagster alone is enough.
    held, told = workshop.registry.contents(), memory.contents_of(workshop.instance)
    published = [each for each in told.entries if each.version.status != "draft"]
    assert {each.version.id: each for each in published} == {each.version.id: each for each in held.entries}


def destroyed(workshop: Workshop) -> None:
    workshop.registry.close()
    opened.cache_clear()
    for path in workshop.folder.glob("catalog.db*"):
        path.unlink()


# ---------------------------------------------------------------------------------------------- catalog -> Dagster


def test_a_table_from_outside_appears(workshop: Workshop) -> None:
    entry, bare = outside(workshop), outside(workshop, "atlas", None)
    said, _ = tick(workshop)
    assert said.startswith("Registered 0, reported 2")
    agreed(workshop)
    first = records(workshop)[0].asset_materialization
    assert first is not None
    schema: Any = first.metadata["dagster/column_schema"]
    columns = {column.name: (column.type, column.description) for column in schema.schema.columns}
    assert columns == {"root_id": ("int64", None), "volume": ("double", "Volume of the spine [um^3]")}
    assert (first.partition, first.metadata["dagster/row_count"].value) == ("1507", 1)
    assert first.metadata["dagster/uri"].value == str(entry.version.inspection.location)
    assert workshop.instance.get_materialized_partitions(dg.AssetKey([DATASTACK, "spines"])) == {"1507"}
    assert records(workshop)[1].partition_key is None
    assert bare.version.mat_version is None


def test_a_version_that_dagster_had_no_partition_for_gets_one(workshop: Workshop) -> None:
    outside(workshop, mat_version=1600)
    tick(workshop)
    assert "1600" in workshop.instance.get_dynamic_partitions(f"mat_version_{DATASTACK}")


def test_neither_side_answers_the_other_for_ever(workshop: Workshop) -> None:
    workshop.make(nuclei)
    outside(workshop)
    cursor = ticked(workshop, 3)
    counted = workshop.registry.newest_event(), len(records(workshop)), len(records(workshop, 1))
    said, _ = tick(workshop, cursor)
    assert said == "Registered 0, reported 0"
    said, _ = tick(workshop)  # from the beginning: nothing is lost, and nothing is done again
    assert said == "Registered 0, reported 0"
    assert counted == (workshop.registry.newest_event(), len(records(workshop)), len(records(workshop, 1)))
    agreed(workshop)


def test_revisions_are_all_shown(workshop: Workshop) -> None:
    outside(workshop)
    outside(workshop)
    tick(workshop)
    assert len(dagster(workshop)) == 2
    agreed(workshop)


def test_drafts_are_not_shown_until_they_are_published(workshop: Workshop) -> None:
    entry = outside(workshop, publish=False)
    _, cursor = tick(workshop)
    assert records(workshop) == []
    workshop.registry.publish(str(entry.ref))
    tick(workshop, cursor)
    agreed(workshop)


def test_later_changes_are_observed(workshop: Workshop) -> None:
    first, second = outside(workshop, mat_version=507), outside(workshop)
    _, cursor = tick(workshop)
    workshop.registry.edit(str(second.ref), {"description": "Spines, each of them."})
    workshop.registry.deprecate(str(first.ref), "too few")
    said, cursor = tick(workshop, cursor)
    assert said == "Registered 0, reported 2"
    agreed(workshop)
    assert len(records(workshop)) == 2
    assert tick(workshop, cursor)[0] == "Registered 0, reported 0"


def test_what_was_unregistered_stays_so(workshop: Workshop) -> None:
    kept, entry = outside(workshop, "atlas"), outside(workshop)
    _, cursor = tick(workshop)
    workshop.registry.unregister(str(entry.ref))
    _, cursor = tick(workshop, cursor)
    assert [each.version.id for each in memory.contents_of(workshop.instance).entries] == [kept.version.id]
    ticked(workshop, 2, cursor)
    ticked(workshop)
    destroyed(workshop)
    ticked(workshop)
    assert ids(workshop) == {kept.version.id}


def test_a_run_that_goes_on_shows_its_table_itself(workshop: Workshop) -> None:
    @dg.job
    def making() -> None: ...

    run = workshop.instance.create_run_for_job(making, status=dg.DagsterRunStatus.STARTED)
    outside(workshop, producer=Producer(run_id=run.run_id))
    _, cursor = tick(workshop)
    assert records(workshop) == []
    workshop.instance.report_run_failed(run)  # it died after the registration
    ticked(workshop, 2, cursor)
    agreed(workshop)


def test_deleted_runs_lose_nothing(workshop: Workshop) -> None:
    run = workshop.make(nuclei).dagster_run
    before = catalog(workshop)
    cursor = ticked(workshop)
    workshop.instance.delete_run(run.run_id)
    assert dagster(workshop) == []
    ticked(workshop, 2, cursor)
    assert catalog(workshop) == before
    agreed(workshop)


# ---------------------------------------------------------------------------------------------- Dagster -> catalog


def test_a_catalog_that_was_destroyed_comes_back(workshop: Workshop) -> None:
    workshop.make(nuclei)
    workshop.make(nuclei, mat_version=507)
    workshop.make(doubled, succeeds=False)
    outside(workshop)
    cursor = ticked(workshop)
    workshop.registry.edit(f"{DATASTACK}/nuclei@507", {"tags": ["soma"]})
    workshop.registry.deprecate(f"{DATASTACK}/nuclei@507", "too old")
    cursor = ticked(workshop, 1, cursor)
    before = workshop.registry.contents(drafts=True)
    assert {each.version.status for each in before.entries} == {"deprecated", "published", "draft"}
    destroyed(workshop)
    said, cursor = tick(workshop, cursor)
    assert "the catalog was replaced" in said
    assert said.startswith("Registered 4")
    after = workshop.registry.contents(drafts=True)
    assert {each.version.id: each for each in after.entries} == {each.version.id: each for each in before.entries}
    ticked(workshop, 2, cursor)
    agreed(workshop)


def test_before_any_tick_dagster_knows_what_its_runs_made(workshop: Workshop) -> None:
    workshop.make(nuclei)
    before = workshop.registry.contents()
    assert before.entries[0].version.checks
    assert memory.contents_of(workshop.instance).entries == before.entries


def plain_asset(workshop: Workshop, uri: str | None = None, **said: Any) -> dg.AssetsDefinition:
    """An asset that writes by itself and says where, without our I/O manager."""
    place = workshop.folder / "plain.parquet"
    workshop.folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"id": [1, 2]}).write_parquet(place)

    @dg.asset(key=[DATASTACK, "plain"], partitions_def=mat_versions(DATASTACK), **said)
    def plain() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"dagster/uri": uri or f"file://{place}"})

    return plain


SPOKEN: dict[str, Any] = {"description": "Plain.", "owners": ["team:others"], "tags": {"soma": ""}}
SPOKEN["metadata"] = {"feature_registry/license": "MIT", "feature_registry/publish": True}


def test_a_materialization_that_names_its_place_is_registered(workshop: Workshop) -> None:
    plain = plain_asset(workshop, **SPOKEN)
    run = workshop.make(plain).dagster_run
    definitions = dg.Definitions(assets=[plain])
    said, cursor = tick(workshop, definitions=definitions)
    assert said == "Registered 1, reported 1"
    [entry] = workshop.registry.contents().entries
    assert (str(entry.ref), entry.version.status) == (f"{DATASTACK}/plain@1507.0", "published")
    assert (entry.table.description, entry.table.tags) == ("Plain.", ("soma",))
    assert entry.table.owner is not None and entry.table.owner.team == "others"
    assert entry.version.producer.run_id == run.run_id
    assert len(records(workshop)) == 1  # Dagster shows it already
    said, cursor = tick(workshop, cursor, definitions)
    assert said == "Registered 0, reported 0"
    destroyed(workshop)
    ticked(workshop, 2, cursor, definitions=definitions)
    assert [each.version.id for each in workshop.registry.contents().entries] == [entry.version.id]
    assert memory.contents_of(workshop.instance).entries == (entry,)
    assert len(records(workshop)) == 1


def test_one_that_says_too_little_is_a_draft(workshop: Workshop) -> None:
    workshop.make(plain_asset(workshop))
    assert tick(workshop)[0] == "Registered 1, reported 0"
    assert workshop.registry.contents(drafts=True).entries[0].version.status == "draft"


@pytest.mark.parametrize("uri", ["bigquery://project/table", "a description", "/etc", "s3://../x"])
def test_a_place_of_no_storage_is_no_table(workshop: Workshop, uri: str) -> None:
    workshop.make(plain_asset(workshop, uri))
    assert tick(workshop)[0] == "Registered 0, reported 0"


def test_what_cannot_be_registered_is_said_once(workshop: Workshop) -> None:
    workshop.make(plain_asset(workshop, f"file://{workshop.folder}/nowhere"))
    workshop.make(nuclei)
    destroyed(workshop)
    said, cursor = tick(workshop)
    assert said.startswith("Registered 1")
    assert f"{DATASTACK}/plain@1507 cannot be registered: " in said
    assert "nowhere" in said
    said, cursor = tick(workshop, cursor)
    assert said == "Registered 0, reported 0"


def test_what_does_not_answer_is_tried_again(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.make(plain_asset(workshop, **SPOKEN))

    def out(*_: Any) -> Any:
        raise Unavailable("the store does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "register", out)
        said, cursor = tick(workshop)
        assert said == "Registered 0, reported 0; 1 materializations wait"
        said, cursor = tick(workshop, cursor)
        assert said == "Registered 0, reported 0; 1 materializations wait"
    said, cursor = tick(workshop, cursor)
    assert said.startswith("Registered 1")
    assert tick(workshop, cursor)[0] == "Registered 0, reported 0"


def test_events_that_are_committed_late_are_seen(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever follows the numbers alone misses an event with a lower number that comes after one with a higher."""
    workshop.make(others)
    workshop.make(nuclei)
    late = records(workshop)[0]
    destroyed(workshop)
    before = workshop.instance.event_log_storage.get_event_records

    def without(asked: Any, **more: Any) -> list[Any]:
        return [each for each in before(asked, **more) if each.storage_id != late.storage_id]

    with monkeypatch.context() as patched:
        patched.setattr(workshop.instance.event_log_storage, "get_event_records", without)
        _, cursor = tick(workshop)
    assert [each.table.name for each in workshop.registry.contents().entries] == ["nuclei"]
    ticked(workshop, 1, cursor)
    assert len(catalog(workshop)) == 2
    agreed(workshop)


# ------------------------------------------------------------------------------------------- crashes and concurrency


def test_concurrent_ticks_double_nothing(workshop: Workshop) -> None:
    for number in range(5):
        outside(workshop, f"table_{number}")
    plain = plain_asset(workshop, **SPOKEN)
    workshop.make(plain)
    definitions = dg.Definitions(assets=[plain])
    said: list[str] = []
    threads = [threading.Thread(target=lambda: said.append(tick(workshop, None, definitions)[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 4
    ticked(workshop, definitions=definitions)
    assert len(records(workshop)) == 6
    assert len(catalog(workshop)) == 6


@pytest.mark.parametrize("survived", range(1, 8))
def test_a_tick_that_dies_is_repeated(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, survived: int) -> None:
    """It dies after so many of its steps, before its cursor is kept."""
    workshop.make(nuclei)
    outside(workshop)
    workshop.registry.edit(f"{DATASTACK}/spines@1507", {"tags": ["spine"]})
    plain = plain_asset(workshop, **SPOKEN)
    workshop.make(plain)
    definitions = dg.Definitions(assets=[plain])
    left = survived

    def until_death(function: Any) -> Any:
        def step(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            return function(*arguments, **more)

        return step

    with monkeypatch.context() as patched:
        for owner, name in (
            (memory, "show"),
            (Registry, "register"),
            (workshop.instance, "report_runless_asset_event"),
        ):
            patched.setattr(owner, name, until_death(getattr(owner, name)))
        patched.setattr(reconcile, "_speaker", until_death(reconcile._speaker))
        with pytest.raises(KeyboardInterrupt):
            ticked(workshop, 3, definitions=definitions)
    ticked(workshop, definitions=definitions)
    shown = [each.asset_materialization for each in records(workshop)]
    assert len(shown) == len(catalog(workshop)) == 3
    assert {each.id for each in (memory.Memory.of(r) for k in (0, 1) for r in records(workshop, k)) if each} == ids(
        workshop
    )


def test_a_cursor_of_another_version_begins_anew(workshop: Workshop) -> None:
    outside(workshop)
    assert tick(workshop, "by number 7")[0].startswith("Registered 0, reported 1")
    agreed(workshop)
