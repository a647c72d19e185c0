from __future__ import annotations

import threading
from pathlib import Path

import polars as pl
import pytest

from feature_registry.demo import database
from feature_registry.demo.cortex import DATASTACK, LATEST, Size, build


@pytest.mark.parametrize("batches", [0, 1])
def test_a_dump_that_was_given_up_does_not_keep_the_next_one_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path))
    database.write(database.folder(), build(Size(cells=20, fragments=5, synapses=1_000)))
    given_up = database.dump("synapses", LATEST)  # as the traceback of a failed step holds it
    for _ in range(batches):
        given_up.read_next_batch()
    rows: list[int] = []
    step = threading.Thread(target=lambda: rows.append(database.dump("synapses", LATEST).read_all().num_rows))
    step.daemon = True  # DuckDB waits for ever, if it does
    step.start()
    step.join(20)
    assert rows
    assert rows[0] > 100
    given_up.close()


def test_what_the_database_says_of_a_dump_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path))
    database.write(database.folder(), build(Size(cells=20, fragments=5, synapses=1_000)))
    source = database.CortexVersions()
    dump = source.rows(source.table(DATASTACK, LATEST, "nucleus_detection"))
    frame = pl.DataFrame(dump.reader.read_all())
    said = dump.statistics()
    assert dump.expected == frame.height
    assert [each.name for each in said] == frame.columns
    assert {each.name: each.maximum for each in said} == frame.max().row(0, named=True)
    assert next(each for each in said if each.name == "id").total == frame["id"].sum()
