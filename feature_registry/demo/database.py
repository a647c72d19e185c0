"""The embedded database that stands for CAVE's: a DuckDB file a materialization version, in CAVE's table shapes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from feature_registry.demo.cortex import (
    DATASTACK,
    RESOLUTION,
    TIME_STAMPS,
    VERSIONS,
    Arrays,
    Cortex,
    Ints,
    Size,
    build,
)
from feature_registry.model import Datastack, MaterializationVersion
from feature_registry.settings import Settings

ORDER = {"synapses": "post_pt_root_id, id"}  # what people look up; others go by id
ROWS_PER_BATCH = 65_536
_GENERATOR = ("cortex", "database", "laboratory", "outside")


class CortexVersions:
    """Which materialization versions of the demo exist, as CAVE would say it."""

    def datastack(self) -> Datastack:
        x, y, z = map(float, RESOLUTION)
        return Datastack(
            name=DATASTACK,
            aligned_volume=f"{DATASTACK}_volume",
            segmentation_source="feature_registry.demo.cortex",
            voxel_resolution=(x, y, z),
        )

    def versions(self) -> list[MaterializationVersion]:
        return [
            MaterializationVersion(datastack=DATASTACK, mat_version=mat_version, time_stamp=time_stamp)
            for mat_version, time_stamp in TIME_STAMPS.items()
        ]


def folder() -> Path:
    """Where the demo's own data are: outside what the registry manages."""
    return (Settings().home / "cortex").absolute()


def write(into: Path, cortex: Cortex) -> list[Path]:
    """Writes the databases that are missing or of another cortex, and returns these."""
    into.mkdir(parents=True, exist_ok=True)
    return [path for mat_version in VERSIONS if (path := _write_version(into, cortex, mat_version)) is not None]


def dump(table: str, mat_version: int) -> pa.RecordBatchReader:
    """All rows of the table at the version, sorted; a first call without a database makes it."""
    path = _path(folder(), mat_version)
    if not path.exists():
        write(folder(), build(Size()))
    connection = duckdb.connect(path, read_only=True)
    query = f"SELECT * FROM {table} ORDER BY {ORDER.get(table, 'id')}"  # noqa: S608 (names of our own)
    reader = connection.sql(query).to_arrow_reader(ROWS_PER_BATCH)
    return reader.cast(pa.schema([field.with_type(_in_utc(field.type)) for field in reader.schema]))


def _in_utc(kind: pa.DataType) -> pa.DataType:
    """DuckDB names the time zone of the machine; the instants are the same."""
    return pa.timestamp(kind.unit, "UTC") if pa.types.is_timestamp(kind) else kind


def tables(cortex: Cortex, mat_version: int) -> dict[str, pl.DataFrame]:
    """The annotation tables of one version."""
    roots = cortex.roots[mat_version]
    return {
        "synapses": _synapses(cortex, mat_version),
        "nucleus_detection": _nuclei(cortex, roots),
        "cell_types": _cell_types(cortex, roots),
        "proofreading_status": _proofreading(cortex, mat_version),
        "spines": _spines(cortex, mat_version),
    }


def _path(into: Path, mat_version: int) -> Path:
    return into / f"{DATASTACK}__mat{mat_version}.duckdb"


def _write_version(into: Path, cortex: Cortex, mat_version: int) -> Path | None:
    path = _path(into, mat_version)
    if path.exists() and _made_of(path) == made_of(cortex.size):
        return None
    draft = path.with_suffix(f".{os.getpid()}")
    draft.unlink(missing_ok=True)
    with contextlib.closing(duckdb.connect(draft)) as connection:
        for name, frame in tables(cortex, mat_version).items():
            connection.register("frame", frame.to_arrow())
            connection.execute(f"CREATE TABLE {name} AS SELECT * FROM frame")  # noqa: S608 (names of our own)
        connection.execute("CREATE TABLE cortex AS SELECT ? AS made_of", [made_of(cortex.size)])
    return draft.replace(path)


def code_version() -> str:
    """Names the code that makes the cortex."""
    files = (Path(__file__).with_name(f"{name}.py") for name in _GENERATOR)
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def made_of(size: Size) -> str:
    """Names a cortex: its size and seed, and the code that makes it."""
    return f"{size} {code_version()}"


def _made_of(path: Path) -> str:
    with contextlib.closing(duckdb.connect(path, read_only=True)) as connection:
        return str(connection.sql("SELECT made_of FROM cortex").fetchall()[0][0])


def _axes(point: str, position: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Iterator[tuple[str, pl.Series]]:
    for axis, name in enumerate("xyz"):
        yield f"{point}_position_{name}", pl.Series(position[:, axis], dtype=pl.Int32)


def root_of(piece: Ints, roots: Ints) -> Ints:
    """The root ids of pieces; 0 where there is no piece."""
    return np.where(piece < 0, 0, roots[piece])


def _bound(supervoxel: object, piece: object, roots: Ints, point: str = "pt") -> dict[str, object]:
    return {f"{point}_supervoxel_id": supervoxel, f"{point}_root_id": root_of(piece, roots)}  # type: ignore[arg-type]


def _synapses(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    here = cortex.synapses["added"].astype(int) <= mat_version
    rows: Arrays = {name: values[here] for name, values in cortex.synapses.items()}
    roots = cortex.roots[mat_version]
    columns = {
        "id": rows["id"],
        "created": pl.Series(rows["created"]).dt.replace_time_zone("UTC"),
        "size": rows["size"],
        **dict(_axes("pre_pt", rows["pre_position"])),
        **_bound(rows["pre_supervoxel"], rows["pre_piece"], roots, "pre_pt"),
        **dict(_axes("ctr_pt", rows["ctr_position"])),
        **dict(_axes("post_pt", rows["post_position"])),
        **_bound(rows["post_supervoxel"], rows["post_piece"], roots, "post_pt"),
    }
    return pl.DataFrame(columns).sort("post_pt_root_id", "id")


def _nuclei(cortex: Cortex, roots: Ints) -> pl.DataFrame:
    nuclei = cortex.nuclei
    return pl.DataFrame(
        {
            "id": nuclei["id"],
            "volume": nuclei["volume"],
            **dict(_axes("pt", nuclei["position"])),
            **dict(_axes("bb_start", nuclei["bb_start"])),
            **dict(_axes("bb_end", nuclei["bb_end"])),
            **_bound(nuclei["supervoxel"], nuclei["piece"], roots),
        }
    )


def _cell_types(cortex: Cortex, roots: Ints) -> pl.DataFrame:
    nuclei = cortex.nuclei
    cell = nuclei["cell"].astype(int)
    return pl.DataFrame(
        {
            "id": np.arange(1, len(cell) + 1),
            "target_id": nuclei["id"],
            "classification_system": np.where(cortex.excitatory[cell], "excitatory_neuron", "inhibitory_neuron"),
            "cell_type": cortex.cell_type[cell],
            **dict(_axes("pt", nuclei["position"])),
            **_bound(nuclei["supervoxel"], nuclei["piece"], roots),
        }
    )


def _proofreading(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    here = cortex.proofread["judged"].astype(int) <= mat_version
    rows = {name: values[here] for name, values in cortex.proofread.items()}
    cell = rows["cell"].astype(int)
    said = ("id", "valid_id", "status_axon", "status_dendrite", "strategy_axon", "strategy_dendrite")
    return pl.DataFrame(
        {
            **{name: rows[name] for name in said},
            **dict(_axes("pt", np.rint(cortex.soma[cell] / RESOLUTION).astype(np.int32))),
            **_bound(cortex.supervoxels[cell, 0], cell, cortex.roots[mat_version]),
        }
    )


def _spines(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    synapse = cortex.spines["synapse_row"].astype(int)
    here = cortex.synapses["added"][synapse].astype(int) <= mat_version
    row = synapse[here]
    return pl.DataFrame(
        {
            "id": cortex.spines["id"][here],
            "target_id": cortex.synapses["id"][row],
            "spine_volume": cortex.spines["volume"][here],
            **dict(_axes("pt", cortex.synapses["post_position"][row])),
            **_bound(
                cortex.synapses["post_supervoxel"][row],
                cortex.synapses["post_piece"][row],
                cortex.roots[mat_version],
            ),
        }
    )
