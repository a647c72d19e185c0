"""The cortex in PostgreSQL, in the shapes of CAVE's databases: one for each materialization version, one of versions.

`{datastack}__mat1` is merged, a table each; in later ones a table is split, as CAVE does it by now: what people said,
and beside it (`{table}__{segmentation}`) what lies below the points. Without PostGIS, `geometry` is a domain of bytea.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import polars as pl
import psycopg
import pyarrow as pa
from psycopg import conninfo, sql

from feature_registry.demo import postgresql
from feature_registry.demo.annotations import tables
from feature_registry.demo.cortex import DATASTACK, LATEST, TIME_STAMPS, VERSIONS, Cortex, Size, build
from feature_registry.settings import Settings

PUBLIC = f"{DATASTACK}_public"
ALIGNED_VOLUME = f"{DATASTACK}_volume"
SEGMENTATION = DATASTACK  # the chunked graph, by whose name the tables of what lies below points are called
MERGED = VERSIONS[:1]
VIEW = "cell_info"
INVALID = 3  # rows of each table that were taken back: they are in the database, and must not be dumped
_LOADED = ", loaded "
_GENERATOR = ("annotations", "cortex", "database", "laboratory", "outside")
_EWKB_POINT_Z = b"\x01\x01\x00\x00\x80"
_VIEW = """
CREATE VIEW {view} AS
SELECT nucleus.id, nucleus.pt_position, below.pt_supervoxel_id, below.pt_root_id, nucleus.volume,
    cell.classification_system, cell.cell_type
FROM nucleus_detection nucleus JOIN {below} below USING (id)
LEFT JOIN cell_types cell ON cell.target_id = nucleus.id AND cell.valid
WHERE nucleus.valid
"""
ANALYSIS_VERSION = """
CREATE TYPE version_status AS ENUM ('AVAILABLE', 'RUNNING', 'FAILED', 'EXPIRED');
CREATE TABLE analysisversion (
    id integer PRIMARY KEY, datastack varchar(100) NOT NULL, version integer NOT NULL, time_stamp timestamp NOT NULL,
    valid boolean, expires_on timestamp, parent_version integer REFERENCES analysisversion,
    status version_status NOT NULL, is_merged boolean DEFAULT true
)
"""


def folder() -> Path:
    """Where the demo's own data are: outside what the registry manages."""
    return (Settings().home / "cortex").absolute()


def server(into: Path) -> str:
    """How libpq reaches the server of the databases, which is started if need be."""
    return postgresql.server(into / "pg")


def write(into: Path, cortex: Cortex | None = None) -> list[str]:
    """Makes the databases that are missing, or of another cortex than the given one, and returns their names.

    Without a cortex, any is welcome; where there is none, the usual one is made.
    """
    address = server(into)
    names = [ALIGNED_VOLUME, *(f"{DATASTACK}__mat{mat_version}" for mat_version in VERSIONS)]
    wanted = None if cortex is None else made_of(cortex.size)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")  # of two processes that lack them, one makes them
        held = _said(address)
        missing = [name for name in names if name not in held or wanted not in (None, held[name][0])]
        for name in missing:
            draft, made = f"{name}_draft", cortex or build(Size())
            _drop(connection, draft)
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(draft)))
            _fill(conninfo.make_conninfo(address, dbname=draft), name, made)
            said = sql.Literal(f"{made_of(made.size)}{_LOADED}{datetime.now(UTC).isoformat()}")
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(draft), said))
            _drop(connection, name)  # a database that is there is whole
            connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*map(sql.Identifier, (draft, name))))
    return missing


def code_version() -> str:
    """Names the code that makes the cortex."""
    files = (Path(__file__).with_name(f"{name}.py") for name in _GENERATOR)
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def made_of(size: Size) -> str:
    """Names a cortex: its size and seed, and the code that makes it."""
    return f"{size} {code_version()}"


def ewkb(axes: Sequence[pl.Series]) -> pa.BinaryArray:
    """Points as PostGIS writes them."""
    count, length = len(axes[0]), len(_EWKB_POINT_Z) + 8 * len(axes)
    values = np.empty((count, length), np.uint8)
    values[:, : len(_EWKB_POINT_Z)] = np.frombuffer(_EWKB_POINT_Z, np.uint8)
    values[:, len(_EWKB_POINT_Z) :] = np.stack(axes, axis=1).astype("<f8").view(np.uint8)
    ends = pa.py_buffer(np.arange(0, length * (count + 1), length, dtype=np.int32))
    return pa.Array.from_buffers(pa.binary(), count, [None, ends, pa.py_buffer(values)])


def loaded(into: Path) -> datetime:
    """When the last of the databases was made."""
    return max(instant for _, instant in _said(server(into)).values())


def _said(address: str) -> dict[str, tuple[str, datetime]]:
    """Of which cortex a database is, and since when it is there."""
    with psycopg.connect(address) as connection:
        found = connection.execute("SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database")
        said = {name: text.partition(_LOADED) for name, text in found if text and _LOADED in text}
    return {name: (made, datetime.fromisoformat(instant)) for name, (made, _, instant) in said.items()}


def _drop(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


# ------------------------------------------------------------------------------------------------------ filling


def _fill(address: str, name: str, cortex: Cortex) -> None:
    with psycopg.connect(address) as connection:
        if name == ALIGNED_VOLUME:
            connection.execute(ANALYSIS_VERSION)
            with connection.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO analysisversion VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", _versions()
                )
            return
    mat_version = int(name.removeprefix(f"{DATASTACK}__mat"))
    with adbc.connect(address) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DOMAIN geometry AS bytea")
        for table, frame in tables(cortex, mat_version).items():
            for stored, columns in _stored(table, frame, merged=mat_version in MERGED).items():
                cursor.adbc_ingest(stored, columns, mode="create")
                points = [each for each in columns.column_names if each.endswith("_position")]
                changes = ["ADD PRIMARY KEY (id)", *(f"ALTER {each} TYPE geometry" for each in points)]
                cursor.execute(f"ALTER TABLE {stored} {', '.join(changes)}")
        below = "nucleus_detection" if mat_version in MERGED else f"nucleus_detection__{SEGMENTATION}"
        cursor.execute(_VIEW.format(view=VIEW, below=below))
        cursor.execute("ANALYZE")
        connection.commit()


def _versions() -> list[tuple[Any, ...]]:
    """Rows of `analysisversion`: the versions, and the public datastack's, whose parent is the last of them."""
    own = [(each, DATASTACK, each, None) for each in VERSIONS]
    return [
        (
            number,
            datastack,
            version,
            TIME_STAMPS[version].replace(tzinfo=None),
            True,
            None,
            parent,
            "AVAILABLE",
            version in MERGED,
        )
        for number, datastack, version, parent in [*own, (LATEST + 1, PUBLIC, LATEST, LATEST)]
    ]


def _stored(name: str, frame: pl.DataFrame, merged: bool) -> dict[str, pa.Table]:
    """The tables of the database that hold a table, of flat rows."""
    rows = _with_invalid(frame)
    columns: dict[str, Any] = {}
    for column in rows.columns:
        if column.endswith("_position_x"):
            point = column.removesuffix("_x")
            columns[point] = ewkb([rows[f"{point}_{axis}"] for axis in "xyz"])
        elif not column.endswith(("_position_y", "_position_z")):
            columns[column] = rows[column].to_arrow()
    below = [column for column in columns if column.endswith(("_supervoxel_id", "_root_id"))]
    if merged:
        return {name: pa.table({column: values for column, values in columns.items() if column != "created"})}
    said = pa.table({column: values for column, values in columns.items() if column not in below})
    return {
        name: said.append_column("deleted", pa.nulls(len(said), pa.timestamp("us"))).append_column(
            "superceded_id", pa.nulls(len(said), pa.int64())
        ),
        f"{name}__{SEGMENTATION}": pa.table({column: columns[column] for column in ("id", *below)}),
    }


def _with_invalid(frame: pl.DataFrame) -> pl.DataFrame:
    begun = TIME_STAMPS[VERSIONS[0]].replace(tzinfo=None) - timedelta(days=30)
    if "created" not in frame.columns:
        frame = frame.with_columns(pl.lit(begun, pl.Datetime("us")).alias("created"))
    wrong = frame.head(INVALID).with_columns(pl.col("id") + frame["id"].max(), pl.lit(False).alias("valid"))
    return pl.concat([frame.with_columns(pl.lit(True).alias("valid")), wrong])
