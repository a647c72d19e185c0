from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pyarrow as pa
import pytest

from feature_registry import Written, feature_table
from feature_registry.defs.feature_table import IO_MANAGER
from feature_registry.defs.partitions import mat_versions
from feature_registry.defs.resources import FeatureRegistryResource, free_home
from feature_registry.errors import Invalid
from feature_registry.model import Search, TableVersion
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop

FRAME = pl.DataFrame({"id": [2**63 - 1, 2, 3], "side": ["pre", "post", None]})


@dataclass
class Brought:
    """Rows as `cave.Rows` brings them."""

    reader: pa.RecordBatchReader
    metadata: dict[str, Any]
    closed: int = 0

    def close(self) -> None:
        self.closed += 1


def made(workshop: Workshop, name: str) -> TableVersion:
    return workshop.registry.describe(f"{DATASTACK}/{name}@1507").version


@pytest.mark.parametrize("format", ["delta", "parquet"])
@pytest.mark.parametrize(
    "make",
    [
        FRAME.clone,
        FRAME.lazy,
        FRAME.to_arrow,
        lambda: pa.RecordBatchReader.from_stream(FRAME),
        lambda: duckdb.from_arrow(FRAME.to_arrow()),
    ],
    ids=["frame", "lazy", "table", "reader", "duckdb"],
)
def test_what_is_returned_is_what_is_read(workshop: Workshop, format: str, make: Callable[[], Any]) -> None:
    @feature_table(**SAID, format=format)
    def sites() -> Any:
        return make()

    workshop.make(sites)
    version = made(workshop, "sites")
    assert version.inspection.format == format
    assert workshop.registry.scan(version).collect().sort("id").equals(FRAME.sort("id"))


def test_rows_bring_metadata_that_go_over_the_declared_ones_and_are_closed(workshop: Workshop) -> None:
    said = {"description": "Found at run time.", "columns": {"id": {"description": "Its id."}}}
    brought = Brought(pa.RecordBatchReader.from_stream(FRAME), said)

    @feature_table(**SAID)
    def sites() -> Any:
        return brought

    workshop.make(sites)
    entry = workshop.registry.describe(f"{DATASTACK}/sites@1507")
    assert (entry.table.description, entry.table.columns["id"].description) == ("Found at run time.", "Its id.")
    assert (entry.table.owner.team, entry.version.inspection.rows) == ("celltypes-team", 3)
    assert brought.closed


def test_metadata_that_make_no_sense_are_refused_before_anything_is_written(workshop: Workshop) -> None:
    brought = Brought(pa.RecordBatchReader.from_stream(FRAME), {"descriptoin": ""})

    @feature_table(**SAID)
    def sites() -> Any:
        return brought

    with pytest.raises(Invalid, match="descriptoin"):
        workshop.make(sites)
    assert workshop.files() == []
    assert brought.closed


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_an_empty_table_keeps_its_columns(workshop: Workshop, format: str) -> None:
    @feature_table(**SAID, format=format, key=["id"])
    def sites() -> pl.LazyFrame:
        return FRAME.clear().lazy()

    workshop.make(sites)
    version = made(workshop, "sites")
    assert version.inspection.rows == 0
    assert [field.name for field in version.inspection.fields] == FRAME.columns


def test_partitions_and_sorting_reach_the_files(workshop: Workshop) -> None:
    @feature_table(**SAID, partition_by=["side"], sort_by=["id"])
    def sites() -> pl.DataFrame:
        return FRAME

    workshop.make(sites)
    version = made(workshop, "sites")
    assert version.inspection.partition_columns == ("side",)
    assert version.inspection.files == 3


def test_the_folder_is_that_of_the_run(workshop: Workshop) -> None:
    @feature_table(**SAID)
    def sites() -> pl.DataFrame:
        return FRAME

    run = workshop.make(sites).run_id
    assert str(made(workshop, "sites").inspection.location).endswith(f"/tables/{DATASTACK}/sites/1507/{run}")


def test_what_cannot_be_written_leaves_nothing(workshop: Workshop) -> None:
    @feature_table(**SAID)
    def sites() -> Any:
        return {"id": [1]}

    with pytest.raises(Invalid):
        workshop.make(sites)
    assert not workshop.registry.search(Search(datastack=DATASTACK, status="draft")).entries
    assert workshop.files() == []


def failing() -> Iterator[pa.RecordBatch]:
    yield from FRAME.to_arrow().to_batches()
    raise RuntimeError("the source broke off")


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_a_stream_that_breaks_off_leaves_nothing(workshop: Workshop, format: str) -> None:
    @feature_table(**SAID, format=format, sort_by=[])
    def sites() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(FRAME.to_arrow().schema, failing())

    workshop.make(sites, succeeds=False)
    assert not workshop.registry.search(Search(datastack=DATASTACK, status="draft")).entries
    assert workshop.files() == []


def test_a_retried_step_registers_once(workshop: Workshop) -> None:
    tries: list[int] = []

    @feature_table(**SAID, retry_policy=dg.RetryPolicy(max_retries=2))
    def sites() -> pl.LazyFrame:
        tries.append(1)
        return FRAME.lazy().map_batches(lambda frame: _second(tries, frame), schema=FRAME.schema)

    workshop.make(sites)
    assert len(tries) == 2
    assert made(workshop, "sites").revision == 0


def _second(tries: list[int], frame: pl.DataFrame) -> pl.DataFrame:
    if len(tries) == 1:
        raise RuntimeError("once")
    return frame


def test_what_a_killed_try_left_behind_is_not_written_over(workshop: Workshop) -> None:
    registry = workshop.registry
    first = free_home(registry, DATASTACK, "sites", 1507, "run")
    registry.store(first).write(first.joined("half.parquet"), b"half")
    second = free_home(registry, DATASTACK, "sites", 1507, "run")
    assert second == f"{first}-1"
    assert not first.holds(second)


def test_a_function_may_write_by_itself(workshop: Workshop) -> None:
    @feature_table(**SAID, format="parquet")
    def sites(context: dg.AssetExecutionContext, feature_registry: FeatureRegistryResource) -> Written:
        home = Path(feature_registry.home_of(context).key)
        home.mkdir(parents=True)
        FRAME.write_parquet(home / "part.parquet")
        return Written(location=home, rows=3)  # type: ignore[arg-type]

    run = workshop.make(sites).run_id
    version = made(workshop, "sites")
    assert version.inspection.location.name == run
    assert version.inspection.rows == 3
    assert [path.name for path in workshop.files()] == ["part.parquet"]


def test_written_rows_that_the_files_do_not_hold_are_refused(workshop: Workshop, tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "sites.parquet")

    @feature_table(**SAID)
    def sites() -> Written:
        return Written(location=tmp_path / "sites.parquet", rows=4)  # type: ignore[arg-type]

    with pytest.raises(Invalid):
        workshop.make(sites)
    assert not workshop.registry.search(Search(datastack=DATASTACK, status="draft")).entries
    assert (tmp_path / "sites.parquet").exists()


def plain(**said: Any) -> dg.AssetsDefinition:
    @dg.asset(key=[DATASTACK, "plain"], io_manager_key=IO_MANAGER, partitions_def=mat_versions(DATASTACK), **said)
    def asset() -> pl.DataFrame:
        return FRAME

    return asset


SPOKEN: dict[str, Any] = {"owners": ["team:lab"], "description": "Plain.", "tags": {"nucleus": ""}}
TOLD = {"feature_registry/license": "MIT", "feature_registry/publish": True}


def test_anyones_asset_is_registered_and_published_if_it_says_so(workshop: Workshop) -> None:
    workshop.make(plain(metadata=TOLD, **SPOKEN))
    entry = workshop.registry.describe(f"{DATASTACK}/plain@1507")
    assert (entry.version.status, entry.table.description, entry.table.tags) == ("published", "Plain.", ("nucleus",))
    assert entry.table.owner is not None
    assert (entry.table.owner.team, entry.table.license) == ("lab", "MIT")


def test_anyones_asset_that_does_not_ask_for_it_stays_a_draft(workshop: Workshop) -> None:
    workshop.make(plain(metadata={"feature_registry/license": "MIT"}, **SPOKEN))
    assert workshop.registry.describe(f"{DATASTACK}/plain@1507").version.status == "draft"


def test_anyones_asset_without_an_owner_stays_a_draft(workshop: Workshop) -> None:
    workshop.make(plain(description="Plain.", metadata=TOLD))
    assert workshop.registry.describe(f"{DATASTACK}/plain@1507").version.status == "draft"


def test_anyones_asset_loads_tables_and_notes_which(workshop: Workshop) -> None:
    @feature_table(**SAID)
    def sites() -> pl.DataFrame:
        return FRAME

    @dg.asset(
        key=[DATASTACK, "eager"],
        io_manager_key=IO_MANAGER,
        partitions_def=mat_versions(DATASTACK),
        ins={"sites": dg.AssetIn(key=sites.key)},
        owners=["team:lab"],
        description="Eager.",
        metadata=TOLD,
    )
    def eager(sites: pl.DataFrame) -> pl.DataFrame:
        return sites

    workshop.make(sites, eager)
    assert made(workshop, "eager").derived_from == (f"{DATASTACK}/sites@1507.0",)


def test_an_asset_key_that_names_no_table_is_refused(workshop: Workshop) -> None:
    @dg.asset(io_manager_key=IO_MANAGER)
    def alone() -> pl.DataFrame:
        return FRAME

    with pytest.raises(Invalid, match="asset key"):
        workshop.make(alone, mat_version=None)


def test_another_io_manager_is_refused_by_name(workshop: Workshop) -> None:
    @feature_table(**SAID)
    def sites() -> pl.DataFrame:
        return FRAME

    with pytest.raises(Invalid, match="FeatureTableIOManager"):
        workshop.make(sites, resources={IO_MANAGER: dg.mem_io_manager})


KILLED = """
import os, sys
from pathlib import Path
import polars as pl
from feature_registry import feature_table
from feature_registry_tests.defs.workshop import SAID, Workshop

def die(frame):
    os._exit(9)

@feature_table(**SAID)
def sites() -> pl.LazyFrame:
    whole = pl.LazyFrame({"id": range(1_000_000)})
    return pl.concat([whole, whole.map_batches(die, schema={"id": pl.Int64})])

Workshop(Path(sys.argv[1])).make(sites)
"""


def test_a_killed_run_registers_nothing(workshop: Workshop) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(workshop.folder)], check=False)
    assert killed.returncode == 9
    assert not workshop.registry.search(Search(datastack=DATASTACK, status="draft")).entries
    assert workshop.registry.find(DATASTACK, "sites", 1507) is None

    @feature_table(**SAID)
    def sites() -> pl.DataFrame:
        return FRAME

    workshop.make(sites)
    assert made(workshop, "sites").inspection.rows == 3
