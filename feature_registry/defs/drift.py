"""The check `drift` of every table: is it there, and as it was registered? At night, of those unchecked the longest."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from feature_registry.defs.jobs import Job
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.model import Entry
from feature_registry.registry import Registry, drift, following

NAME = "drift"
VERSIONS_A_NIGHT = 200
VERSIONS_AT_ONCE = 10  # of one table
SHOWN = 20  # faults


def checks(keys: Iterable[dg.AssetKey]) -> dg.AssetChecksDefinition:
    """One op for all of them, which looks at the chosen ones."""
    says = "Its versions are there, and as they were when they were registered."

    @dg.multi_asset_check(
        name=NAME, specs=[dg.AssetCheckSpec(NAME, asset=key, description=says) for key in keys], can_subset=True
    )
    def look(
        context: dg.AssetCheckExecutionContext, feature_registry: FeatureRegistryResource
    ) -> Iterator[dg.AssetCheckResult]:
        registry = feature_registry.registry
        for key in sorted(each.asset_key for each in context.selected_asset_check_keys):
            datastack, name = key.path
            looked = sum(1 for _ in drift.check_all(registry, datastack, VERSIONS_AT_ONCE, name))
            yield _result(key, following.of_table(registry, datastack, name), looked)

    return look


def _result(key: dg.AssetKey, entries: Sequence[Entry], looked: int) -> dg.AssetCheckResult:
    """What is known of all versions now, of which some were looked at."""
    registered = [entry.version for entry in entries if entry.version.status != "draft"]
    faults = {f"{version.ref}: {each.name}": each for version in registered for each in version.drift}
    unseen = [str(version.ref) for version in registered if version.existence in ("recorded", "unverified")]
    failed = any(each.outcome == "failed" for each in faults.values())
    said = f"{len({name.partition(': ')[0] for name in faults}):,} of {len(registered):,} versions drifted"
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=NAME,
        passed=not faults and not unseen,
        severity=dg.AssetCheckSeverity.ERROR if failed else dg.AssetCheckSeverity.WARN,
        description=f"{said}; {len(unseen):,} could not be looked at" if unseen else said,
        metadata={
            **{name: each.message for name, each in list(faults.items())[:SHOWN]},
            "looked_at": looked,
            "existence": {str(version.ref): version.existence for version in registered[-SHOWN:]},
        },
    )


def nightly(look: dg.AssetChecksDefinition) -> tuple[dg.ScheduleDefinition, Job]:
    """The job and its schedule."""
    job = dg.define_asset_job(
        "check_registered",
        selection=dg.AssetSelection.checks(look),
        executor_def=dg.in_process_executor,
        description="Looks whether tables are there, and as they were when they were registered.",
    )

    @dg.schedule(
        name="check_registered",
        job=job,
        cron_schedule="0 5 * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Checks the {VERSIONS_A_NIGHT} table versions that nobody looked at for the longest time.",
    )
    def schedule(feature_registry: FeatureRegistryResource) -> dg.RunRequest | dg.SkipReason:
        chosen = _longest_unchecked(feature_registry.registry) & {each.key for each in look.check_specs}
        return dg.RunRequest(asset_check_keys=sorted(chosen)) if chosen else dg.SkipReason("Nothing is registered")

    return schedule, job


def _longest_unchecked(registry: Registry) -> set[dg.AssetCheckKey]:
    tables = drift.longest_unchecked(registry, VERSIONS_A_NIGHT)
    return {dg.AssetCheckKey(dg.AssetKey([*table]), NAME) for table in tables}
