"""Runs the demo's Dagster job in this process, one run a materialization version."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from feature_registry.cli.instance import prepare
from feature_registry.defs.build import build_defs
from feature_registry.defs.external import MARK
from feature_registry.defs.jobs import job_name
from feature_registry.defs.partitions import mat_versions
from feature_registry.demo.cortex import DATASTACK
from feature_registry.demo.database import CortexVersions
from feature_registry.model import TableVersion
from feature_registry.registry import Registry
from feature_registry.settings import Settings

QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


@dataclass(frozen=True)
class Materialized:
    """The published tables of one materialization version, and whether a run had to make them."""

    mat_version: int
    tables: tuple[TableVersion, ...]
    skipped: bool
    seconds: float

    @property
    def rows(self) -> int:
        return sum(table.inspection.rows or 0 for table in self.tables)


def open_instance() -> dg.DagsterInstance:
    """The one whose runs the Dagster UI shows."""
    return dg.DagsterInstance.from_config(str(prepare(Settings())))


def materialize(versions: Sequence[int], instance: dg.DagsterInstance) -> Iterator[Materialized]:
    """Makes all feature tables of each version; a version whose tables this very code made is skipped."""
    definitions = build_defs(["feature_registry.demo.assets"])
    job = definitions.resolve_job_def(job_name(DATASTACK))
    specs = definitions.resolve_all_asset_specs()
    code = {spec.key.path[-1]: spec.code_version for spec in specs if MARK not in spec.metadata}
    registry = Registry(Settings())
    try:
        for datastack in CortexVersions().datastacks():
            registry.record_datastack(datastack)
            registry.record_versions(CortexVersions().versions(datastack.name))
        instance.add_dynamic_partitions(mat_versions(DATASTACK).name or "", [*map(str, versions)])
        for mat_version in versions:
            begun = time.perf_counter()
            made = _made(registry, code, mat_version)
            skipped = {table.name: table.producer.code_version for table in made} == code
            if not skipped:
                job.execute_in_process(partition_key=str(mat_version), instance=instance, run_config=QUIET)
                made = _made(registry, code, mat_version)
            yield Materialized(mat_version, tuple(made), skipped, time.perf_counter() - begun)
    finally:
        registry.close()


def _made(registry: Registry, names: Iterable[str], mat_version: int) -> list[TableVersion]:
    found = [registry.find(DATASTACK, name, mat_version) for name in names]
    return [table for table in found if table is not None]
