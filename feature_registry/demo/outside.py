"""Tables that other labs wrote with plain libraries, without Dagster, and the calls that register them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import deltalake
import polars as pl

from feature_registry.demo.cortex import (
    BUCKETS,
    EMBEDDING_DIMENSION,
    HKS_DIMENSION,
    LATEST,
    VERSIONS,
    Cortex,
)
from feature_registry.demo.database import made_of
from feature_registry.demo.laboratory import hks, segclr, spine_morphometry
from feature_registry.demo.meanings import CITATION
from feature_registry.model import (
    Column,
    Embedding,
    HashBuckets,
    Producer,
    Report,
    SegmentationNode,
    SplitPoint,
    TableId,
)

if TYPE_CHECKING:
    from feature_registry.client import FeatureRegistry

SEGCLR_VERSIONS = VERSIONS[1:]
ROWS_PER_GROUP = 16_384


# ------------------------------------------------------------------------------------------------------ writing


def folder_of(into: Path, cortex: Cortex) -> Path:
    """The tables of each cortex have a folder of their own: what was registered is never written over."""
    return into / sha256(made_of(cortex.size).encode()).hexdigest()[:12]


def write(into: Path, cortex: Cortex) -> list[str]:
    """Writes the tables that are missing, and returns their names."""
    writers: dict[str, Callable[[Path, Cortex], None]] = {
        **{f"segclr_{v}": partial(write_segclr, mat_version=v) for v in SEGCLR_VERSIONS},
        "hks": write_hks,
        "spine_morphometry.parquet": write_spine_morphometry,
    }
    files = folder_of(into, cortex)
    missing = {name: writer for name, writer in writers.items() if not (files / name).exists()}
    for name, writer in missing.items():
        with TemporaryDirectory(dir=_made(into)) as draft:  # a table that is there is whole
            writer(Path(draft) / name, cortex)
            (Path(draft) / name).replace(_made(files) / name)
    return list(missing)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_segclr(path: Path, cortex: Cortex, mat_version: int) -> None:
    """Parquet, in a folder for each bucket of `root_id % 8`."""
    points = segclr(cortex, mat_version)
    columns: dict[str, Any] = {"root_id": points["root_id"]}
    columns |= {axis: points["position"][:, i] for i, axis in enumerate("xyz")}
    columns |= {f"embedding_{i}": points["embedding"][:, i] for i in range(EMBEDDING_DIMENSION)}
    frame = pl.DataFrame(columns).sort("root_id", maintain_order=True)
    for bucket in range(BUCKETS):
        folder = path / f"bucket={bucket}"
        folder.mkdir(parents=True)
        frame.filter(pl.col("root_id") % BUCKETS == bucket).write_parquet(folder / "part-0.parquet")


def write_hks(path: Path, cortex: Cortex) -> None:
    """Delta, partitioned by the side."""
    made = hks(cortex)
    columns: dict[str, Any] = {"id": made["id"], "side": made["side"]}
    columns |= {f"hks_{i}": made["hks"][:, i] for i in range(HKS_DIMENSION)}
    deltalake.write_deltalake(path, pl.DataFrame(columns).to_arrow(), partition_by=["side"], mode="overwrite")


def write_spine_morphometry(path: Path, cortex: Cortex) -> None:
    """One Parquet file, sorted by root."""
    pl.DataFrame(spine_morphometry(cortex)).write_parquet(path, row_group_size=ROWS_PER_GROUP)


# -------------------------------------------------------------------------------------------------- registering


def register(registry: FeatureRegistry, files: Path) -> list[Report]:
    """Registers all tables; one that the catalog holds already stays as it is."""
    reports = [register_segclr(registry, files / f"segclr_{v}", v) for v in SEGCLR_VERSIONS]
    return [
        *reports,
        register_hks(registry, files / "hks"),
        register_spine_morphometry(registry, files / "spine_morphometry.parquet"),
    ]


def register_segclr(registry: FeatureRegistry, location: Path, mat_version: int) -> Report:
    """In the shape of SegCLR's embeddings, doi:10.1038/s41592-023-02059-8."""
    element = Embedding(dimension=EMBEDDING_DIMENSION, model="SegCLR (synthetic)")
    return registry.register(
        location,
        name="segclr",
        mat_version=mat_version,
        description="SegCLR embeddings at points along every root, to compare what neurites are like. Synthetic.",
        owner="representation-team",
        license="CC-BY-4.0",
        citation=CITATION,
        tags=["embedding", "segclr", "synthetic"],
        columns={
            "root_id": Column("The cell that the point lies in", kind=SegmentationNode(level="root_id")),
            **{
                axis: Column(f"{axis} of the point", unit="nm", kind=SplitPoint(point="point", axis=axis, resolution=1))
                for axis in ("x", "y", "z")
            },
            **{f"embedding_{i}": Column(f"Element {i}", unit="1", kind=element) for i in range(EMBEDDING_DIMENSION)},
            "bucket": Column(f"root_id % {BUCKETS}, of the folder", unit="1"),
        },
        hash_buckets=[HashBuckets(column="root_id", partition_column="bucket", transform="modulo", buckets=BUCKETS)],
        invalidation_radius=25_000,
        producer=Producer(pipeline="segclr-inference", code_version="0.3.1", model="SegCLR-64 (synthetic)"),
        publish=True,
    )


def register_hks(registry: FeatureRegistry, location: Path) -> Report:
    """In the shape of heat kernel signatures, doi:10.1111/j.1467-8659.2009.01515.x."""
    element = Embedding(dimension=HKS_DIMENSION)
    return registry.register(
        location,
        name="hks",
        mat_version=LATEST,
        description="Heat kernel signature of the mesh at the pre- and the postsynaptic site of synapses. Synthetic.",
        owner="morphology-team",
        license="CC-BY-4.0",
        citation=CITATION,
        tags=["hks", "synapse", "synthetic"],
        key=["id", "side"],
        columns={
            "id": Column("The synapse", kind=TableId(table="synapses")),
            "side": Column("pre or post: the side of the synapse", unit="1"),
            **{f"hks_{i}": Column(f"Heat left at time step {i}", unit="1", kind=element) for i in range(HKS_DIMENSION)},
        },
        references={"id": "synapses.id"},
        invalidation_radius=10_000,
        producer=Producer(pipeline="meshwork-hks", code_version="1.2.0"),
        publish=True,
    )


def register_spine_morphometry(registry: FeatureRegistry, location: Path) -> Report:
    return registry.register(
        location,
        name="spine_morphometry",
        mat_version=LATEST,
        description="Shape of every spine, and its path along the mesh to the surface of the soma. Synthetic.",
        owner="spine-team",
        license="CC-BY-4.0",
        citation=CITATION,
        tags=["spine", "morphology", "synthetic"],
        key=["post_pt_root_id", "component_id"],
        columns={
            "post_pt_root_id": Column("The cell that bears the spine", kind=SegmentationNode(level="root_id")),
            "component_id": Column("The number of the spine in its cell", unit="1"),
            "synapse_id": Column("The synapse on the spine", kind=TableId(table="synapses")),
            "volume": Column("Volume of head and neck", unit="um^3"),
            "length": Column("From the base to the tip", unit="nm"),
            "area": Column("Surface of head and neck", unit="um^2"),
            "distance_to_soma": Column("Path along the mesh to the surface of the soma", unit="nm"),
        },
        references={"synapse_id": "synapses.id"},
        invalidation_radius=2_000,
        producer=Producer(pipeline="spine-segmentation", code_version="2.0.0"),
        publish=True,
    )
