"""Schedules: every night, what is missing is made."""

from __future__ import annotations

from collections.abc import Container, Sequence

import dagster as dg

from feature_registry.defs import wanted
from feature_registry.defs.jobs import Job
from feature_registry.defs.partitions import mat_versions, partition_of
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.registry import Registry
from feature_registry.settings import Settings


def missing(
    job: Job,
    datastack: str,
    keys: Sequence[dg.AssetKey],
    *,
    settings: Settings,
    versioned: bool,
    dumped: Container[dg.AssetKey] = (),
) -> dg.ScheduleDefinition:
    """Asks for the tables of the job that the catalog lacks, at the versions of the policy; of those that are dumped,
    for what there is no objection to.
    """

    @dg.schedule(
        name=job.name.replace("materialize_", "missing_", 1),
        job=job,
        cron_schedule="0 3 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Makes the feature tables of {datastack} that the catalog lacks.",
    )
    def schedule(
        context: dg.ScheduleEvaluationContext, feature_registry: FeatureRegistryResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        registry = feature_registry.registry
        numbers = _wanted(registry, context.instance, datastack, settings) if versioned else [None]
        lacking = {number: [key for key in keys if _lacks(registry, key, number)] for number in numbers}
        known = {each.mat_version: each for each in wanted.versions(registry, datastack)}
        requests = [
            dg.RunRequest(partition_key=partition_of(number), asset_selection=asked)
            for number, found in lacking.items()
            if (
                asked := [
                    key
                    for key in found
                    if key not in dumped
                    or wanted.objection(registry, settings, known[number or 0], key.path[1]) is None
                ]
            )
        ]
        return requests or dg.SkipReason("Nothing is missing")

    return schedule


def _wanted(registry: Registry, instance: dg.DagsterInstance, datastack: str, settings: Settings) -> list[int | None]:
    """The versions that are made unasked and that have a partition."""
    held = set(instance.get_dynamic_partitions(mat_versions(datastack).name or ""))
    return [number for number in wanted.numbers(registry, settings, datastack) if str(number) in held]


def _lacks(registry: Registry, key: dg.AssetKey, mat_version: int | None) -> bool:
    datastack, name = key.path
    return registry.find(datastack, name, mat_version) is None
