"""Assembles Dagster's definitions; each part can be replaced, so that tests assemble what they need."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

import dagster as dg

from feature_registry.defs import drift, dumps, external, jobs, rules, schedules, sensors, wanted
from feature_registry.defs.feature_table import IO_MANAGER, REGISTRY
from feature_registry.defs.io_manager import FeatureTableIOManager
from feature_registry.defs.reconcile import reconcile
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.settings import Settings


def build_defs(
    modules: Iterable[str | ModuleType] | None = None,
    settings: Settings | None = None,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """The feature tables (and other assets) of the modules, and the dumps of the other tables that CAVE lists, with
    a job and a nightly schedule a datastack, the other tables of the catalog, the sensors, and the two resources, of
    which `resources` replaces any. Without modules, those of the settings.
    """
    settings = settings or Settings()
    loaded = [
        importlib.import_module(each) if isinstance(each, str) else each
        for each in (settings.feature_modules if modules is None else modules)
    ]
    written = list(dg.load_assets_from_modules(loaded))
    dumped = dumps.assets(settings, taken=_keys(written))
    assets = [*written, *dumped]
    stacks = {asset.key.path[0] for asset in dumped}
    work = [
        (jobs.materialize(datastack, tables, versioned, apart=datastack in stacks), datastack, tables, versioned)
        for (datastack, versioned), tables in sorted(_grouped(assets).items())
    ]
    others = external.specs(settings, assets)
    keys = {table.key for _, _, tables, _ in work for table in tables} | {spec.key for spec in others}
    looks = [drift.checks(sorted(keys))] if keys else []
    ruled = rules.checks(settings, keys)
    nights = [*map(drift.nightly, looks), *map(rules.nightly, ruled)]
    return dg.Definitions(
        assets=[*assets, *others],
        asset_checks=[*looks, *ruled],
        jobs=[*(job for job, *_ in work), *(job for _, job in nights)],
        schedules=[
            *(schedule for schedule, _ in nights),
            *(
                schedules.missing(
                    job,
                    datastack,
                    [table.key for table in tables],
                    settings=settings,
                    versioned=versioned,
                    dumped=_keys(dumped),
                )
                for job, datastack, tables, versioned in work
            ),
        ],
        sensors=[
            sensors.new_versions([job for job, *_ in work], settings),
            *(
                wanted.automation(settings, each, tables)
                for _, each, tables, versioned in work
                if versioned and each in stacks
            ),
            sensors.catalog_json,
            reconcile,
        ],
        resources=_resources() | dict(resources or {}),
        executor=jobs.APART if dumped else dg.in_process_executor,
    )


def _keys(assets: Iterable[Any]) -> set[dg.AssetKey]:
    return {key for asset in assets if isinstance(asset, dg.AssetsDefinition) for key in asset.keys}


def _resources() -> dict[str, Any]:
    registry = FeatureRegistryResource()
    return {REGISTRY: registry, IO_MANAGER: FeatureTableIOManager(feature_registry=registry)}


def _grouped(assets: Iterable[Any]) -> dict[tuple[str, bool], list[dg.AssetsDefinition]]:
    """The feature tables by datastack and by whether they have materialization versions."""
    groups: dict[tuple[str, bool], list[dg.AssetsDefinition]] = defaultdict(list)
    for asset in assets:
        if isinstance(asset, dg.AssetsDefinition) and REGISTRY in asset.required_resource_keys and len(asset.keys) == 1:
            groups[asset.key.path[0], asset.partitions_def is not None].append(asset)
    return groups
