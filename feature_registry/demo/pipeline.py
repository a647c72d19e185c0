"""Runs the demo's Dagster jobs in this process, one run a materialization version."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from feature_registry.cave import load_version_source
from feature_registry.cli.instance import prepare
from feature_registry.defs import announcements
from feature_registry.defs.build import build_defs
from feature_registry.defs.external import MARK
from feature_registry.defs.jobs import job_name
from feature_registry.defs.partitions import mat_versions
from feature_registry.demo import database
from feature_registry.errors import Unavailable
from feature_registry.model import MaterializationVersion, TableVersion
from feature_registry.registry import Registry
from feature_registry.settings import Settings

LAYOUTS_FROM = 1_000_000  # bytes; the usual limit would leave every table of the demo with one
ASKED_WITHIN = 60  # seconds
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


@dataclass(frozen=True)
class Materialized:
    """The published tables of one materialization version, and whether a run had to make them."""

    version: MaterializationVersion
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
    settings = Settings()
    registry = Registry(settings)
    try:
        announced = _announced(registry, settings, instance)
        settings = settings.model_copy(update={"dump_layouts_from": LAYOUTS_FROM})
        definitions = build_defs(["feature_registry.demo.assets"], settings)
        specs = [each for each in definitions.resolve_all_asset_specs() if MARK not in each.metadata]
        loaded = database.loaded(database.folder())
        for version in (each for each in announced if each.mat_version in versions):
            begun = time.perf_counter()
            code = {each.key.path[1]: each.code_version for each in specs if each.key.path[0] == version.datastack}
            made = _made(registry, version, code, loaded)
            skipped = len(made) == len(code)
            if not skipped:
                job = definitions.resolve_job_def(job_name(version.datastack))
                key = str(version.mat_version)
                job.execute_in_process(partition_key=key, instance=instance, run_config=QUIET)
                made = _made(registry, version, code, loaded)
            yield Materialized(version, tuple(made), skipped, time.perf_counter() - begun)
    finally:
        registry.close()


def _announced(registry: Registry, settings: Settings, instance: dg.DagsterInstance) -> list[MaterializationVersion]:
    """What the sensor `new_versions` does, once: all that the source says is in the catalog, and has a partition."""
    found, problems = announcements.heard(load_version_source(settings.source), ASKED_WITHIN)
    if problems:
        raise Unavailable("; ".join(problems), field="version_source", value=settings.source)
    for datastack, versions in found:
        announcements.record(registry, datastack, versions)
        keys = [str(version.mat_version) for version in versions]
        instance.add_dynamic_partitions(mat_versions(datastack.name).name or "", keys)
    return [version for _, versions in found for version in versions]


def _made(
    registry: Registry, version: MaterializationVersion, code: Mapping[str, str | None], since: datetime
) -> list[TableVersion]:
    """The tables that this code made of the cortex that is in the databases now."""
    found = [registry.find(version.datastack, name, version.mat_version) for name in code]
    return [
        table
        for table in found
        if table is not None and table.producer.code_version == code[table.name] and table.created_at > since
    ]
