from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from feature_registry import Column, feature_table
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.errors import Invalid, NotFound
from feature_registry.model import Owner, Search
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop

if TYPE_CHECKING:
    from decimal import Decimal


class Cut(dg.Config):
    rows: int = 1


NUCLEI = pl.DataFrame({"id": [2**62 + 1, 2**62 + 3], "volume": [300.0, None]})


@feature_table(**SAID, key=["id"], columns={"id": Column("The nucleus", type="int64")})
def nuclei() -> pl.DataFrame:
    return NUCLEI


@feature_table(
    datastack=DATASTACK,
    owner={"team": "celltypes-team", "person": "ann@example.org"},
    key=["nucleus_id"],
    license="CC-BY-4.0",
    publish=True,
    columns={"nucleus_volume": Column("Volume of the nucleus", unit="um^3", derived_from=("nuclei.volume",))},
    references={"nucleus_id": "nuclei.id"},
    tags=["nucleus", "two words"],
)
def shapes(nuclei: pl.LazyFrame) -> pl.LazyFrame:
    """Shape of the nucleus of every cell."""
    return nuclei.select(nucleus_id="id", nucleus_volume="volume")


def test_one_declaration_is_asset_partitions_checks_and_metadata() -> None:
    spec = shapes.specs_by_key[shapes.key]
    assert shapes.key == dg.AssetKey([DATASTACK, "shapes"])
    assert shapes.partitions_def == dg.DynamicPartitionsDefinition(name=f"mat_version_{DATASTACK}")
    assert {check.name for check in shapes.check_specs} == {"schema", "key", "references_nucleus_id"}
    assert {check.name for check in shapes.check_specs if check.blocking} == {"schema", "key"}
    assert {check.partitions_def for check in shapes.check_specs} == {shapes.partitions_def}
    assert spec.description == "Shape of the nucleus of every cell."
    assert list(spec.owners) == ["team:celltypes-team", "ann@example.org"]
    assert spec.kinds == {"deltalake", "table"}
    assert spec.group_name == DATASTACK
    assert "nucleus" in spec.tags
    assert [dep.asset_key for dep in spec.deps] == [nuclei.key]
    assert spec.code_version is not None
    assert spec.metadata["feature_registry/license"] == "CC-BY-4.0"
    [column] = spec.metadata["dagster/column_schema"].columns
    assert (column.name, column.description) == ("nucleus_volume", "Volume of the nucleus [um^3]")


def test_a_materialization_is_written_registered_checked_and_published(workshop: Workshop) -> None:
    result = workshop.make(nuclei, shapes)
    entry = workshop.registry.describe(f"{DATASTACK}/shapes@1507")
    assert entry.version.status == "published"
    assert entry.version.derived_from == (f"{DATASTACK}/nuclei@1507.0",)
    assert entry.version.producer.run_id == result.run_id
    assert entry.version.producer.code_version == shapes.specs_by_key[shapes.key].code_version
    assert entry.table.owner == Owner(team="celltypes-team", person="ann@example.org")
    assert entry.table.tags == ("nucleus", "two words")
    assert entry.table.references == {"nucleus_id": "nuclei.id"}
    read = workshop.registry.scan(entry.version).collect().sort("nucleus_id")
    assert read["nucleus_id"].to_list() == [2**62 + 1, 2**62 + 3]
    assert read.schema["nucleus_id"] == pl.Int64
    assert {name: check.outcome for name, check in workshop.checks(f"{DATASTACK}/shapes@1507").items()}.items() >= {
        ("schema", "passed"),
        ("key", "passed"),
        ("references_nucleus_id", "passed"),
    }


def test_the_ui_is_told_columns_rows_size_uri_lineage_and_versions(workshop: Workshop) -> None:
    result = workshop.make(nuclei, shapes)
    [event] = [each for each in result.get_asset_materialization_events() if each.asset_key == shapes.key]
    told, version = event.materialization.metadata, workshop.registry.describe(f"{DATASTACK}/shapes").version
    columns = {column.name: column for column in told["dagster/column_schema"].value.columns}
    assert columns["nucleus_id"].type == "int64"
    assert columns["nucleus_id"].constraints == dg.TableColumnConstraints(nullable=False, unique=True)
    assert dict(columns["nucleus_id"].tags) == {"references": "nuclei.id"}
    assert columns["nucleus_volume"].type == "double"
    assert told["dagster/row_count"].value == 2
    assert told["dagster/uri"].value == str(version.inspection.location)
    assert told["feature_registry/bytes"].value == version.inspection.bytes > 0
    assert told["feature_registry/table_version"].value == f"{DATASTACK}/shapes@1507.0"
    lineage = told["dagster/column_lineage"].value.deps_by_column
    assert lineage == {"nucleus_volume": [dg.TableColumnDep(nuclei.key, "volume")]}
    assert event.partition == "1507"
    assert event.materialization.tags["dagster/data_version"] == version.inspection.content
    assert event.materialization.tags["dagster/code_version"] == version.producer.code_version


def test_new_data_make_what_follows_stale(tmp_path: Path) -> None:
    values = [1]

    @feature_table(**SAID)
    def cells() -> pl.DataFrame:
        return pl.DataFrame({"id": values})

    @feature_table(**SAID)
    def counted(cells: pl.LazyFrame) -> pl.LazyFrame:
        return cells.select(pl.len())

    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        workshop = Workshop(tmp_path / "registry", instance=instance)
        graph = dg.Definitions(assets=[cells, counted], resources=workshop.resources).get_repository_def().asset_graph

        def status(key: dg.AssetKey, mat_version: str) -> str:
            resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
            return resolver.get_status(key, mat_version).value

        workshop.make(cells, counted)
        assert (status(counted.key, "1507"), status(counted.key, "507")) == ("FRESH", "MISSING")
        values.append(2)
        workshop.make(cells, counted, selection=[cells.key])
        assert status(counted.key, "1507") == "STALE"
        workshop.make(cells, counted, selection=[counted.key])
        assert status(counted.key, "1507") == "FRESH"
        workshop.registry.close()


def test_every_check_is_an_event_of_its_partition(workshop: Workshop) -> None:
    result = workshop.make(nuclei)
    evaluations = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert {name: each.passed for name, each in evaluations.items()} == {"schema": True, "key": True}
    assert {each.partition for each in evaluations.values()} == {"1507"}
    assert evaluations["key"].metadata["rows"].value == 2
    assert len(result.get_step_success_events()) == 1


def test_it_is_made_again_as_the_next_revision(workshop: Workshop) -> None:
    workshop.make(nuclei)
    workshop.make(nuclei)
    workshop.make(nuclei, mat_version=507)
    assert workshop.registry.describe(f"{DATASTACK}/nuclei@1507").version.revision == 1
    assert workshop.registry.describe(f"{DATASTACK}/nuclei@507").version.revision == 0
    assert workshop.registry.describe(f"{DATASTACK}/nuclei@1507.0").version.status == "published"


def test_a_failing_blocking_check_keeps_a_draft_and_stops_what_follows(workshop: Workshop) -> None:
    @feature_table(**SAID, name="nuclei", key=["id"])
    def twice() -> pl.DataFrame:
        return pl.concat([NUCLEI, NUCLEI])

    result = workshop.make(twice, shapes, succeeds=False)
    assert not [each for each in result.get_asset_materialization_events() if each.asset_key == shapes.key]
    draft = workshop.registry.describe(f"{DATASTACK}/nuclei@1507")
    assert draft.version.status == "draft"
    assert workshop.checks(f"{DATASTACK}/nuclei@1507")["key"].outcome == "failed"
    assert workshop.registry.find(DATASTACK, "nuclei", 1507) is None
    with pytest.raises(NotFound):
        workshop.registry.describe(f"{DATASTACK}/shapes@1507")


def test_a_failing_check_that_does_not_block_warns(workshop: Workshop) -> None:
    @feature_table(**SAID, name="nuclei", key=["id"], blocking=["schema"])
    def twice() -> pl.DataFrame:
        return pl.concat([NUCLEI, NUCLEI])

    workshop.make(twice)
    assert workshop.checks(f"{DATASTACK}/nuclei@1507")["key"].outcome == "warned"
    assert workshop.registry.find(DATASTACK, "nuclei", 1507) is not None


def test_checks_alone_look_at_the_newest_revision(workshop: Workshop) -> None:
    workshop.make(nuclei, shapes)
    selection = dg.AssetSelection.checks_for_assets(shapes)
    result = workshop.make(nuclei, shapes, selection=selection)
    assert len(result.get_asset_check_evaluations()) == 3
    assert not result.get_asset_materialization_events()
    assert workshop.registry.describe(f"{DATASTACK}/shapes@1507").version.revision == 0


def test_checks_alone_find_the_draft_that_failed_before(workshop: Workshop) -> None:
    workshop.make(nuclei)

    @feature_table(**SAID, name="nuclei", key=["id"])
    def twice() -> pl.DataFrame:
        return pl.concat([NUCLEI, NUCLEI])

    workshop.make(twice, succeeds=False)
    result = workshop.make(twice, selection=dg.AssetSelection.checks_for_assets(twice), succeeds=False)
    assert {each.check_name: each.passed for each in result.get_asset_check_evaluations()}["key"] is False


def test_checks_of_nothing_say_so(workshop: Workshop) -> None:
    with pytest.raises(NotFound):
        workshop.make(nuclei, selection=dg.AssetSelection.checks_for_assets(nuclei))


def test_without_its_checks_selected_it_is_still_checked(workshop: Workshop) -> None:
    result = workshop.make(nuclei, selection=dg.AssetSelection.assets(nuclei).without_checks())
    assert not result.get_asset_check_evaluations()
    assert workshop.checks(f"{DATASTACK}/nuclei@1507")["key"].outcome == "passed"


def test_publish_false_stays_a_draft(workshop: Workshop) -> None:
    @feature_table(**SAID | {"publish": False})
    def sketch() -> pl.DataFrame:
        return NUCLEI

    workshop.make(sketch)
    found = workshop.registry.search(Search(datastack=DATASTACK, status="draft"))
    assert [(entry.table.name, entry.version.status) for entry in found.entries] == [("sketch", "draft")]


def test_a_function_that_fails_registers_nothing(workshop: Workshop) -> None:
    @feature_table(**SAID)
    def broken() -> pl.DataFrame:
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError):
        workshop.make(broken)
    assert not workshop.registry.search(Search(datastack=DATASTACK, status="draft")).entries
    assert workshop.files() == []


def test_parameters_are_frames_of_three_kinds_context_resources_and_config(workshop: Workshop) -> None:
    seen: dict[str, Any] = {}

    @feature_table(**SAID, ins={"same": "nuclei_copy", "eager": "nuclei"})
    def mixed(
        context: dg.AssetExecutionContext,
        config: Cut,
        eager: pl.DataFrame,
        same: pa.Table,
        feature_registry: FeatureRegistryResource,
        extra: dg.ResourceParam[str],
    ) -> pa.Table:
        seen.update(key=context.partition_key, eager=eager, same=same, extra=extra, found=feature_registry.search())
        return same.slice(0, config.rows)

    @feature_table(**SAID)
    def nuclei_copy(nuclei: pl.LazyFrame) -> pl.LazyFrame:
        return nuclei

    workshop.make(nuclei, nuclei_copy, mixed, resources={"extra": "something"})
    assert (seen["key"], seen["extra"]) == ("1507", "something")
    assert isinstance(seen["eager"], pl.DataFrame)
    assert isinstance(seen["same"], pa.Table)
    assert workshop.registry.describe(f"{DATASTACK}/mixed@1507").version.inspection.rows == 1


def test_an_annotation_that_is_no_input_is_refused_by_name() -> None:
    with pytest.raises(Invalid) as refused:

        @feature_table(**SAID)
        def strange(nuclei: int) -> pl.DataFrame:
            return NUCLEI

    assert refused.value.field == "parameter nuclei"


def test_a_variable_number_of_inputs_is_refused() -> None:
    with pytest.raises(Invalid):

        @feature_table(**SAID)
        def strange(*tables: pl.LazyFrame) -> pl.DataFrame:
            return NUCLEI


def test_an_annotation_for_type_checkers_only_is_refused() -> None:
    with pytest.raises(Invalid, match="Decimal"):

        @feature_table(**SAID)
        def strange(nuclei: Decimal) -> pl.DataFrame:
            return NUCLEI


def test_ins_must_name_parameters_and_another_table() -> None:
    with pytest.raises(Invalid, match="no parameter"):

        @feature_table(**SAID, ins={"nucleii": "nuclei"})
        def misspelled(nuclei: pl.LazyFrame) -> pl.LazyFrame:
            return nuclei

    with pytest.raises(Invalid, match="itself"):

        @feature_table(**SAID)
        def own(own: pl.LazyFrame) -> pl.LazyFrame:
            return own


def test_references_and_deps_are_made_before() -> None:
    @feature_table(**SAID, references={"a": "nuclei.id", "b": "other.id", "c": "linked.id"}, deps=["shapes", "x/y"])
    def linked(nuclei: pl.LazyFrame) -> pl.LazyFrame:
        return nuclei

    spec = linked.specs_by_key[linked.key]
    assert {dep.asset_key.to_user_string() for dep in spec.deps} == {
        f"{DATASTACK}/nuclei",
        f"{DATASTACK}/other",
        f"{DATASTACK}/shapes",
        "x/y",
    }


def test_automation_is_dagsters_own() -> None:
    condition = dg.AutomationCondition.eager()

    @feature_table(**SAID, automation=condition)
    def eager(nuclei: pl.LazyFrame) -> pl.LazyFrame:
        return nuclei

    assert eager.specs_by_key[eager.key].automation_condition == condition
