"""Sensors: materialization versions that are new, and the catalog as JSON when it changed."""

from __future__ import annotations

import json
from collections.abc import Iterable

import dagster as dg

from feature_registry.cave import load_version_source
from feature_registry.defs.jobs import Job, chosen, job_name
from feature_registry.defs.partitions import mat_versions
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.errors import NotFound
from feature_registry.settings import Materialize


def new_versions(jobs: Iterable[Job], source: str, policy: Materialize) -> dg.SensorDefinition:
    """Registers the source's datastack and versions, adds their partitions, and asks for runs of new ones by policy."""
    by_name = {job.name: job for job in jobs}

    @dg.sensor(
        name="new_versions",
        jobs=list(by_name.values()),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks {source} for materialization versions; runs are requested for: {policy}.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, feature_registry: FeatureRegistryResource
    ) -> dg.SensorResult | dg.SkipReason:
        try:
            versions_of = load_version_source(source)
            [datastack] = versions_of.datastacks()
            versions = versions_of.versions(datastack.name)
        except NotFound as nothing:
            return dg.SkipReason(f"The version source has no data: {nothing}")
        feature_registry.registry.record_datastack(datastack)
        feature_registry.registry.record_versions(versions)
        # The cursor, else Dagster is asked, and not the catalog: a tick that died after that was written loses nothing.
        # A partition may be there before its version was announced: for a table that was registered from outside.
        partitions = mat_versions(datastack.name)
        held = set(context.instance.get_dynamic_partitions(partitions.name or ""))
        known = set(json.loads(context.cursor)) if context.cursor else held
        valid = {str(each.mat_version) for each in versions if each.valid}
        new = sorted(map(int, valid - known))
        cursor = json.dumps(sorted(valid | known, key=int))
        if not new:
            context.update_cursor(cursor)
            return dg.SkipReason(f"{datastack.name} has no new materialization version")
        job = job_name(datastack.name)
        newest = max(each.mat_version for each in versions if each.valid)
        wanted = chosen(new, newest, policy) if job in by_name else []
        requests = [
            dg.RunRequest(run_key=f"{job}@{number}", job_name=job, partition_key=str(number)) for number in wanted
        ]
        return dg.SensorResult(
            run_requests=requests,
            dynamic_partitions_requests=[partitions.build_add_request([*map(str, new)])],
            cursor=cursor,
        )

    return sensor


@dg.sensor(
    name="catalog_json",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes catalog.json beside the managed tables when the catalog changed.",
)
def catalog_json(context: dg.SensorEvaluationContext, feature_registry: FeatureRegistryResource) -> dg.SkipReason:
    registry = feature_registry.registry
    newest = str(registry.newest_event())  # asked first: what comes while we export is exported once more
    if newest == context.cursor:
        return dg.SkipReason("The catalog did not change")
    target = registry.settings.managed_root.joined("catalog.json")
    registry.store(target).write(target, registry.export("catalog_json").encode())
    context.update_cursor(newest)
    return dg.SkipReason(f"Wrote {target}")
