"""What is made unasked, by policy: materialization versions, the tables of each that are dumped, and when they start.

Said once for the sensor, the automation condition, the nightly schedule, the dump itself and its dry run.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from feature_registry.defs.jobs import chosen
from feature_registry.defs.resources import opened
from feature_registry.errors import NotFound
from feature_registry.model import MaterializationVersion
from feature_registry.model.noun import Name
from feature_registry.registry import Registry, following
from feature_registry.settings import Settings

_NAME: TypeAdapter[str] = TypeAdapter(Name)


def versions(registry: Registry, datastack: str) -> tuple[MaterializationVersion, ...]:
    """Those that the catalog knows."""
    try:
        return registry.mat_versions(datastack)
    except NotFound:  # none of it has appeared yet
        return ()


def numbers(registry: Registry, settings: Settings, datastack: str) -> list[int]:
    """The materialization versions that are made unasked."""
    return unasked(settings, versions(registry, datastack))


def unasked(settings: Settings, known: Iterable[MaterializationVersion]) -> list[int]:
    """Those of a datastack's versions that are made unasked."""
    usable = [
        each.mat_version
        for each in known
        if each.valid and each.status in ("available", "expired") and (each.long_term or settings.dump_expiring)
    ]
    return chosen(usable, max(usable, default=0), settings.materialize)


def tables(registry: Registry, settings: Settings) -> dict[str, list[str]]:
    """datastack -> the tables that any of its versions lists, as far as they are dumped."""
    followed = [
        each.name
        for each in registry.datastacks()
        if not settings.cave_datastacks or each.name in settings.cave_datastacks
    ]
    listed = {name: {table for each in versions(registry, name) for table in each.tables or ()} for name in followed}
    return {
        name: sorted(table for table in found if is_dumped(settings, table) and _is_name(table))
        for name, found in listed.items()
    }


def is_dumped(settings: Settings, table: str) -> bool:
    return any(fnmatchcase(table, pattern) for pattern in settings.dump_tables)


def parent_of(registry: Registry, version: MaterializationVersion, table: str) -> MaterializationVersion | None:
    """The version that a virtual one is a view of, where that is followed and lists the table: nothing is dumped."""
    if version.parent is None:
        return None
    found = {each.mat_version: each for each in versions(registry, version.parent)}.get(version.mat_version)
    return found if found is not None and table in (found.tables or ()) else None


def refusal(version: MaterializationVersion) -> str | None:
    """Why nothing of the version can be dumped."""
    at = f"{version.datastack}@{version.mat_version}"
    if not version.valid:
        return f"{at} is not valid"
    if version.status != "available":
        return f"{at} is {version.status}"
    if version.expires_on is not None and version.expires_on <= datetime.now(UTC):
        return f"{at} expired on {version.expires_on:%Y-%m-%d %H:%M} UTC"
    return None


def objection(registry: Registry, settings: Settings, version: MaterializationVersion, table: str) -> str | None:
    """Why the table is not dumped unasked at the version; whether it was made already is not looked at."""
    if version.tables is not None and table not in version.tables:
        return "is not listed"
    if not is_dumped(settings, table):
        return "is none of those that are dumped (FEATURE_REGISTRY_DUMP_TABLES)"
    if parent := parent_of(registry, version, table):
        made = registry.find(parent.datastack, table, parent.mat_version)
        return None if made else f"waits for {parent.datastack}/{table}@{parent.mat_version}, whose alias it is"
    if reason := refusal(version):
        return reason
    if not (version.long_term or settings.dump_expiring):
        return f"expires on {version.expires_on:%Y-%m-%d} (FEATURE_REGISTRY_DUMP_EXPIRING)"
    return None


class Wanted(dg.AutomationCondition[dg.AssetKey]):
    """True for the partitions that policy wants, that the catalog lacks, and that could be made now.

    A dump can be made where there is no objection; any other table, where what it depends on is there.
    """

    def __init__(self, settings: Settings, dump: bool) -> None:
        self.settings, self.dump = settings, dump

    @property
    def name(self) -> str:
        return "wanted"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        registry = opened(self.settings)
        datastack, table = context.key.path
        held = _published(registry, datastack, table)
        lacking = [number for number in numbers(registry, self.settings, datastack) if number not in held]
        ready = self._dump(registry, datastack, table) if self.dump else _inputs(context, registry)
        keys = {str(number) for number in lacking if ready(number)}
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection_with_partition_keys(keys))

    def _dump(self, registry: Registry, datastack: str, table: str) -> Callable[[int], bool]:
        known = {each.mat_version: each for each in versions(registry, datastack)}
        return lambda number: objection(registry, self.settings, known[number], table) is None


def _inputs(context: dg.AutomationContext[dg.AssetKey], registry: Registry) -> Callable[[int], bool]:
    """Whether all tables of the datastack that a table depends on are there; others have clocks of their own."""
    datastack = context.key.path[0]
    keys = [key for key in context.asset_graph.get(context.key).parent_keys if key.path[0] == datastack]
    held = [_published(registry, *key.path) for key in keys if len(key.path) == 2]
    return lambda number: all(number in each or None in each for each in held)


def _published(registry: Registry, datastack: str, table: str) -> set[int | None]:
    entries = following.of_table(registry, datastack, table)
    return {entry.version.mat_version for entry in entries if entry.version.status != "draft"}


def condition(settings: Settings, dump: bool) -> dg.AutomationCondition[dg.AssetKey]:
    """Once a partition becomes wanted, it is asked for, once: one that fails is left to the nightly schedule."""
    wanted, made = Wanted(settings, dump), dg.AutomationCondition
    asked = made.newly_requested() | made.newly_updated()
    return wanted.newly_true().since(asked) & wanted & ~made.in_progress()


def automation(settings: Settings, datastack: str, assets: Iterable[dg.AssetsDefinition]) -> Any:
    """The sensor that starts the tables of a datastack that is dumped: the dumps, then what is computed from them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # conditions of our own are in beta in 1.13
        return dg.AutomationConditionSensorDefinition(
            f"start_{datastack}",
            target=dg.AssetSelection.assets(*assets).without_checks(),
            default_status=dg.DefaultSensorStatus.RUNNING,
            default_condition=condition(settings, dump=False),
            use_user_code_server=True,  # the daemon knows no conditions but Dagster's
            emit_backfills=False,
            description=f"Starts the tables of {datastack} that are wanted at a new materialization version.",
        )


def _is_name(table: str) -> bool:
    try:
        _NAME.validate_python(table)
    except ValidationError:
        logging.getLogger(__name__).warning("%r is no name of a feature table; it is not dumped", table)
        return False
    return True
