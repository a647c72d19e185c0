"""What Dagster remembers of the catalog: entries in the metadata of materializations and observations.

A materialization shows a table version, observations follow its later changes; the newest of them that carries the
version's id is what Dagster knows of it, so that the catalog can be rebuilt from Dagster alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from feature_registry.defs import metadata
from feature_registry.defs.partitions import mat_versions, partition_of
from feature_registry.errors import Invalid
from feature_registry.location import Location
from feature_registry.model import Contents, Entry, TableVersion
from feature_registry.storage import schemes

GONE = "feature_registry/unregistered"
PAGE = 500
EVENTS = (dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION)


@dataclass(frozen=True, slots=True)
class Memory:
    """What one event says of a version; no entry: it was unregistered."""

    number: int
    id: str
    entry: dict[str, Any] | None

    @classmethod
    def of(cls, record: dg.EventLogRecord) -> Memory | None:
        said = _said(record)
        if metadata.ID not in said or not (metadata.ENTRY in said or GONE in said):
            return None
        entry = None if GONE in said else dict(said[metadata.ENTRY].value)
        return cls(record.storage_id, str(said[metadata.ID].value), entry)

    @property
    def location(self) -> str | None:
        return None if self.entry is None else str(self.entry["version"]["inspection"]["location"])


def place(record: dg.EventLogRecord) -> Location | None:
    """Where a materialization says that its table lies; None for no URI of a storage that we have."""
    uri = _said(record).get("dagster/uri")
    text = str(uri.value) if uri is not None else ""
    if "://" not in text:
        return None
    try:
        location = Location(text)
    except Invalid:
        return None
    return location if location.scheme in schemes() else None


def remembered(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None) -> Iterator[Memory]:
    """All that is remembered of a table, or of one of its partitions; the newest first."""
    fetches = (instance.fetch_materializations, instance.fetch_observations)
    streams = (_pages(fetch, key, partition) for fetch in fetches)
    for record in heapq.merge(*streams, key=lambda record: record.storage_id, reverse=True):
        if memory := Memory.of(record):
            yield memory


def newest(instance: dg.DagsterInstance, version: TableVersion) -> Memory | None:
    found = remembered(instance, *slot(version))
    return next((memory for memory in found if memory.id == version.id), None)


def since(instance: dg.DagsterInstance, record: dg.EventLogRecord, location: Location) -> Memory | None:
    """The newest of what was observed, after a materialization that is not ours, of the version at its location."""
    assert record.asset_key is not None
    latest: dict[str, Memory] = {}
    for memory in remembered(instance, record.asset_key, record.partition_key):
        if memory.number < record.storage_id:
            break
        latest.setdefault(memory.id, memory)
        if memory.location == location:
            return latest[memory.id]
    return None


def slot(version: TableVersion) -> tuple[dg.AssetKey, str | None]:
    """The asset key and the partition of a version."""
    return dg.AssetKey([version.datastack, version.name]), partition_of(version.mat_version)


def show(instance: dg.DagsterInstance, entry: Entry, memory: Memory | None, address: str, whole: bool = True) -> bool:
    """Tells Dagster of a version of which it has this memory; whether there was anything to tell.

    Without `whole`, a change of the table's metadata alone is none. A draft is shown by the run that made it only.
    """
    now = metadata.plain(entry)
    if memory is None and (entry.version.status == "draft" or _in_the_making(instance, entry.version)):
        return False
    if memory is not None and memory.entry is not None:
        same = memory.entry == now if whole else memory.entry["version"] == now["version"]
        if same:
            return False
    key, partition = slot(entry.version)
    if partition is not None:
        instance.add_dynamic_partitions(mat_versions(entry.version.datastack).name or "", [partition])
    event: dg.AssetMaterialization | dg.AssetObservation
    if memory is None and not _shown_by_others(instance, entry.version):
        event = dg.AssetMaterialization(
            key,
            partition=partition,
            description=entry.table.description or None,
            metadata=metadata.of_version(entry, address),
            tags={"dagster/data_version": metadata.data_version(entry)},
        )
    else:
        event = dg.AssetObservation(key, partition=partition, metadata=metadata.of_entry(entry))
    instance.report_runless_asset_event(event)
    return True


def forget(instance: dg.DagsterInstance, datastack: str, name: str, version_id: str) -> bool:
    """Tells Dagster that a version that it remembers was unregistered, so that nobody brings it back."""
    key = dg.AssetKey([datastack, name])
    memory = next((each for each in remembered(instance, key) if each.id == version_id), None)
    if memory is None or memory.entry is None:
        return False
    told: dict[str, Any] = {metadata.ID: version_id, GONE: True}
    partition = partition_of(memory.entry["version"]["mat_version"])
    instance.report_runless_asset_event(dg.AssetObservation(key, partition=partition, metadata=told))
    return True


def contents(home: Path) -> Contents:
    """All that the instance of a folder (as in DAGSTER_HOME) remembers."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return contents_of(instance)


def contents_of(instance: dg.DagsterInstance) -> Contents:
    memories: dict[str, Memory] = {}
    tables: dict[tuple[str, str], Any] = {}
    versions: dict[tuple[str, int], Any] = {}
    streams = (_events(instance, kind) for kind in EVENTS)
    for record in heapq.merge(*streams, key=lambda record: record.storage_id):
        if memory := Memory.of(record):
            memories[memory.id] = memory
            if memory.entry is not None:
                table, mat_version = memory.entry["table"], memory.entry["materialization"]
                tables[table["datastack"], table["name"]] = table
                if mat_version is not None:
                    versions[mat_version["datastack"], mat_version["mat_version"]] = mat_version
    kept = [memory.entry for memory in memories.values() if memory.entry is not None]
    # What was said of a table last holds for all its versions.
    entries = [each | {"table": tables[each["table"]["datastack"], each["table"]["name"]]} for each in kept]
    entries.sort(key=lambda each: (each["version"]["created_at"], each["version"]["revision"]))
    return Contents.model_validate({"mat_versions": list(versions.values()), "entries": entries})


def _said(record: dg.EventLogRecord) -> dict[str, Any]:
    event = record.asset_materialization or record.asset_observation
    return dict(event.metadata) if event else {}


def _pages(fetch: Callable[..., Any], key: dg.AssetKey, partition: str | None) -> Iterator[dg.EventLogRecord]:
    asked = dg.AssetRecordsFilter(asset_key=key, asset_partitions=None if partition is None else [partition])
    cursor: str | None = None
    while True:
        page = fetch(asked, limit=PAGE, cursor=cursor)
        yield from page.records
        if not page.has_more:
            return
        cursor = page.cursor


def _events(instance: dg.DagsterInstance, kind: dg.DagsterEventType) -> Iterator[dg.EventLogRecord]:
    """All events of a kind, oldest first."""
    after = None
    while page := instance.event_log_storage.get_event_records(
        dg.EventRecordsFilter(kind, after_cursor=after), PAGE, ascending=True
    ):
        yield from page
        after = page[-1].storage_id


def _in_the_making(instance: dg.DagsterInstance, version: TableVersion) -> bool:
    """Whether its run goes on, and is about to show it."""
    run = instance.get_run_by_id(version.producer.run_id) if version.producer.run_id else None
    return run is not None and not run.is_finished


def _shown_by_others(instance: dg.DagsterInstance, version: TableVersion) -> bool:
    """Whether a materialization that is not ours shows this very place: then it lacks our words only."""
    return any(
        metadata.ID not in _said(record) and place(record) == version.inspection.location
        for record in _pages(instance.fetch_materializations, *slot(version))
    )
