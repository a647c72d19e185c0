from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.defs.jobs import materialize
from feature_registry.defs.schedules import missing
from feature_registry.model import Datastack, MaterializationVersion
from feature_registry.settings import Settings
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop


@feature_table(**SAID)
def nuclei() -> pl.DataFrame:
    return pl.DataFrame({"id": [1]})


@feature_table(**SAID)
def shapes(nuclei: pl.LazyFrame) -> pl.LazyFrame:
    return nuclei


@feature_table(**SAID, versioned=False)
def atlas() -> pl.DataFrame:
    return pl.DataFrame({"id": [1]})


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """With four known versions: one has no partition, one is not valid. Schedules open the instance by reference."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        workshop = Workshop(tmp_path / "registry", instance=instance)
        at = datetime(2025, 1, 1, tzinfo=UTC)
        workshop.registry.record_datastack(Datastack(name=DATASTACK))
        workshop.registry.record_versions(
            MaterializationVersion(datastack=DATASTACK, mat_version=number, time_stamp=at, valid=number != 1600)
            for number in (117, 507, 1507, 1600)
        )
        yield workshop
        workshop.registry.close()


def tick(workshop: Workshop, policy: Any, assets: list[dg.AssetsDefinition], versioned: bool = True) -> Any:
    job = materialize(DATASTACK, assets, versioned)
    settings = Settings(materialize=policy)
    schedule = missing(job, DATASTACK, [each.key for each in assets], settings=settings, versioned=versioned)
    with dg.build_schedule_context(instance=workshop.instance, resources=workshop.sensed) as context:
        return schedule(context)


def asked(requests: Any) -> dict[str | None, list[str]]:
    return {each.partition_key: [key.path[-1] for key in each.asset_selection] for each in requests}


def test_what_the_catalog_lacks_is_asked_for(workshop: Workshop) -> None:
    workshop.make(nuclei, mat_version=507)
    assert asked(tick(workshop, "all", [nuclei, shapes])) == {"507": ["shapes"], "1507": ["nuclei", "shapes"]}
    assert asked(tick(workshop, "latest", [nuclei, shapes])) == {"1507": ["nuclei", "shapes"]}


def test_nothing_is_missing(workshop: Workshop) -> None:
    workshop.make(nuclei, shapes)
    assert isinstance(tick(workshop, "latest", [nuclei, shapes]), dg.SkipReason)
    assert isinstance(tick(workshop, "none", [nuclei, shapes]), dg.SkipReason)


def test_tables_without_versions_are_made_once(workshop: Workshop) -> None:
    assert asked(tick(workshop, "latest", [atlas], versioned=False)) == {None: ["atlas"]}
    workshop.make(atlas, mat_version=None)
    assert isinstance(tick(workshop, "latest", [atlas], versioned=False), dg.SkipReason)


def test_a_datastack_that_is_not_known_yet_is_waited_for(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert isinstance(tick(Workshop(tmp_path / "registry", instance=instance), "all", [nuclei]), dg.SkipReason)
