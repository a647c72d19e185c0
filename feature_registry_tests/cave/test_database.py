from __future__ import annotations

import contextlib
import math
import os
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
import sqlalchemy as sa
from polars.testing import assert_frame_equal
from psycopg import conninfo
from pydantic import SecretStr

from feature_registry.cave import ColumnStatistics, Rows, SourceTable
from feature_registry.cave.database import FrozenDatabases
from feature_registry.errors import Denied, Invalid, NotFound, RegistryError, Unavailable
from feature_registry_tests.cave.frozen import SCHEMAS, FrozenDatabase, execute, live_database, synapses

MICRONS = Path(__file__).parents[3] / "shared" / "data" / "microns_v1412"
MICRONS_COLUMNS = {
    "id": pa.int64(),
    **{f"{side}_pt_position_{axis}": pa.int32() for side in ("pre", "ctr", "post") for axis in "xyz"},
    "size": pa.float64(),
    **{f"{side}_pt_{node}_id": pa.int64() for side in ("pre", "post") for node in ("supervoxel", "root")},
}
POSTGIS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
BOUND = 864_691_135_000_000_137


def point(name: str, *x: int | None) -> dict[str, pa.Array]:
    axes = {axis: [None if each is None else each + number for each in x] for number, axis in enumerate("xyz")}
    return {f"{name}_position_{axis}": pa.array(values, pa.int32()) for axis, values in axes.items()}


def bound(name: str, *x: int | None) -> dict[str, pa.Array]:
    nodes = {f"{name}_supervoxel_id": [BOUND - 10**17, 1, None], f"{name}_root_id": [BOUND, BOUND + 1, None]}
    return point(name, *x) | {key: pa.array(values, pa.int64()) for key, values in nodes.items()}


TARGETS = {"target_id": pa.array([2**53 + 1, 2, 3])}
FLATTENED: dict[str, dict[str, Any]] = {
    "synapse": bound("pre_pt", 1, 2, 3)
    | bound("post_pt", 4, 5, 6)
    | point("ctr_pt", 7, 8, 9)
    | {"size": [508.0, 2.5, None]},
    "nucleus_detection": bound("pt", 1, 2, 3)
    | {"volume": [277.25, None, 0.1]}
    | point("bb_start", -1, None, 2)
    | point("bb_end", 3, None, None),
    "cell_type_local": {"classification_system": ["e", "i", "ü"], "cell_type": ["23P", "BC", ""]}
    | bound("pt", 1, 2, 3),
    "cell_type_reference": TARGETS | {"classification_system": ["e", "i", "e"], "cell_type": ["L2/3 PC", "é", None]},
    "spine_with_info": bound("pt", 1, 2, 3)
    | {"volume": [0.5, None, 1.5], "n_inputs": pa.array([1, None, 0], pa.int32())},
    "bouton_shape": TARGETS | {"shape": ["pancake", "basmati", "potato"]},
    "postsynaptic_compartment": TARGETS
    | {
        "compartment": ["soma", "axon", "dendrite"],
        "on_spine": [True, None, False],
        "dendrite_class": [None, None, "apical"],
    },
    "reference_tag_float": TARGETS | {"tag": ["a", "B", "b"], "value": [math.inf, math.nan, -0.5]},
    "compartment_proofread_status_strategy": bound("pt", 1, 2, 3)
    | {
        "valid_id": [BOUND, BOUND + 1, BOUND + 2],
        "status_dendrite": [True, True, False],
        "status_axon": [True, False, None],
        "strategy_dendrite": ["dendrite_extended", "dendrite_clean", None],
        "strategy_axon": ["axon_fully_extended", "none", None],
    },
}


def flattened(schema_type: str) -> pa.Table:
    return pa.table({"id": pa.array([100_000_000_000_000_001, 2, 3])} | FLATTENED[schema_type])


@pytest.fixture(scope="module")
def server(postgresql_server: sa.URL) -> str:
    return postgresql_server.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def database(server: str) -> Iterator[FrozenDatabase]:
    with FrozenDatabase.made(server) as made:
        yield made


@pytest.fixture
def databases(server: str) -> Iterator[FrozenDatabases]:
    with contextlib.closing(FrozenDatabases(SecretStr(server))) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    """Of a table, a role or a database that no other test makes."""
    return f"t{uuid.uuid4().hex[:12]}"


def by_name(rows: Rows) -> dict[str, ColumnStatistics]:
    return {each.name: each for each in rows.statistics()}


def read(
    databases: FrozenDatabases, table: SourceTable, **options: Any
) -> tuple[pa.Table, dict[str, ColumnStatistics]]:
    with contextlib.closing(databases.rows(table, **options)) as rows:
        found = rows.reader.read_all()
        return found.sort_by("id") if "id" in found.column_names else found, by_name(rows)


def sessions(server: str, database: FrozenDatabase) -> int:
    """How many are open, ours aside."""
    engine = sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:", 1), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        statement = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = :name")
        return int(connection.execute(statement, {"name": database.name}).scalar_one())


def until(true: Any, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(true())


@pytest.mark.parametrize("split", [True, False], ids=["split", "merged"])
@pytest.mark.parametrize("schema_type", SCHEMAS)
def test_a_table_is_flattened(
    databases: FrozenDatabases, database: FrozenDatabase, schema_type: str, split: bool
) -> None:
    """In the order of CAVE's flattened schemas, whichever way it is stored, and counted as it is."""
    expected = flattened(schema_type)
    table = database.add(f"{schema_type}_{split}", schema_type, expected, split=split)
    found, statistics = read(databases, table)
    assert_frame_equal(pl.from_arrow(found), pl.from_arrow(expected.sort_by("id")), check_exact=True)
    assert found.schema == expected.schema
    assert list(statistics) == expected.column_names
    for name in expected.column_names:
        assert statistics[name] == in_arrow(expected[name], name), name


def in_arrow(column: pa.ChunkedArray, name: str) -> ColumnStatistics:
    values = column.filter(pc.invert(pc.is_nan(column))) if pa.types.is_floating(column.type) else column
    low, high = pc.min_max(values).as_py().values()
    total = None if pa.types.is_string(column.type) else pc.sum(values).as_py()
    return ColumnStatistics(name, len(column), column.null_count, low, high, total)


def test_large_sums_are_whole(databases: FrozenDatabases, database: FrozenDatabase) -> None:
    """Beyond 64 bits; and of many batches."""
    rows = synapses(150_000)
    found, statistics = read(databases, database.add("many", "synapse", rows))
    assert found.equals(rows.select(found.column_names).sort_by("id"))
    for name in rows.column_names:
        values = rows[name].to_pylist()
        assert statistics[name] == ColumnStatistics(name, len(values), 0, min(values), max(values), sum(values))
    assert statistics["pre_pt_root_id"].total > 2**64


def test_it_comes_in_batches(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    rows = synapses(150_000)
    with contextlib.closing(databases.rows(database.add(name, "synapse", rows))) as opened:
        sizes = [batch.num_rows for batch in opened.reader]
    assert len(sizes) > 2
    assert (sum(sizes), max(sizes) < 100_000) == (150_000, True)


def test_what_is_not_valid(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    """As CAVE counts: what does not say that it is valid is not."""
    rows = flattened("bouton_shape").append_column("valid", pa.array([True, False, None]))
    table = database.add(name, "bouton_shape", rows)
    found, statistics = read(databases, table)
    assert found.to_pylist() == rows.drop_columns("valid").to_pylist()[:1]
    assert statistics["id"] == ColumnStatistics(
        "id", 1, 0, 100_000_000_000_000_001, 100_000_000_000_000_001, 100_000_000_000_000_001
    )
    found, statistics = read(databases, table, keep_invalid=True)
    assert found["valid"].to_pylist() == [False, None, True]
    assert found.column_names == ["id", "valid", "target_id", "shape"]
    assert statistics["valid"] == ColumnStatistics("valid", 3, 1, False, True, 1)


@pytest.mark.parametrize("lost", ["annotation", "segmentation"])
def test_only_what_the_join_holds_is_counted(
    databases: FrozenDatabases, database: FrozenDatabase, name: str, lost: str
) -> None:
    """A row without its other half is in no dump, and in no statistics."""
    table = database.add(name, "spine_with_info", flattened("spine_with_info"))
    where = name if lost == "annotation" else f"{name}__pcg"
    database.execute(f"DELETE FROM {where} WHERE id = 2")
    found, statistics = read(databases, table)
    assert found["id"].to_pylist() == [3, 100_000_000_000_000_001]
    assert statistics["id"].count == statistics["pt_root_id"].count == 2
    assert statistics["n_inputs"].total == 1
    assert statistics["pt_root_id"] == ColumnStatistics("pt_root_id", 2, 1, BOUND, BOUND, BOUND)


def test_types_are_kept(databases: FrozenDatabases, database: FrozenDatabase) -> None:
    database.execute(
        "CREATE TYPE \"Layer\" AS ENUM ('L2', 'L10')",
        """CREATE TABLE typed (
            id bigint, "a "" quoted; column" smallint, layer "Layer", at timestamp, zoned timestamptz, day date,
            price numeric(20, 3), any_number numeric, short real, fixed char(4), list integer[], names text[],
            layers "Layer"[], document jsonb, bytes bytea, key uuid)""",
        """INSERT INTO typed VALUES (1, 7, 'L10', '2023-04-06 20:17:09.199182', '2023-04-06 22:17:09+02', '2023-04-06',
            12345678901234567.891, 123456789012345678901234567890.5, 1.5, 'ab', '{1,null,3}', '{a,null}', '{L2}',
            '{"a": 1}', '\\x00ff', '00000000-0000-0000-0000-0000000000ff'), (3, -7, 'L2', '2020-01-01',
            '2020-01-01Z', '2020-01-01', -0.001, 'NaN', 'NaN', 'b', '{}', '{}', '{}', 'null', '', NULL)""",
        "INSERT INTO typed (id) VALUES (2)",
    )
    found, statistics = read(databases, SourceTable(database.datastack, database.mat_version, "typed"))
    at = datetime(2023, 4, 6, 20, 17, 9, 199182, UTC)
    row = {
        "id": 1,
        'a " quoted; column': 7,
        "layer": "L10",
        "at": at,
        "zoned": at.replace(microsecond=0),
        "day": date(2023, 4, 6),
        "price": Decimal("12345678901234567.891"),
        "any_number": "123456789012345678901234567890.5",
        "short": 1.5,
        "fixed": "ab",
        "list": [1, None, 3],
        "names": ["a", None],
        "layers": ["L2"],
        "document": '{"a": 1}',
        "bytes": b"\x00\xff",
        "key": "00000000-0000-0000-0000-0000000000ff",
    }
    assert found.to_pylist()[0] == row
    assert found.to_pylist()[1] == dict.fromkeys(row) | {"id": 2}
    assert found.schema.field("at").type == pa.timestamp("us", "UTC")
    assert found.schema.field("price").type == pa.decimal128(20, 3)
    assert found.schema.field("list").type == pa.list_(pa.int32())
    assert all(field.metadata is None for field in found.schema)
    assert statistics["layer"] == ColumnStatistics("layer", 3, 1, "L10", "L2")  # by bytes, not by the enum's order
    assert statistics["at"] == ColumnStatistics("at", 3, 1, datetime(2020, 1, 1, tzinfo=UTC), at)
    assert statistics["price"].total == Decimal("12345678901234567.890")
    assert statistics["price"].minimum == Decimal("-0.001")
    assert statistics["short"] == ColumnStatistics("short", 3, 1, 1.5, 1.5, 1.5)
    assert statistics["list"] == ColumnStatistics("list", 3, 1)
    assert statistics["bytes"] == ColumnStatistics("bytes", 3, 1)


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_views(databases: FrozenDatabases, database: FrozenDatabase, name: str, kind: str) -> None:
    rows = flattened("nucleus_detection")
    database.add(name, "nucleus_detection", rows)
    statement = f"SELECT n.id, pt_root_id, pt_position, 'x' || volume AS text FROM {name} n JOIN {name}__pcg USING (id)"
    database.execute(f'CREATE {kind} "{name} view" AS {statement}')
    table = SourceTable(database.datastack, database.mat_version, f"{name} view", segmentation="pcg", view=True)
    found, statistics = read(databases, table)
    assert found.column_names == ["id", "pt_root_id", *(f"pt_position_{axis}" for axis in "xyz"), "text"]
    assert found["pt_root_id"].to_pylist() == [BOUND + 1, None, BOUND]
    assert statistics["pt_position_y"] == ColumnStatistics("pt_position_y", 3, 0, 2, 4, 9)
    assert statistics["text"] == ColumnStatistics("text", 3, 1, "x0.1", "x277.25")


def test_an_empty_table(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    table = database.add(name, "synapse", flattened("synapse").slice(0, 0))
    found, statistics = read(databases, table)
    assert (found.num_rows, found.schema) == (0, flattened("synapse").schema)
    assert statistics == {name: ColumnStatistics(name, 0, 0) for name in found.column_names}


def test_what_is_expected(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    """What CAVE says, or else what the server guesses."""
    table = database.add(
        name, "bouton_shape", pa.table({"id": range(1000), "target_id": range(1000), "shape": ["x"] * 1000})
    )
    with contextlib.closing(databases.rows(table)) as rows:
        assert rows.expected == 1000
        assert 15 < rows.size / 1000 < 60
    counted = SourceTable(table.datastack, table.mat_version, name, rows=7)
    with contextlib.closing(databases.rows(counted)) as rows:
        assert rows.expected == 7
        assert 15 < rows.size / 7 < 60


def test_statistics_are_for_who_has_read_all(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    with (
        contextlib.closing(databases.rows(database.add(name, "bouton_shape", flattened("bouton_shape")))) as rows,
        pytest.raises(Invalid, match="was not read to the end"),
    ):
        rows.statistics()


def test_one_snapshot(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    """Rows and statistics see what was there when the table was asked for."""
    table = database.add(name, "bouton_shape", flattened("bouton_shape"))
    with contextlib.closing(databases.rows(table)) as rows:
        database.execute(f"DELETE FROM {name} WHERE id = 2")
        assert rows.reader.read_all().num_rows == 3
        database.execute(f"DELETE FROM {name}")
        assert by_name(rows)["id"].count == 3
    assert read(databases, table)[0].num_rows == 0


def test_a_run_shares_its_snapshot(
    server: str, databases: FrozenDatabases, database: FrozenDatabase, name: str
) -> None:
    """Whoever asks in this process, with one more connection."""
    table = database.add(name, "bouton_shape", flattened("bouton_shape"))
    assert read(databases, table, share="run 1")[0].num_rows == 3
    database.execute(f"DELETE FROM {name} WHERE id = 2")
    assert read(FrozenDatabases(SecretStr(server)), table, share="run 1")[0].num_rows == 3
    assert sessions(server, database) == 1
    assert read(databases, table, share="run 2")[0].num_rows == 2
    assert read(databases, table)[0].num_rows == 2
    assert sessions(server, database) == 1
    databases.close()
    assert until(lambda: sessions(server, database) == 0)


def test_a_lost_snapshot_is_made_anew(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    table = database.add(name, "bouton_shape", flattened("bouton_shape"))
    assert read(databases, table, share="run 1")[0].num_rows == 3
    database.execute(f"DELETE FROM {name}")
    terminate(database)
    assert read(databases, table, share="run 1")[0].num_rows == 0


def test_a_server_that_exports_no_snapshot(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    role = f"reader_{name}"
    table = database.add(name, "bouton_shape", flattened("bouton_shape"))
    database.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'",
        f"GRANT SELECT ON {name} TO {role}",
        "REVOKE EXECUTE ON FUNCTION pg_export_snapshot() FROM PUBLIC",
    )
    try:
        restricted = FrozenDatabases(SecretStr(conninfo.make_conninfo(database.server, user=role)))
        with contextlib.closing(restricted):
            assert read(restricted, table, share="run 1")[0].num_rows == 3
    finally:
        database.execute(
            "GRANT EXECUTE ON FUNCTION pg_export_snapshot() TO PUBLIC", f"DROP OWNED BY {role}", f"DROP ROLE {role}"
        )


def test_nothing_can_be_written(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    table = database.add(name, "bouton_shape", flattened("bouton_shape"))
    database.execute(
        f"CREATE FUNCTION spoil_{name}() RETURNS bigint LANGUAGE sql AS 'DELETE FROM {name} RETURNING id'",
        f"CREATE VIEW spoiling_{name} AS SELECT spoil_{name}() AS id",
    )
    spoiling = SourceTable(table.datastack, table.mat_version, f"spoiling_{name}", view=True)
    with (
        pytest.raises(Unavailable, match="read-only transaction"),
        contextlib.closing(databases.rows(spoiling)) as rows,
    ):
        rows.reader.read_all()


def test_closing_early_leaves_no_connection(server: str, databases: FrozenDatabases) -> None:
    with FrozenDatabase.made(server) as database:
        table = database.add("big", "synapse", synapses(200_000))
        rows = databases.rows(table)
        rows.reader.read_next_batch()
        rows.close()
        assert until(lambda: sessions(server, database) == 0)
        rows.close()
        with pytest.raises(RegistryError, match="is closed"):
            rows.reader.read_all()


def test_closing_cancels_what_still_computes(server: str, databases: FrozenDatabases) -> None:
    with FrozenDatabase.made(server) as database:
        database.execute("CREATE VIEW slow AS SELECT 1::bigint AS id, pg_sleep(600)::text AS slept")
        rows = databases.rows(SourceTable(database.datastack, database.mat_version, "slow", view=True))
        reader = rows.reader
        told: list[BaseException] = []
        waiting = threading.Thread(target=lambda: told.append(failure_of(reader)))
        waiting.start()
        started = time.monotonic()
        rows.close()
        waiting.join(10)
        assert time.monotonic() - started < 5
        assert not waiting.is_alive()
        assert isinstance(told[0], RegistryError)
        assert until(lambda: sessions(server, database) == 0)


def failure_of(reader: pa.RecordBatchReader) -> BaseException:
    try:
        reader.read_all()
    except RegistryError as failure:
        return failure
    return AssertionError("it was read")


def terminate(database: FrozenDatabase) -> None:
    address = conninfo.make_conninfo(database.server)
    execute(address, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'")


def test_a_database_that_expires_meanwhile(server: str, databases: FrozenDatabases) -> None:
    with FrozenDatabase.made(server) as database:
        table = database.add("big", "synapse", synapses(400_000))
        rows = databases.rows(table)
        rows.reader.read_next_batch()
        database.drop()
        with pytest.raises(Unavailable) as lost:
            rows.reader.read_all()
        assert (lost.value.field, lost.value.value) == ("table", f"{database.name}.big")
        rows.close()
        with pytest.raises(NotFound) as gone:
            databases.rows(table)
        assert gone.value.value == f"{database.name}.big"


SECRET = "correct-horse"
REFUSALS = {
    "down": (Unavailable, "postgresql://reader:{secret}@127.0.0.1:9"),
    "no such role": (Denied, "postgresql://nobody_{name}:{secret}@/?host={host}"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_a_server_that_refuses(server: str, database: FrozenDatabase, name: str, why: str) -> None:
    kind, url = REFUSALS[why]
    host = conninfo.conninfo_to_dict(server)["host"]
    refusing = FrozenDatabases(SecretStr(url.format(secret=SECRET, host=host, name=name)))
    with pytest.raises(kind) as refused:
        refusing.rows(SourceTable(database.datastack, database.mat_version, "cells"))
    said = f"{refused.value} {refused.value.problem()} {refusing.__dict__}"
    assert f"{database.name}.cells" in said
    assert all(each not in said for each in (SECRET, "127.0.0.1", "nobody_", str(host)))


@pytest.mark.parametrize("url", ["postgresql//reader:correct-horse@host", "postgresql://h:port/?x=correct-horse"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(Invalid) as wrong:
        FrozenDatabases(SecretStr(url))
    assert wrong.value.field == "cave_database"
    assert SECRET not in str(wrong.value)


def test_what_is_not_there(databases: FrozenDatabases, database: FrozenDatabase) -> None:
    with pytest.raises(NotFound) as gone:
        databases.rows(SourceTable(database.datastack, database.mat_version, "no'ne"))
    assert gone.value == NotFound("is not in the database", field="table", value=f"{database.name}.no'ne")
    with pytest.raises(NotFound, match="3D000"):
        databases.rows(SourceTable(database.datastack, 1, "cells"))


def test_what_may_not_be_read(database: FrozenDatabase, name: str) -> None:
    role = f"stranger_{name}"
    table = database.add(name, "bouton_shape", flattened("bouton_shape"))
    database.execute(f"CREATE ROLE {role} LOGIN")
    try:
        stranger = FrozenDatabases(SecretStr(conninfo.make_conninfo(database.server, user=role)))
        with pytest.raises(Denied, match=f"permission denied for table {name}"):
            stranger.rows(table)
    finally:
        database.execute(f"DROP ROLE {role}")


def test_a_wrong_point_is_refused(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    table = database.add(name, "nucleus_detection", flattened("nucleus_detection"))
    database.execute(f"UPDATE {name} SET bb_end_position = '\\x00' WHERE id = 2")
    with (
        pytest.raises(Invalid, match="the row with id 2 is big-endian") as wrong,
        contextlib.closing(databases.rows(table)) as rows,
    ):
        rows.reader.read_all()
    assert wrong.value.field == "bb_end_position"


def test_a_time_without_end(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    database.execute(f"CREATE TABLE {name} AS SELECT 1::bigint AS id, 'infinity'::timestamp AS at")
    with pytest.raises(Invalid, match="a time that cannot be kept"):
        read(databases, SourceTable(database.datastack, database.mat_version, name))


def test_a_decimal_that_is_no_number(databases: FrozenDatabases, database: FrozenDatabase, name: str) -> None:
    database.execute(f"CREATE TABLE {name} AS SELECT 1::bigint AS id, 'NaN'::numeric(9, 2) AS price")
    with pytest.raises(Invalid, match="price: holds NaN"):
        read(databases, SourceTable(database.datastack, database.mat_version, name))


def test_the_parent_of_a_virtual_version(server: str, databases: FrozenDatabases, name: str) -> None:
    versions = [
        (1, "minnie65_phase3_v1", 943, None),
        (2, "minnie65_public", 943, 1),
        (3, "minnie65_public", 1078, None),
    ]
    with live_database(server, name, versions):
        assert databases.parent("minnie65_public", 943, name) == "minnie65_phase3_v1"
        assert databases.parent("minnie65_phase3_v1", 943, name) is None
        assert databases.parent("minnie65_public", 1078, name) is None
        assert databases.parent("o'ther", 943, name) is None
    with pytest.raises(NotFound):
        databases.parent("minnie65_public", 943, name)


def test_a_virtual_version_is_read_from_its_parents_database(
    databases: FrozenDatabases, database: FrozenDatabase, name: str
) -> None:
    rows = flattened("bouton_shape")
    database.add(name, "bouton_shape", rows)
    virtual = SourceTable("cortex_public", database.mat_version, name)
    assert read(databases, virtual, datastack=database.datastack)[0].equals(rows.sort_by("id"))


@pytest.mark.skipif(not MICRONS.is_dir(), reason="needs the real data in ../shared/data, which is absent")
@pytest.mark.parametrize("file", ["synapses_10_post_cells.csv", "synapses_1_post_cell.csv"])
def test_real_synapses(databases: FrozenDatabases, database: FrozenDatabase, file: str) -> None:
    """MICrONS at 1412, in the split form: equal, ids bit for bit."""
    options = pa.csv.ReadOptions(column_names=list(MICRONS_COLUMNS))
    convert = pa.csv.ConvertOptions(column_types=MICRONS_COLUMNS)
    real = pa.csv.read_csv(MICRONS / file, options, convert_options=convert)
    found, statistics = read(databases, database.add(Path(file).stem, "synapse", real))
    assert found.num_rows == len((MICRONS / file).read_text().splitlines())
    assert found.equals(real.select(found.column_names).sort_by("id"))
    assert statistics["post_pt_root_id"].total == sum(real["post_pt_root_id"].to_pylist())


@pytest.fixture(scope="module")
def postgis() -> Iterator[str]:
    """A server with PostGIS, as Debian installs it; run by another user where we are root, whom PostgreSQL refuses."""
    folder = Path(tempfile.mkdtemp(prefix="postgis"))
    programs = POSTGIS[-1].parent
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data = str(folder / "data")

    def run(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    run(str(programs / "initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    run(str(programs / "pg_ctl"), "-D", data, "-w", "-o", options, "-l", str(folder / "log"), "start")
    yield f"postgresql://postgres@/?host={folder}"
    run(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.skipif(
    not any(Path("/usr/share/postgresql").glob("*/extension/postgis.control")),
    reason="needs PostGIS; on Debian: apt-get install postgresql-15-postgis-3",
)
@pytest.mark.parametrize("srid", [None, 4326])
def test_real_postgis(postgis: str, srid: int | None) -> None:
    """Its points come out like those of the domain, and its own ST_X says the same as their bytes."""
    with FrozenDatabase.made(postgis, postgis=True) as database:
        opened = FrozenDatabases(SecretStr(postgis))
        for schema_type in SCHEMAS:
            expected = flattened(schema_type)
            found, statistics = read(opened, database.add(schema_type, schema_type, expected, srid=srid))
            assert_frame_equal(pl.from_arrow(found), pl.from_arrow(expected.sort_by("id")), check_exact=True)
            assert statistics == {name: in_arrow(expected[name], name) for name in expected.column_names}
        database.execute(
            f"CREATE TABLE typed (id bigint, pt_position geometry(PointZ{f', {srid}' if srid else ''}))",
            f"INSERT INTO typed VALUES (1, '{f'SRID={srid};' if srid else ''}POINT Z (7 8 9)'), (2, NULL)",
        )
        found, statistics = read(opened, SourceTable(database.datastack, database.mat_version, "typed"))
        assert found.to_pylist()[0] == {"id": 1, "pt_position_x": 7, "pt_position_y": 8, "pt_position_z": 9}
        assert statistics["pt_position_z"] == ColumnStatistics("pt_position_z", 2, 1, 9, 9, 9)
