"""Tables of the catalog that no module defines: external assets, so that they stand in the lineage graph."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import dagster as dg
import httpx

from feature_registry.defs import metadata
from feature_registry.defs.partitions import asset_key, dep, mat_versions
from feature_registry.defs.resources import catalog
from feature_registry.errors import RegistryError
from feature_registry.model import Entry, Search
from feature_registry.settings import Settings

if TYPE_CHECKING:
    from dagster import SensorEvaluationContext

MARK = "feature_registry/defined"
ELSEWHERE = "elsewhere"
PAGE = 1000
RELOADED_WITHIN = 5  # seconds
_RELOAD = """mutation Reload($name: String!) {
  reloadRepositoryLocation(repositoryLocationName: $name) { __typename }
}"""

Edges = dict[dg.AssetKey, set[dg.AssetKey]]


def specs(settings: Settings, assets: Iterable[Any]) -> list[dg.AssetSpec]:
    """None where there is no catalog yet, or where it cannot be read: Dagster must load what it can."""
    edges: Edges = {}
    for asset in assets:
        for spec in asset.specs if isinstance(asset, dg.AssetsDefinition) else [asset]:
            edges[spec.key] = {dep.asset_key for dep in getattr(spec, "deps", ())}
    try:
        found = [entry for entry in _published(settings) if _key(entry) not in edges]
    except Exception as wrong:
        said = wrong if isinstance(wrong, RegistryError) else type(wrong).__name__
        logging.getLogger(__name__).warning("the catalog cannot be read; its external tables are not shown: %s", said)
        return []
    parents = _without_circles({_key(entry): _parents(entry) for entry in found}, edges)
    partitions = {name: mat_versions(name) for name in {entry.table.datastack for entry in found}}
    return [_spec(entry, parents[_key(entry)], partitions[entry.table.datastack]) for entry in found]


def _published(settings: Settings) -> Iterator[Entry]:
    """One version of each table: the latest."""
    registry = catalog(settings)
    after: str | None = None
    while registry is not None:
        page = registry.search(Search(columns=True, limit=PAGE, after=after))
        yield from (entry for entry in page.entries if entry.version.status != "draft")
        after = page.next
        if after is None:
            return


def _key(entry: Entry) -> dg.AssetKey:
    return dg.AssetKey([entry.table.datastack, entry.table.name])


def _parents(entry: Entry) -> set[dg.AssetKey]:
    """The tables that it was derived from, and those that its columns refer to."""
    own = entry.table.datastack
    named = [target.rpartition(".")[0] for target in entry.table.references.values()]
    derived = [ref.partition("@")[0] for ref in entry.version.derived_from]
    return {asset_key(own, each) for each in (*named, *derived)}


def _without_circles(found: Edges, defined: Edges) -> Edges:
    """Tables may refer to each other, which assets may not: in a circle, the external ones have no upstream."""
    found = {key: parents - {key} for key, parents in found.items()}
    while True:
        try:
            TopologicalSorter(found | defined).prepare()
        except CycleError as circle:
            around = set(circle.args[1])
            if not around & found.keys():
                return found  # not ours; Dagster will say so
            found |= {key: found[key] - around for key in around & found.keys()}
        else:
            return found


def _spec(entry: Entry, parents: set[dg.AssetKey], partitions: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    table = entry.table
    versioned = entry.version.mat_version is not None
    return dg.AssetSpec(
        _key(entry),
        deps=[dep(key, table.datastack, versioned) for key in sorted(parents)],
        metadata={MARK: ELSEWHERE} | metadata.of_table(entry),
        partitions_def=partitions if versioned else None,
        **metadata.of_asset(table, entry.version.inspection.format),
    )


# ----------------------------------------------------------------------------------------- what a sensor asks of them


def defined(context: SensorEvaluationContext, key: dg.AssetKey) -> dg.AssetSpec | None:
    """The asset as a module of this code location defines it."""
    spec = _loaded(context, key)
    return None if spec is None or MARK in spec.metadata else spec


def is_loaded(context: SensorEvaluationContext, key: dg.AssetKey) -> bool:
    return context.repository_def is None or _loaded(context, key) is not None


def _loaded(context: SensorEvaluationContext, key: dg.AssetKey) -> dg.AssetSpec | None:
    graph = context.repository_def.asset_graph if context.repository_def else None
    if graph is None or not graph.has(key) or graph.get(key).assets_def.is_auto_created_stub:
        return None
    return graph.get(key).assets_def.specs_by_key[key]


def reload(context: SensorEvaluationContext, address: str) -> str | None:
    """Asks the webserver to load this code location again; what kept it from doing so, if anything did."""
    origin = context.code_location_origin
    if origin is None:
        return "new tables appear when the code location is loaded again"
    body = {"query": _RELOAD, "variables": {"name": origin.location_name}}
    try:
        answer = httpx.post(f"{address}/graphql", json=body, timeout=RELOADED_WITHIN).raise_for_status().json()
        kind = answer["data"]["reloadRepositoryLocation"]["__typename"]
    except httpx.ReadTimeout:
        return None  # it is at it
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as wrong:
        kind = type(wrong).__name__
    if kind == "WorkspaceLocationEntry":
        return None
    return f"new tables appear when the code location is loaded again; {address} was asked in vain: {kind}"
