"""The embedded database that stands for CAVE's: a DuckDB file a materialization version, in CAVE's table shapes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from feature_registry.cave import ColumnStatistics, SourceTable
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
    voxels,
)
from feature_registry.errors import NotFound
from feature_registry.model import Datastack, MaterializationVersion, Resolution
from feature_registry.settings import Settings

ORDER = {"synapses": "post_pt_root_id, id"}  # what people look up; others go by id
ROWS_PER_BATCH = 65_536
TABLES = ("synapses", "nucleus_detection", "cell_types", "proofreading_status", "spines")
_GENERATOR = ("cortex", "database", "laboratory", "outside")


class CortexVersions:
    """The demo's materialization versions and their tables, as CAVE would say it."""

    def datastacks(self) -> list[Datastack]:
        return [
            Datastack(
                name=DATASTACK,
                aligned_volume=f"{DATASTACK}_volume",
                segmentation_source="feature_registry.demo.cortex",
                voxel_resolution=_resolution(),
            )
        ]

    def versions(self, datastack: str) -> list[MaterializationVersion]:
        return [
            MaterializationVersion(datastack=datastack, mat_version=mat_version, time_stamp=time_stamp, tables=TABLES)
            for mat_version, time_stamp in TIME_STAMPS.items()
        ]

    def table(self, datastack: str, mat_version: int, name: str) -> SourceTable:
        if (datastack, mat_version, name) not in {(DATASTACK, each, table) for each in VERSIONS for table in TABLES}:
            raise NotFound("is not in the demo", field="table", value=f"{datastack}/{name}@{mat_version}")
        return SourceTable(datastack, mat_version, name, {"key": ["id"]}, resolution=_resolution())

    def rows(self, table: SourceTable) -> Dump:
        return Dump(table.name, table.mat_version)


@dataclass(frozen=True)
class Dump:
    """A table of the embedded database. What DuckDB says of a version's file stays true: nobody writes to it."""

    table: str
    mat_version: int

    @cached_property
    def reader(self) -> pa.RecordBatchReader:
        return dump(self.table, self.mat_version)

    @cached_property
    def expected(self) -> int:
        return int(self._ask("count(*)")[0])

    def statistics(self) -> list[ColumnStatistics]:
        return [self._statistics(field) for field in self.reader.schema]

    def close(self) -> None:
        self.reader.close()

    def _statistics(self, field: pa.Field) -> ColumnStatistics:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        total = f"sum({field.name})" if number else "NULL"
        count, held, *others = self._ask(
            f"count(*), count({field.name}), min({field.name}), max({field.name}), {total}"
        )
        return ColumnStatistics(field.name, count, count - held, *others)

    def _ask(self, what: str) -> tuple[Any, ...]:
        with contextlib.closing(duckdb.connect(_path(folder(), self.mat_version), read_only=True)) as connection:
            return connection.sql(f"SELECT {what} FROM {self.table}").fetchall()[0]  # noqa: S608 (names of our own)


def _resolution() -> Resolution:
    x, y, z = map(float, RESOLUTION)
    return x, y, z


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
    schema = pa.schema([field.with_type(_in_utc(field.type)) for field in reader.schema])

    def batches() -> Iterator[pa.RecordBatch]:
        # It holds the connection: DuckDB opens a file no more while a stream of it outlives its last connection.
        with contextlib.closing(connection):
            yield from reader.cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _in_utc(kind: pa.DataType) -> pa.DataType:
    """DuckDB names the time zone of the machine; the instants are the same."""
    return pa.timestamp(kind.unit, "UTC") if pa.types.is_timestamp(kind) else kind


def tables(cortex: Cortex, mat_version: int) -> dict[str, pl.DataFrame]:
    """The annotation tables of one version."""
    made = (_synapses, _nuclei, _cell_types, _proofreading, _spines)
    return {name: table(cortex, mat_version) for name, table in zip(TABLES, made, strict=True)}


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


def _rows(arrays: Arrays, chosen: NDArray[Any]) -> Arrays:
    return {name: values[chosen] for name, values in arrays.items()}


def _point(name: str, position: NDArray[Any]) -> dict[str, pl.Series]:
    return {f"{name}_position_{axis}": pl.Series(position[:, i], dtype=pl.Int32) for i, axis in enumerate("xyz")}


def _bound(name: str, rows: Arrays, roots: Ints, side: str = "") -> dict[str, Any]:
    """A point, and what of the segmentation lies below it; 0 where nothing does."""
    piece = rows[f"{side}piece"]
    return {
        **_point(name, rows[f"{side}position"]),
        f"{name}_supervoxel_id": rows[f"{side}supervoxel"],
        f"{name}_root_id": np.where(piece < 0, 0, roots[piece]),
    }


def _synapses(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    rows = _rows(cortex.synapses, cortex.synapses["added"] <= mat_version)
    roots = cortex.roots[mat_version]
    columns = {
        "id": rows["id"],
        "created": pl.Series(rows["created"]).dt.replace_time_zone("UTC"),
        "size": rows["size"],
        **_bound("pre_pt", rows, roots, "pre_"),
        **_point("ctr_pt", rows["ctr_position"]),
        **_bound("post_pt", rows, roots, "post_"),
    }
    return pl.DataFrame(columns).sort("post_pt_root_id", "id")


def _nuclei(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    nuclei = cortex.nuclei
    columns = {
        "id": nuclei["id"],
        "volume": nuclei["volume"],
        **_bound("pt", nuclei, cortex.roots[mat_version]),
        **_point("bb_start", nuclei["bb_start"]),
        **_point("bb_end", nuclei["bb_end"]),
    }
    return pl.DataFrame(columns)


def _cell_types(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    cell = cortex.nuclei["cell"]
    columns = {
        "id": np.arange(1, len(cell) + 1),
        "target_id": cortex.nuclei["id"],
        "classification_system": np.where(cortex.excitatory[cell], "excitatory_neuron", "inhibitory_neuron"),
        "cell_type": cortex.cell_type[cell],
        **_bound("pt", cortex.nuclei, cortex.roots[mat_version]),
    }
    return pl.DataFrame(columns)


def _proofreading(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    rows = _rows(cortex.proofread, cortex.proofread["judged"] <= mat_version)
    cell = rows["cell"]
    said = ("id", "valid_id", "status_axon", "status_dendrite", "strategy_axon", "strategy_dendrite")
    soma = {"position": voxels(cortex.soma[cell]), "supervoxel": cortex.supervoxels[cell, 0], "piece": cell}
    return pl.DataFrame({name: rows[name] for name in said} | _bound("pt", soma, cortex.roots[mat_version]))


def _spines(cortex: Cortex, mat_version: int) -> pl.DataFrame:
    spines = _rows(cortex.spines, cortex.synapses["added"][cortex.spines["synapse_row"]] <= mat_version)
    synapses = _rows(cortex.synapses, spines["synapse_row"])
    columns = {
        "id": spines["id"],
        "target_id": synapses["id"],
        "spine_volume": spines["volume"],
        **_bound("pt", synapses, cortex.roots[mat_version], "post_"),
    }
    return pl.DataFrame(columns)
