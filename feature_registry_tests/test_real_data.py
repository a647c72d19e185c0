"""Pieces of real connectomes, all the way: written or registered, found by search, read back through links.

MICrONS goes through a `@feature_table` in Dagster; FlyWire and the larval brain are registered from outside over HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from feature_registry import Column, FeatureRegistryResource, FeatureTableIOManager, feature_table
from feature_registry.client import FeatureRegistry
from feature_registry.model import Datastack, MaterializationVersion, SegmentationNode, SplitPoint, TableId
from feature_registry_tests.deployment import Deployment, deployed

DATA = Path(__file__).parents[2] / "shared" / "data"
MICRONS = DATA / "microns_v1412" / "synapses_10_post_cells.csv"
FLYWIRE = DATA / "flywire_v630"
MAGGOT = DATA / "maggot_brain"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="needs the real data in ../shared/data, which is absent")

RESOLUTION = {"x": 4.0, "y": 4.0, "z": 40.0}  # nm of a voxel
POSITIONS = {f"{side}_pt_position_{axis}": pl.Int32 for side in ("pre", "ctr", "post") for axis in "xyz"}
SCHEMA = pl.Schema(
    {"id": pl.Int64, **POSITIONS, "size": pl.Int32}
    | {f"{side}_pt_{node}_id": pl.Int64 for side in ("pre", "post") for node in ("supervoxel", "root")}
)


def position(name: str) -> Column:
    point, axis = name[:-2], name[-1]
    kind = SplitPoint(point=point, axis=axis, resolution=RESOLUTION[axis])
    return Column(f"The {axis} of {point}", unit="voxel", type="int32", kind=kind)


def node(name: str) -> Column:
    side, level = name[: name.index("_")], "root_id" if "root" in name else "supervoxel_id"
    return Column(f"The {level} at the {side}synaptic point", type="int64", kind=SegmentationNode(level=level))


def microns() -> pl.LazyFrame:
    return pl.scan_csv(MICRONS, has_header=False, schema=SCHEMA)


@feature_table(
    datastack="minnie65_public",
    owner="synapse-team",
    license="CC-BY-4.0",
    description="Every input synapse of ten cells.",
    tags=["synapse"],
    key=["id"],
    columns={
        "id": Column("The synapse", type="int64", kind=TableId(table="synapses_pni_2")),
        "size": Column("Size of the cleft", unit="voxel"),
        **{name: position(name) for name in POSITIONS},
        **{name: node(name) for name in SCHEMA.names() if "_pt_supervoxel" in name or "_pt_root" in name},
    },
    sort_by=["post_pt_root_id", "id"],
    publish=True,
)
def synapses_pni_2() -> pl.LazyFrame:
    return microns()


@dataclass(frozen=True)
class Source:
    """What a table must equal, and how it is found."""

    datastack: str
    mat_version: int | None
    name: str
    words: str
    frame: pl.DataFrame


def microns_source(installation: Deployment) -> Source:
    """Materializes the asset in process."""
    registry = installation.registry
    registry.record_datastack(Datastack(name="minnie65_public", voxel_resolution=tuple(RESOLUTION.values())))
    at = datetime(2025, 4, 29, 8, 10, 1, tzinfo=UTC)
    registry.record_versions([MaterializationVersion(datastack="minnie65_public", mat_version=1412, time_stamp=at)])
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("mat_version_minnie65_public", ["1412"])
    resource = FeatureRegistryResource(home=str(installation.settings.home))
    resources = {
        "feature_registry": resource,
        "feature_table_io_manager": FeatureTableIOManager(feature_registry=resource),
    }
    run = dg.materialize([synapses_pni_2], instance=instance, resources=resources, partition_key="1412")
    assert run.success
    assert all(check.passed for check in run.get_asset_check_evaluations())
    return Source("minnie65_public", 1412, "synapses_pni_2", "synapse cells", microns().collect())


def flywire_sources(installation: Deployment, folder: Path) -> Iterator[Source]:
    client = installation.client("flywire_fafb_public")
    for feather in sorted(FLYWIRE.glob("*.feather")):
        frame = pl.read_ipc(feather)
        path = folder / f"{feather.stem}.parquet"
        frame.write_parquet(path, row_group_size=20_000)
        name = feather.stem.replace("_630", "")
        client.register(
            str(path),
            name=name,
            mat_version=630,
            description=f"Layer of each neuron in the flow of information ({name.split('_')[-1]}).",
            owner="flywire",
            license="MIT",
            key=["root_id"],
            columns={"root_id": Column("The neuron", kind=SegmentationNode(level="root_id"))},
            publish=True,
        )
        yield Source("flywire_fafb_public", 630, name, f"layer {name.split('_')[-1]}", frame)


def maggot_sources(installation: Deployment, folder: Path) -> Iterator[Source]:
    client = installation.client("larval_brain")
    for name, words in (("edgelist", "weights edges"), ("nodes", "class side")):
        frame = pl.read_csv(MAGGOT / f"{name}.csv.gz", infer_schema_length=None)
        path = folder / f"{name}.parquet"
        frame.write_parquet(path)
        description = f"Connectome of a larval fruit fly: {words}."
        client.register(
            str(path), name=name, description=description, owner="larva", license="MIT", mat_version=None, publish=True
        )
        yield Source("larval_brain", None, name, words, frame)


@dataclass(frozen=True)
class Brains:
    """An installation that holds all of it."""

    installation: Deployment
    sources: dict[str, Source]

    def client(self, source: Source) -> FeatureRegistry:
        return self.installation.client(source.datastack, mat_version=source.mat_version or "unversioned")


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brains]:
    folder = tmp_path_factory.mktemp("outside")
    home = tmp_path_factory.mktemp("registry")
    with deployed(home, allowed_prefixes=(str(folder),)) as installation:
        sources = [microns_source(installation)]
        sources += flywire_sources(installation, folder)
        sources += maggot_sources(installation, folder)
        yield Brains(installation, {source.name: source for source in sources})


NAMES = ["synapses_pni_2", "neuron_class_ranking_allinputs", "neuron_class_ranking_olfactory", "edgelist", "nodes"]


def in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Neither Dagster's sorting nor an engine's threads are part of the answer."""
    return frame.sort(frame.columns)


@pytest.mark.parametrize("name", NAMES)
def test_search_finds_it(brains: Brains, name: str) -> None:
    source = brains.sources[name]
    found = [entry.table.name for entry in brains.client(source).search(source.words)]
    assert found == [name]


@pytest.mark.parametrize("name", NAMES)
def test_its_entry_says_what_is_there(brains: Brains, name: str) -> None:
    source = brains.sources[name]
    entry = brains.client(source).table(name).entry
    assert (entry.version.mat_version, entry.version.status) == (source.mat_version, "published")
    assert (entry.version.inspection.rows, len(entry.version.inspection.fields)) == source.frame.shape


@pytest.mark.parametrize("name", NAMES)
def test_polars_reads_it_through_links(brains: Brains, name: str) -> None:
    source = brains.sources[name]
    before = brains.installation.log.read_text().count("\n")
    read = brains.client(source).table(name).scan().collect()
    assert brains.installation.log.read_text().count("\n") > before  # the file server, not the disk
    assert_frame_equal(in_order(read), in_order(source.frame), check_exact=True)


@pytest.mark.parametrize("name", NAMES)
def test_duckdb_reads_it_through_links(brains: Brains, name: str) -> None:
    source = brains.sources[name]
    with brains.client(source).duckdb([name]) as connection:
        read = connection.sql(f"FROM {name}").pl()
    assert_frame_equal(in_order(read), in_order(source.frame), check_exact=True)


def test_ids_are_whole(brains: Brains) -> None:
    """They are beyond what a float or a JSON number holds, also as values of a filter."""
    source = brains.sources["synapses_pni_2"]
    cell = source.frame["post_pt_root_id"].mode().min()
    assert float(cell + 1) == float(cell)
    read = brains.client(source).table(source.name).scan(where=[("post_pt_root_id", "==", cell)]).collect()
    assert_frame_equal(in_order(read), in_order(source.frame.filter(pl.col("post_pt_root_id") == cell)))
    assert (
        brains.client(source).table(source.name).scan(where=[("post_pt_root_id", "==", cell + 1)]).collect().is_empty()
    )


def test_unsigned_ids_stay_unsigned(brains: Brains) -> None:
    source = brains.sources["neuron_class_ranking_allinputs"]
    assert brains.client(source).table(source.name).schema["root_id"] == pl.UInt64
    some = source.frame["root_id"].gather_every(10_000)
    read = brains.client(source).table(source.name).scan(where=[("root_id", "in", some.to_list())]).collect()
    assert_frame_equal(in_order(read), in_order(source.frame.filter(pl.col("root_id").is_in(some.implode()))))


def test_points_are_split_in_voxels(brains: Brains) -> None:
    source = brains.sources["synapses_pni_2"]
    kinds = {name: column.kind for name, column in brains.client(source).table(source.name).columns.items()}
    assert kinds["ctr_pt_position_z"] == SplitPoint(point="ctr_pt_position", axis="z", resolution=40)
    assert sum(isinstance(kind, SplitPoint) for kind in kinds.values()) == 9
    assert kinds["pre_pt_root_id"] == SegmentationNode(level="root_id")
