"""Sensors: materialization versions that are new or gone, and the catalog as JSON when it changed."""

from __future__ import annotations

import json
from collections.abc import Iterable

import dagster as dg

from feature_registry.cave import load_version_source
from feature_registry.defs import announcements, dumps, external, wanted
from feature_registry.defs.jobs import Job, job_name
from feature_registry.defs.partitions import mat_versions
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.errors import RegistryError
from feature_registry.model import MaterializationVersion
from feature_registry.registry import Registry
from feature_registry.settings import Settings

SECONDS = 40.0  # that the source may take; Dagster gives up a tick after 60


def new_versions(jobs: Iterable[Job], settings: Settings) -> dg.SensorDefinition:
    """Records what the source says of datastacks and versions, adds the partitions of those that are available, and
    asks for runs of the jobs at new ones, by policy. Datastacks that are dumped start by automation.
    """
    by_name = {job.name: job for job in jobs}

    @dg.sensor(
        name="new_versions",
        jobs=list(by_name.values()),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Asks {settings.source} for materialization versions; made unasked: {settings.materialize}.",
    )
    def sensor(
        context: dg.SensorEvaluationContext, feature_registry: FeatureRegistryResource
    ) -> dg.SensorResult | dg.SkipReason:
        registry = feature_registry.registry
        found, notes = announcements.heard(load_version_source(settings.source), SECONDS)
        cursor = _cursor(context.cursor)
        added, requests = [], []
        for datastack, announced in found:
            try:
                announcements.record(registry, datastack, announced)
            except RegistryError as wrong:
                notes.append(f"{datastack.name}: {wrong}")
                continue
            new = _new(context.instance, cursor, wanted.versions(registry, datastack.name), datastack.name)
            if new:
                added.append(mat_versions(datastack.name).build_add_request([*map(str, new)]))
            job = job_name(datastack.name)
            starts = job in by_name and not wanted.tables(registry, settings).get(datastack.name)
            unasked = wanted.numbers(registry, settings, datastack.name) if starts else []
            requests += [
                dg.RunRequest(run_key=f"{job}@{number}", job_name=job, partition_key=str(number))
                for number in new
                if number in unasked
            ]
        notes += _prepared(context, registry, settings)
        if not added:
            if cursor != _cursor(context.cursor):
                context.update_cursor(json.dumps(cursor))
            return dg.SkipReason("; ".join(notes) or "There is no new materialization version")
        for note in notes:
            context.log.warning(note)
        return dg.SensorResult(run_requests=requests, dynamic_partitions_requests=added, cursor=json.dumps(cursor))

    return sensor


def _cursor(text: str | None) -> dict[str, list[int]]:
    """datastack -> the versions that were dealt with."""
    found = json.loads(text or "{}")
    return found if isinstance(found, dict) else {}  # of an older version of this code


def _new(
    instance: dg.DagsterInstance, cursor: dict[str, list[int]], known: Iterable[MaterializationVersion], datastack: str
) -> list[int]:
    """The versions whose partitions are added now; the cursor is told.

    The cursor, else Dagster is asked, and not the catalog: a tick that died after that was written loses nothing.
    A partition may be there before its version was announced: for a table that was registered from outside.
    """
    held = cursor.get(datastack)
    if held is None:
        held = [int(each) for each in instance.get_dynamic_partitions(mat_versions(datastack).name or "")]
    there = {each.mat_version for each in known if each.valid and each.status == "available"}
    cursor[datastack] = sorted(there.union(held))
    return sorted(there.difference(held))


def _prepared(context: dg.SensorEvaluationContext, registry: Registry, settings: Settings) -> list[str]:
    """Sees to it that all tables that are dumped are loaded, and that not too many are dumped at once."""
    keys = [
        dg.AssetKey([datastack, name])
        for datastack, names in wanted.tables(registry, settings).items()
        for name in names
    ]
    if not keys:
        return []
    dumps.limit(context.instance, settings)
    if context.repository_def is None or all(external.defined(context, key) for key in keys):
        return []
    problem = external.reload(context, registry.settings.dagster_address)
    return [problem or "asked the webserver to load the new tables"]


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
