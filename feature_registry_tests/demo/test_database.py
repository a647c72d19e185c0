from __future__ import annotations

import threading
from pathlib import Path

import pytest

from feature_registry.demo import database
from feature_registry.demo.cortex import LATEST, Size, build


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
