"""What the killed process does: the real work, telling on a pipe which phase it is in and which calls returned."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from feature_registry import FeatureRegistryResource, FeatureTableIOManager, feature_table
from feature_registry.catalog import events
from feature_registry.defs import checks
from feature_registry.defs.feature_table import IO_MANAGER, REGISTRY
from feature_registry.defs.partitions import mat_versions
from feature_registry.formats import delta, parquet
from feature_registry.location import Location
from feature_registry.model import CheckResult, Registration
from feature_registry.registry import Registry
from feature_registry.registry import registration as registering
from feature_registry.settings import Settings

DATASTACK = "kills"
ROWS = 4_000
FILES = 4
FIRST_ID = 2**60
OUTSIDE = "outside"  # the table that is registered where it lies; the others are named as their formats
PHASES = ("begin", "write", "register", "event", "report", "check", "publish", "end")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Job:
    """One piece of work: what `number` makes and registers differs from what every other number does."""

    kind: str  # parquet, delta, outside; or open: only a new catalog
    number: int
    mat_version: int
    home: Path
    database: str | None = None

    @property
    def settings(self) -> Settings:
        return Settings(home=self.home, database=self.database, person="writer")

    @property
    def table(self) -> str:
        return f"{DATASTACK}/{self.kind}@{self.mat_version}"

    @property
    def outside(self) -> Path:
        return self.home / "outside" / str(self.number)

    @property
    def dagster(self) -> Path:
        return self.home / "dagster"


def frame(number: int) -> pl.DataFrame:
    ids = pl.int_range(ROWS, eager=True) + (FIRST_ID + number * ROWS)
    return pl.DataFrame({"id": ids, "value": ids % 1000})


class Teller:
    """Tells the parent; a message is one write to the pipe, so none comes in part."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def enter(self, phase: str) -> None:
        self._pipe.send(("phase", phase))

    def returned(self, call: str, answer: str = "") -> None:
        self._pipe.send(("returned", call, answer))

    def failed(self) -> None:
        self._pipe.send(("failed", traceback.format_exc()))


def work(job: Job, pipe: Connection) -> None:
    """The target of the process."""
    teller = Teller(pipe)
    try:
        _watch(teller)
        teller.enter("begin")
        if job.kind == "open":
            Registry(job.settings).close()
        elif job.kind == OUTSIDE:
            _register(job, teller)
        else:
            _materialize(job)
        teller.returned("all")
    except BaseException:
        teller.failed()


def _watch(teller: Teller) -> None:
    """The steps of the real code say when they begin, and which of them returned."""

    def phase(owner: Any, name: str, begin: str, end: str | None = None) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def told(*arguments: Any, **options: Any) -> Any:
            teller.enter(begin)
            answer = real(*arguments, **options)
            if end is not None:
                teller.returned(name, answer.entry.version.id if name == "register" else answer.version.id)
                teller.enter(end)
            return answer

        setattr(owner, name, told)

    phase(parquet.TableFormat, "write", "write")
    phase(delta.TableFormat, "write", "write")
    phase(registering, "inspect", "register")
    phase(events, "record_all", "event")
    phase(checks, "evaluate", "check")
    phase(Registry, "register", "register", "report")
    phase(Registry, "record_checks", "publish", "end")
    phase(Registry, "publish", "publish", "end")
    phase(Registry, "edit", "publish", "end")
    phase(Registry, "deprecate", "publish", "end")


def _materialize(job: Job) -> None:
    registry = FeatureRegistryResource(home=str(job.home), database=job.database, person="writer")
    resources = {REGISTRY: registry, IO_MANAGER: FeatureTableIOManager(feature_registry=registry)}
    with dg.DagsterInstance.from_config(str(job.dagster)) as instance:
        partition = str(job.mat_version)
        dg.materialize([_asset(job)], instance=instance, resources=resources, partition_key=partition, run_config=QUIET)


def _asset(job: Job) -> dg.AssetsDefinition:
    @feature_table(
        datastack=DATASTACK,
        name=job.kind,
        owner="killers",
        license="CC0-1.0",
        description="Made by a process that is killed.",
        key=["id"],
        format=job.kind,
        bytes_per_file=1,
        rows_per_group=ROWS // FILES,
        publish=True,
    )
    def table() -> pl.LazyFrame:
        return frame(job.number).lazy()

    return table


def _register(job: Job, teller: Teller) -> None:
    """A table from outside, step by step; the one before it is deprecated."""
    registry = Registry(job.settings)
    said = Registration(
        location=Location(job.outside),
        datastack=DATASTACK,
        name=OUTSIDE,
        mat_version=job.mat_version,
        owner="killers",
        license="CC0-1.0",
        description="Not edited yet.",
    )
    version = registry.register(said).entry.version
    registry.record_checks(version.id, [CheckResult(name="mine", outcome="passed")], publish=False)
    registry.publish(str(version.ref))
    registry.edit(str(version.ref), {"description": described(job)})
    if version.revision > 0:
        registry.deprecate(f"{job.table}.{version.revision - 1}")
    registry.close()


def described(job: Job) -> str:
    return f"Edited by {job.number}."


def prepare(job: Job) -> None:
    """What is there before the work begins."""
    if job.kind == OUTSIDE and not job.outside.exists():
        job.outside.mkdir(parents=True)
        for part, rows in enumerate(frame(job.number).iter_slices(ROWS // FILES)):
            rows.write_parquet(job.outside / f"{part}.parquet")
    if not job.dagster.exists():
        job.dagster.mkdir(parents=True)
        (job.dagster / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    if job.kind in ("delta", "parquet"):
        with dg.DagsterInstance.from_config(str(job.dagster)) as instance:
            instance.add_dynamic_partitions(mat_versions(DATASTACK).name or "", [str(job.mat_version)])
