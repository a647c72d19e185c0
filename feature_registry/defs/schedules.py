"""Schedules: every night, what is missing is made."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from feature_registry.defs.jobs import Job, chosen
from feature_registry.defs.partitions import mat_versions, partition_of
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.errors import NotFound
from feature_registry.registry import Registry
from feature_registry.settings import Materialize


def missing(
    job: Job,
    datastack: str,
    keys: Sequence[dg.AssetKey],
    *,
    policy: Materialize,
    versioned: bool,
) -> dg.ScheduleDefinition:
    """Asks for the tables of the job that the catalog lacks, at the versions of the policy."""

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
        numbers = _wanted(registry, context.instance, datastack, policy) if versioned else [None]
        found = [(number, [key for key in keys if _lacks(registry, key, number)]) for number in numbers]
        requests = [
            dg.RunRequest(partition_key=partition_of(number), asset_selection=lacking)
            for number, lacking in found
            if lacking
        ]
        return requests or dg.SkipReason("Nothing is missing")

    return schedule


def _wanted(registry: Registry, instance: dg.DagsterInstance, datastack: str, policy: Materialize) -> list[int | None]:
    """The versions that are made unasked and that have a partition."""
    try:
        valid = [each.mat_version for each in registry.mat_versions(datastack) if each.valid]
    except NotFound:  # no version of it has appeared yet
        return []
    known = set(instance.get_dynamic_partitions(mat_versions(datastack).name or ""))
    return [number for number in chosen(valid, max(valid, default=0), policy) if str(number) in known]


def _lacks(registry: Registry, key: dg.AssetKey, mat_version: int | None) -> bool:
    datastack, name = key.path
    return registry.find(datastack, name, mat_version) is None
