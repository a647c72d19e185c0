"""Databases in the shapes of CAVE's, filled from flattened rows: a materialization version each, split or merged.

The shapes are those of its annotation schemas. Where there is no PostGIS, `geometry` is a domain of bytea that holds
the very bytes.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import pyarrow as pa
from psycopg import conninfo, sql

from feature_registry.cave import SourceTable
from feature_registry.demo.database import ANALYSIS_VERSION

SEGMENTATION = "pcg"
POINT = "geometry"
BOUND = "bound point"

SCHEMAS: dict[str, dict[str, str]] = {
    "synapse": {"pre_pt": BOUND, "post_pt": BOUND, "ctr_pt": POINT, "size": "double precision"},
    "nucleus_detection": {"pt": BOUND, "volume": "double precision", "bb_start": POINT, "bb_end": POINT},
    "cell_type_local": {"classification_system": "varchar", "cell_type": "varchar", "pt": BOUND},
    "cell_type_reference": {"target_id": "bigint", "classification_system": "varchar", "cell_type": "varchar"},
    "spine_with_info": {"pt": BOUND, "volume": "double precision", "n_inputs": "integer"},
    "bouton_shape": {"target_id": "bigint", "shape": "varchar"},
    "postsynaptic_compartment": {
        "target_id": "bigint",
        "compartment": "varchar",
        "on_spine": "boolean",
        "dendrite_class": "varchar",
    },
    "reference_tag_float": {"target_id": "bigint", "tag": "varchar", "value": "double precision"},
    "compartment_proofread_status_strategy": {
        "pt": BOUND,
        "valid_id": "bigint",
        "status_dendrite": "boolean",
        "status_axon": "boolean",
        "strategy_dendrite": "varchar",
        "strategy_axon": "varchar",
    },
}
_BOOKKEEPING = {
    "created": "timestamp NOT NULL",
    "deleted": "timestamp",
    "superceded_id": "bigint",
    "valid": "boolean",
}
_ARROW = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "double precision": pa.float64(),
    "varchar": pa.string(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us"),
    "geometry": pa.binary(),
}


def ewkb(axes: Sequence[Any], srid: int | None = None) -> pa.BinaryArray:
    """Points as PostGIS writes them; null where x is."""
    columns = [pa.array(axis) for axis in axes]
    held = columns[0].is_valid().to_numpy(zero_copy_only=False)
    header = b"\x01\x01\x00\x00\x80" if srid is None else b"\x01\x01\x00\x00\xa0" + srid.to_bytes(4, "little")
    values = np.zeros((int(held.sum()), len(header) + 24), np.uint8)
    values[:, : len(header)] = np.frombuffer(header, np.uint8)
    points = np.stack([column.drop_null().to_numpy() for column in columns], axis=1).astype("<f8")
    values[:, len(header) :] = points.view(np.uint8).reshape(-1, 24)
    ends = np.concatenate([[0], np.cumsum(held * values.shape[1])]).astype(np.int32)
    mask = pa.py_buffer(np.packbits(held, bitorder="little").tobytes())
    return pa.Array.from_buffers(pa.binary(), len(held), [mask, pa.py_buffer(ends), pa.py_buffer(values.tobytes())])


@dataclass(frozen=True)
class FrozenDatabase:
    """`server` is a libpq address of its server."""

    server: str
    datastack: str
    mat_version: int
    postgis: bool = False

    @property
    def name(self) -> str:
        return f"{self.datastack}__mat{self.mat_version}"

    @classmethod
    @contextlib.contextmanager
    def made(cls, server: str, *, mat_version: int = 943, postgis: bool = False) -> Iterator[FrozenDatabase]:
        """Of a datastack whose name nobody else uses, until the context ends."""
        made = cls(server, f"cortex_{uuid.uuid4().hex[:8]}", mat_version, postgis)
        made.create()
        try:
            yield made
        finally:
            made.drop()

    def create(self) -> None:
        execute(self.server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name)))
        self.execute("CREATE EXTENSION postgis" if self.postgis else "CREATE DOMAIN geometry AS bytea")

    def drop(self) -> None:
        execute(self.server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))

    def execute(self, *statements: str | sql.Composable) -> None:
        execute(conninfo.make_conninfo(self.server, dbname=self.name), *statements)

    def add(
        self,
        name: str,
        schema_type: str,
        rows: pa.Table,
        more: Iterable[pa.Table] = (),
        *,
        split: bool = True,
        srid: int | None = None,
    ) -> SourceTable:
        """Makes the table of flattened rows; a column `valid` may be among them, else all are.

        Split, as CAVE's live database has it: annotations, and in another table what their points were bound to.
        Merged: one table without the bookkeeping.
        """
        fields = SCHEMAS[schema_type]
        annotation, segmentation = _columns(fields)
        tables = {name: annotation, f"{name}__{SEGMENTATION}": {"id": "bigint"} | segmentation}
        if not split:
            tables = {name: {key: annotation.get(key, kind) for key, kind in _merged(fields).items()}}
        elif not segmentation:
            tables = {name: annotation}
        for table, columns in tables.items():
            described = [sql.SQL("{} {}").format(sql.Identifier(key), sql.SQL(kind)) for key, kind in columns.items()]
            self.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(table), sql.SQL(", ").join(described)))
        for part in chain([rows], more):
            filled = _filled(part, annotation | segmentation, srid)
            for table, columns in tables.items():
                self._append(table, columns, filled)
        for each in ("ALTER TABLE {} ADD PRIMARY KEY (id)", "ANALYZE {}"):
            self.execute(*(sql.SQL(each).format(sql.Identifier(table)) for table in tables))
        bound = SEGMENTATION if segmentation else None
        return SourceTable(self.datastack, self.mat_version, name, schema_type=schema_type, segmentation=bound)

    def _append(self, table: str, columns: dict[str, str], rows: pa.Table) -> None:
        kinds = {key: _ARROW[kind.split(" NOT NULL")[0]] for key, kind in columns.items()}
        address = conninfo.make_conninfo(self.server, dbname=self.name)
        with adbc.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(table, rows.select(list(kinds)).cast(pa.schema(list(kinds.items()))), mode="append")


def execute(address: str, *statements: str | sql.Composable) -> None:
    with adbc.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.executescript(statement if isinstance(statement, str) else statement.as_string(None))


@contextlib.contextmanager
def live_database(
    server: str, aligned_volume: str, versions: Sequence[tuple[int, str, int, int | None]]
) -> Iterator[None]:
    """CAVE's own database, of which only the versions are here: id, datastack, mat_version and the parent's id."""
    name = sql.Identifier(aligned_volume)
    execute(server, sql.SQL("CREATE DATABASE {}").format(name))
    values = [
        sql.SQL("({}, {}, {}, {}, true, NULL, {}, 'AVAILABLE')").format(
            number, datastack, version, str(datetime.now(UTC)), parent
        )
        for number, datastack, version, parent in versions
    ]
    columns = "(id, datastack, version, time_stamp, valid, expires_on, parent_version, status)"
    insert = sql.SQL("INSERT INTO analysisversion {} VALUES {}").format(sql.SQL(columns), sql.SQL(", ").join(values))
    try:
        execute(conninfo.make_conninfo(server, dbname=aligned_volume), *ANALYSIS_VERSION.split(";"), insert)
        yield
    finally:
        execute(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _columns(fields: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Of the annotations, and of what is bound to their points."""
    annotation = {"id": "bigint"} | _BOOKKEEPING
    segmentation: dict[str, str] = {}
    for name, kind in fields.items():
        if kind in {POINT, BOUND}:
            annotation[f"{name}_position"] = "geometry"
        else:
            annotation[name] = kind
        if kind == BOUND:
            segmentation |= {f"{name}_supervoxel_id": "bigint", f"{name}_root_id": "bigint"}
    return annotation, segmentation


def _merged(fields: dict[str, str]) -> dict[str, str]:
    """What CAVE makes of both: in the order of the flattened schema."""
    columns = {"id": "bigint", "valid": "boolean"}
    for name, kind in fields.items():
        if kind == BOUND:
            columns |= {f"{name}_position": "geometry", f"{name}_supervoxel_id": "bigint", f"{name}_root_id": "bigint"}
        else:
            columns |= {f"{name}_position" if kind == POINT else name: kind}
    return columns


def _filled(rows: pa.Table, columns: dict[str, str], srid: int | None) -> pa.Table:
    made = {}
    for name, kind in columns.items():
        if kind == "geometry":
            made[name] = ewkb([rows[f"{name}_{axis}"].combine_chunks() for axis in "xyz"], srid)
        elif name in rows.column_names:
            made[name] = rows[name]
        elif name == "created":
            made[name] = pa.repeat(pa.scalar(datetime(2020, 1, 1), pa.timestamp("us")), rows.num_rows)
        else:
            made[name] = pa.repeat(True, rows.num_rows) if name == "valid" else pa.nulls(rows.num_rows, _ARROW[kind])
    return pa.table(made)


def synapses(rows: int, seed: int = 5, cells: int | None = None) -> pa.Table:
    """Flattened, in the shape of a cortex: 18-digit ids, a hundred inputs a cell. Another seed gives other ids."""
    random = np.random.default_rng(seed)
    roots = 864_691_135_000_000_000 + 137 * np.arange(cells or max(rows // 100, 1))
    centre = random.integers([0, 0, 0], [400_000, 300_000, 28_000], (rows, 3))
    columns = {"id": np.arange(rows) + 100_000_000_000_000_000 + seed * 10**10}
    for side in ("pre", "post"):
        near = centre + random.integers(-40, 40, (rows, 3))
        columns |= {f"{side}_pt_position_{axis}": near[:, number].astype(np.int32) for number, axis in enumerate("xyz")}
        columns[f"{side}_pt_supervoxel_id"] = random.integers(80 * 10**15, 90 * 10**15, rows)
        columns[f"{side}_pt_root_id"] = random.choice(roots, rows)
    columns |= {f"ctr_pt_position_{axis}": centre[:, number].astype(np.int32) for number, axis in enumerate("xyz")}
    return pa.table(columns | {"size": random.lognormal(6, 1, rows).round()})
