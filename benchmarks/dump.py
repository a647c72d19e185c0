"""What a dump costs: 5 million synapses of a split table (15 columns, three geometries decoded) in a local PostgreSQL.

Ours is the asset that Dagster runs: read, written as Delta, compared with what the database says, registered and
published; as the rows come, and sorted by post_pt_root_id. The limit is what PostgreSQL takes to say the same rows to
nobody. The peer is CSV through gzip, as `gcloud sql export csv` does it; it gets the columns flattened in one table
beforehand, so it neither joins nor decodes.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import psycopg
from psycopg import conninfo
from pydantic import SecretStr

from benchmarks.figures import Run, figure, in_turn, median, preamble, size_argument, spread, timed
from benchmarks.frozen import AS_THEY_CAME, SORTED, TABLE, dumping, load, server
from feature_registry.cave import SourceTable
from feature_registry.cave.database import FrozenDatabases
from feature_registry_tests.cave.frozen import SEGMENTATION, FrozenDatabase

ROWS = 5_000_000
ROUNDS = 5
LIMITS = {"unsorted_ratio_to_copy": 2.0, "sorted_ratio_to_copy": 2.7}
SPEEDUP = 5  # at least
SIZE_LIMIT = 0.75
SELECTED = f"""
SELECT id, pre_pt_position::bytea, pre_pt_supervoxel_id, pre_pt_root_id, post_pt_position::bytea,
    post_pt_supervoxel_id, post_pt_root_id, ctr_pt_position::bytea, size
FROM {TABLE} JOIN {TABLE}__{SEGMENTATION} USING (id) WHERE valid
"""


def flatten(url: str, database: FrozenDatabase) -> None:
    """What the peer exports."""
    table = SourceTable(database.datastack, database.mat_version, TABLE, segmentation=SEGMENTATION)
    with (
        contextlib.closing(FrozenDatabases(SecretStr(url)).rows(table)) as rows,
        adbc.connect(address(database), autocommit=True) as connection,
        connection.cursor() as cursor,
    ):
        cursor.adbc_ingest("flat", rows.reader, mode="create")


def address(database: FrozenDatabase) -> str:
    return conninfo.make_conninfo(database.server, dbname=database.name)


def csv_gzip(database: FrozenDatabase, path: Path) -> int:
    """The bytes that it wrote."""
    with psycopg.connect(address(database)) as connection, path.open("wb") as file:
        zipping = subprocess.Popen(["gzip"], stdin=subprocess.PIPE, stdout=file)
        assert zipping.stdin is not None
        with connection.cursor() as cursor, cursor.copy("COPY flat TO STDOUT (FORMAT csv)") as copy, zipping.stdin:
            for block in copy:
                zipping.stdin.write(block)
        assert zipping.wait() == 0
    return path.stat().st_size


def copy_to_nobody(database: FrozenDatabase) -> None:
    with psycopg.connect(address(database)) as connection:
        connection.execute("SET jit = off")  # as ours does
        connection.execute(f"COPY ({SELECTED}) TO '/dev/null' (FORMAT binary)")


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.parquet"))


def measured(url: str, rows: int, folder: Path) -> tuple[dict[str, list[Run]], Run, dict[str, int]]:
    database = load(url, rows)
    flatten(url, database)
    contenders = {
        "copy": lambda: copy_to_nobody(database),
        "unsorted": dumping(url, folder / "unsorted", AS_THEY_CAME),
        "sorted": dumping(url, folder / "sorted", SORTED),
    }
    sizes: dict[str, int] = {}

    def clear(name: str, _: Run) -> None:
        for table in (folder / name / "tables").glob(f"*/{TABLE}/*/*"):
            sizes[name] = size(table)
            shutil.rmtree(table)

    runs = in_turn(contenders, ROUNDS, after=clear)
    return runs, timed(lambda: csv_gzip(database, folder / "synapses.csv.gz")), sizes


def main() -> None:
    rows = size_argument(ROWS)
    packages = ("dagster", "deltalake", "duckdb", "pyarrow", "adbc-driver-postgresql")
    preamble("dump", f"{rows:,} rows x 15 columns, {ROUNDS} rounds", *packages)
    with server() as url, tempfile.TemporaryDirectory() as temporary:
        runs, peer, sizes = measured(url, rows, Path(temporary))
        compressed = (Path(temporary) / "synapses.csv.gz").stat().st_size
    for name, timings in runs.items():
        print(f"  {name:<10}{spread(timings)}  {sizes.get(name, 0) / 1e6:,.0f} MB")
    print(f"  csv.gz    {peer.seconds:.3f} s, {compressed / 1e6:,.0f} MB")
    print(f"# speedup_over_csv_gzip: at least {SPEEDUP}")
    for name in ("unsorted", "sorted"):
        key = f"{name}_ratio_to_copy"
        figure("dump", key, median(runs[name]) / median(runs["copy"]), LIMITS[key])
    figure("dump", "speedup_over_csv_gzip", peer.seconds / median(runs["sorted"]))
    figure("dump", "size_ratio_to_csv_gzip", sizes["sorted"] / compressed, SIZE_LIMIT)


if __name__ == "__main__":
    main()
