from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psycopg
import pytest
from pydantic import SecretStr

from feature_registry.cave import SourceTable
from feature_registry.cave.database import FrozenDatabases
from feature_registry.demo import annotations, database
from feature_registry.demo.cortex import DATASTACK, LATEST, VERSIONS, Size, build
from feature_registry_tests.demo.homes import new_home

SMALL = build(Size(cells=20, fragments=5, synapses=1_000))


@pytest.fixture(scope="module")
def folder() -> Path:
    made = new_home() / "cortex"
    assert len(database.write(made, SMALL)) == 1 + len(VERSIONS)
    return made


@pytest.mark.parametrize("mat_version", VERSIONS)
@pytest.mark.parametrize("name", annotations.TABLES)
def test_a_table_comes_out_as_it_went_in_merged_or_split(folder: Path, name: str, mat_version: int) -> None:
    bound = None if name == "cell_types" else database.SEGMENTATION
    said = SourceTable(DATASTACK, mat_version, name, segmentation=bound)
    rows = FrozenDatabases(SecretStr(database.server(folder))).rows(said)
    frame = pl.DataFrame(rows.reader.read_all()).sort("id")
    truth = annotations.tables(SMALL, mat_version)[name].drop("created", strict=False).sort("id")
    assert frame.select(sorted(frame.columns)).equals(truth.select(sorted(truth.columns)))
    assert frame.schema == dict(truth.schema)
    assert rows.expected == frame.height
    rows.close()


def test_there_are_rows_that_must_not_arrive(folder: Path) -> None:
    with psycopg.connect(database.server(folder), dbname=f"{DATASTACK}__mat{LATEST}") as connection:
        for name in annotations.TABLES:
            [(count,)] = connection.execute(f"SELECT count(*) FROM {name} WHERE NOT valid")  # type: ignore[arg-type]
            assert count == database.INVALID


def test_only_another_cortex_is_made_anew(folder: Path) -> None:
    assert database.write(folder, SMALL) == []
    assert database.write(folder) == []
    other = build(Size(cells=20, fragments=5, synapses=900))
    assert len(database.write(folder, other)) == 1 + len(VERSIONS)
    assert len(database.write(folder, SMALL)) == 1 + len(VERSIONS)


def test_the_last_process_to_end_stops_the_server_even_when_it_is_killed() -> None:
    folder = new_home() / ("a folder with a long name" * 4) / "pg"
    script = "import sys, time; from pathlib import Path; from feature_registry.demo import postgresql as p; "
    script += "print(p.server(Path(sys.argv[1])), flush=True); time.sleep(600)"
    command = [sys.executable, "-c", script, str(folder)]
    users = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    addresses = [each.stdout.readline().strip() for each in users if each.stdout]
    assert addresses[0] == addresses[1]
    process = int((folder / "postmaster.pid").read_text().split()[0])
    users[0].kill()
    users[0].wait()
    time.sleep(1)
    psycopg.connect(addresses[0]).close()
    users[1].send_signal(signal.SIGKILL)
    users[1].wait()
    until = time.monotonic() + 60
    while Path(f"/proc/{process}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
