from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.defs import dumps
from feature_registry.errors import Unavailable
from feature_registry.settings import Settings
from feature_registry_tests.defs.daemon import Daemon
from feature_registry_tests.defs.source import AT, Source, Told
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop

PARENT = "minnie65_phase3"
FRAME = pl.DataFrame({"id": [1, 2]})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    monkeypatch.setattr(Source, "told", told)
    return told


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        made = Workshop(tmp_path / "registry", versions=(), instance=instance)
        yield made
        made.registry.close()


def module() -> ModuleType:
    """With a table that is computed from a dumped one."""
    made = ModuleType("tables")

    @feature_table(**SAID)
    def shapes(nuclei: pl.LazyFrame) -> pl.LazyFrame:
        return nuclei

    vars(made).update(shapes=shapes)
    return made


def daemon_of(workshop: Workshop, **said: Any) -> Daemon:
    source = f"{Source.__module__}:Source"
    settings = Settings(home=workshop.folder, version_source=source, **{"materialize": "all"} | said)
    return Daemon(workshop, settings, [module()])


def test_new_partitions_are_asked_for_once_and_then_what_is_computed_from_them(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 943, {"nuclei": FRAME})
    told.add(DATASTACK, 1507, {"nuclei": FRAME, "cell_types": FRAME})
    daemon = daemon_of(workshop)
    assert daemon.tick() == set()
    daemon.sense()
    first = daemon.tick()
    assert first == {
        (f"{DATASTACK}/nuclei", "943"),
        (f"{DATASTACK}/nuclei", "1507"),
        (f"{DATASTACK}/cell_types", "1507"),  # 943 does not list it
    }
    assert daemon.tick() == set()
    daemon.make(first)
    assert daemon.tick() == {(f"{DATASTACK}/shapes", "943"), (f"{DATASTACK}/shapes", "1507")}
    assert daemon.tick() == set()
    told.add(DATASTACK, 1700, {"nuclei": FRAME})
    daemon.sense()
    assert daemon.tick() == {(f"{DATASTACK}/nuclei", "1700")}


def test_what_fails_is_not_asked_for_again_and_again(
    workshop: Workshop, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dumps, "RETRY", dg.RetryPolicy(max_retries=1, delay=0))
    told.add(DATASTACK, 1507, {"nuclei": FRAME})
    told.errors["nuclei"] = Unavailable("the connection is lost")
    daemon = daemon_of(workshop)
    daemon.sense()
    asked = daemon.tick()
    assert asked == {(f"{DATASTACK}/nuclei", "1507")}
    told.seconds = 0
    daemon.make(asked, succeeds=False)
    assert daemon.tick() == set()
    assert daemon.tick() == set()


def test_policy_chooses_the_versions(workshop: Workshop, told: Told) -> None:
    soon = datetime.now(UTC) + timedelta(days=2)
    told.add(DATASTACK, 943, {"nuclei": FRAME})
    told.add(DATASTACK, 1507, {"nuclei": FRAME})
    told.add(DATASTACK, 1600, {"nuclei": FRAME}, valid=False)
    told.add(DATASTACK, 1700, {"nuclei": FRAME}, expires_on=soon, time_stamp=soon - timedelta(days=5))
    told.add(DATASTACK, 1701, {"nuclei": FRAME}, status="running")
    told.add(DATASTACK, 400, {"nuclei": FRAME}, expires_on=AT + timedelta(days=1), time_stamp=AT)
    daemon_of(workshop).sense()
    nuclei = f"{DATASTACK}/nuclei"
    assert daemon_of(workshop).tick() == {(nuclei, "943"), (nuclei, "1507")}
    assert daemon_of(workshop, materialize="latest").tick() == {(nuclei, "1507")}  # the latest that is kept
    assert daemon_of(workshop, materialize="none").tick() == set()
    assert daemon_of(workshop, materialize="latest", dump_expiring=True).tick() == {(nuclei, "1700")}
    assert daemon_of(workshop, dump_tables=("synapse*",)).tick() == set()


def test_an_alias_waits_for_its_parent(workshop: Workshop, told: Told) -> None:
    told.add(PARENT, 1507, {"nuclei": FRAME, "cell_types": FRAME})
    told.add(DATASTACK, 1507, {"nuclei": FRAME}, parent=PARENT)
    daemon = daemon_of(workshop)
    daemon.sense()
    asked = daemon.tick()
    assert asked == {(f"{PARENT}/nuclei", "1507"), (f"{PARENT}/cell_types", "1507")}
    daemon.make(asked)
    asked = daemon.tick()
    assert asked == {(f"{DATASTACK}/nuclei", "1507")}
    daemon.make(asked)
    entries = workshop.registry.contents().entries
    assert {f"{entry.table.datastack}/{entry.table.name}" for entry in entries} == {
        f"{PARENT}/nuclei",
        f"{PARENT}/cell_types",
        f"{DATASTACK}/nuclei",
    }


def test_a_virtual_version_whose_parent_is_not_followed_is_dumped_itself(workshop: Workshop, told: Told) -> None:
    told.add(DATASTACK, 1507, {"nuclei": FRAME}, parent=PARENT)
    daemon = daemon_of(workshop)
    daemon.sense()
    assert daemon.tick() == {(f"{DATASTACK}/nuclei", "1507")}
