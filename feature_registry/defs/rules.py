"""The named rules as checks of their tables, run each night, so that Dagster tells whoever follows its alerts."""

from collections.abc import Container, Iterator

import dagster as dg

from feature_registry.defs.jobs import Job
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.settings import Settings

SHOWN = 20  # table versions


def checks(settings: Settings, keys: Container[dg.AssetKey]) -> list[dg.AssetChecksDefinition]:
    """One op for the rules of all datastacks that are named in the policies, or none; of tables that are defined."""
    named = {
        (f"rule_{name}", dg.AssetKey([datastack, rule.table])): (datastack, name, rule)
        for datastack in settings.policies
        if datastack != "*"
        for name, rule in settings.policies_of(datastack).rules.items()
    }
    specs = [
        dg.AssetCheckSpec(
            check, asset=key, description=f"The rule {name}, of {rule.kind}, of the datastack's policies."
        )
        for (check, key), (_, name, rule) in named.items()
        if key in keys
    ]
    if not specs:
        return []

    @dg.multi_asset_check(name="rules", specs=specs, can_subset=True)
    def look(
        context: dg.AssetCheckExecutionContext, feature_registry: FeatureRegistryResource
    ) -> Iterator[dg.AssetCheckResult]:
        for each in sorted(context.selected_asset_check_keys):
            datastack, name, _ = named[each.name, each.asset_key]
            reports = feature_registry.registry.check_rules(datastack, names=[name])
            failed = [report for report in reports if report.outcome == "failed"]
            yield dg.AssetCheckResult(
                asset_key=each.asset_key,
                check_name=each.name,
                passed=not failed,
                severity=dg.AssetCheckSeverity.WARN,
                description=f"{len(failed):,} of {len(reports):,} reports tell of violations",
                metadata={
                    report.table: f"{report.message}; missing: {report.missing}" if report.missing else report.message
                    for report in failed[:SHOWN]
                },
            )

    return [look]


def nightly(look: dg.AssetChecksDefinition) -> tuple[dg.ScheduleDefinition, Job]:
    """The job and its schedule."""
    job = dg.define_asset_job(
        "check_rules",
        selection=dg.AssetSelection.checks(look),
        executor_def=dg.in_process_executor,
        description="Checks the named rules of the datastacks' policies.",
    )
    running = dg.DefaultScheduleStatus.RUNNING
    return dg.ScheduleDefinition(job=job, cron_schedule="0 6 * * *", default_status=running), job
