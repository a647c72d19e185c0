"""The sensor that keeps Dagster and the catalog equal, in both directions.

Dagster -> catalog: a materialization that the catalog lacks is registered. Catalog -> Dagster: a version that Dagster
does not show is reported, and so are later changes. Both steps ask first what is there, so each may be done again: a
tick that dies loses nothing and doubles nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from pydantic import BaseModel, ValidationError

from feature_registry.defs import memory, metadata
from feature_registry.defs.external import defined, is_loaded, reload
from feature_registry.defs.memory import Memory
from feature_registry.defs.partitions import mat_version_of
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.errors import RegistryError, Unavailable
from feature_registry.location import Location
from feature_registry.model import Contents, Entry, Event, FeatureTable, Producer, Registration
from feature_registry.policy import missing_to_publish
from feature_registry.registry import Registry, following, publishing

SECONDS = 12  # of each of the three steps of a tick, about; Dagster gives up after 60
MATERIALIZATIONS = 500  # that are looked at, a tick
CHANGES = 1000  # of the catalog, that are followed, a tick
TABLES = 10  # that are compared as a whole, a tick
# Dagster numbers events before they are committed, so a reader who follows the numbers misses some. What was logged
# this long before the last look is looked at again.
OVERLAP = 600  # seconds
MOST_TRIES = 1000  # about a working day
MOST_WAITING = 100


class Cursor(BaseModel):
    """How far the sensor has come."""

    event: int = 0  # the catalog's, that was followed last, and its time, by which a catalog that was replaced is known
    event_at: str = ""
    since: float = 0  # the present look at Dagster's materializations: after this time,
    begun: float = 0  # begun then,
    page: int | None = None  # and come this far
    waiting: dict[int, int] = {}  # materializations to be tried again: how often they were tried
    done: dict[int, float] = {}  # those of others that were dealt with, and when they were logged
    table: tuple[str, str] | None = None  # that was compared last
    unloaded: bool = False  # whether the code location lacks a table

    @classmethod
    def of(cls, text: str | None) -> Cursor:
        try:
            return cls.model_validate_json(text or "{}")
        except ValidationError:  # of another version of this code: beginning anew is safe
            return cls()


@dg.sensor(
    name="reconcile",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Registers materializations that the catalog lacks; shows table versions that Dagster lacks.",
)
def reconcile(context: dg.SensorEvaluationContext, feature_registry: FeatureRegistryResource) -> dg.SkipReason:
    registry = feature_registry.registry
    with following.alone(registry, "reconcile") as alone:
        if not alone:
            return dg.SkipReason("Another tick is at it")
        tick = Tick(context, registry, Cursor.of(context.cursor))
        tick.run()
    context.update_cursor(tick.cursor.model_dump_json())
    return dg.SkipReason(tick.said())


@dataclass
class Tick:
    """One evaluation; each of its steps takes a bounded time and leaves in the cursor how far it came."""

    context: dg.SensorEvaluationContext
    registry: Registry
    cursor: Cursor
    registered: int = 0
    shown: int = 0
    notes: list[str] = field(default_factory=list)
    outdated: bool = False  # whether a table came or went that the definitions lack or still have
    ends: float = 0

    def run(self) -> None:
        if self._replaced():
            self.notes.append("the catalog was replaced; all is compared anew")
            self.cursor = Cursor()
        for step in (self._restore, self._follow, self._compare):
            self.ends = time.monotonic() + SECONDS
            step()
        self._load()

    def said(self) -> str:
        counts = f"Registered {self.registered}, reported {self.shown}"
        waiting = f"{len(self.cursor.waiting)} materializations wait" if self.cursor.waiting else ""
        return "; ".join(filter(None, [counts, waiting, *self.notes]))

    @property
    def _instance(self) -> dg.DagsterInstance:
        return self.context.instance

    def _late(self) -> bool:
        return time.monotonic() > self.ends

    def _replaced(self) -> bool:
        """Whether the event that was followed last is not there any more."""
        if not self.cursor.event:
            return False
        found = following.changes(self.registry, self.cursor.event - 1, 1)
        return not found or (found[0].number, found[0].at.isoformat()) != (self.cursor.event, self.cursor.event_at)

    # ------------------------------------------------------------------------------------------- Dagster -> catalog

    def _restore(self) -> None:
        """Tries what waits, then the next materializations of the present look."""
        cursor = self.cursor
        if cursor.page is None:
            cursor.begun = time.time()
            cursor.done = {number: at for number, at in cursor.done.items() if at > cursor.since}
        crowded = len(cursor.waiting) >= MOST_WAITING
        again = self._records(storage_ids=list(cursor.waiting)) if cursor.waiting else []
        fresh = [] if crowded else self._records(after_timestamp=cursor.since or None, after_cursor=cursor.page)
        cursor.waiting = {each.storage_id: cursor.waiting[each.storage_id] for each in again}  # others were deleted
        memories = {record.storage_id: Memory.of(record) for record in (*again, *fresh)}
        known = following.known(self.registry, {each.id for each in memories.values() if each})
        for record in (*again, *fresh):
            if self._late():
                return
            told = memories[record.storage_id]
            if not (told and told.id in known) and record.storage_id not in cursor.done:
                self._try(record, told)
            if record in fresh:
                cursor.page = record.storage_id
        if len(fresh) < MATERIALIZATIONS and not crowded:  # this look is over
            cursor.since, cursor.page = max(cursor.since, cursor.begun - OVERLAP), None

    def _records(self, **chosen: Any) -> list[dg.EventLogRecord]:
        asked = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_MATERIALIZATION, **chosen)
        return list(self._instance.event_log_storage.get_event_records(asked, limit=MATERIALIZATIONS, ascending=True))

    def _try(self, record: dg.EventLogRecord, told: Memory | None) -> None:
        """Whatever is wrong with one materialization must not keep the others from being registered."""
        number, tries = record.storage_id, self.cursor.waiting.pop(record.storage_id, 0) + 1
        key = record.asset_key or dg.AssetKey([])
        at = f"{key.to_user_string()}@{record.partition_key}"
        try:
            self.registered += self._bring_back(record, key, told)
        except Exception as wrong:
            ours = isinstance(wrong, (RegistryError, ValidationError))
            problem = f"{at} cannot be registered: {wrong if ours else type(wrong).__name__}"
            self.context.log.warning(problem)
            if (ours and not isinstance(wrong, Unavailable)) or tries >= MOST_TRIES:
                self.cursor.done[number] = record.timestamp
                self.notes.append(problem)
            else:
                self.cursor.waiting[number] = tries
        else:
            if told is None:
                self.cursor.done[number] = record.timestamp

    def _bring_back(self, record: dg.EventLogRecord, key: dg.AssetKey, told: Memory | None) -> bool:
        if told is None:
            location = memory.place(record)
            if location is None or len(key.path) != 2:
                return False
            told = memory.since(self._instance, record, location)
            if told is None:
                self._register(record, key, location)
                return True
        return self._rebuild(key, record.partition_key, told)

    def _rebuild(self, key: dg.AssetKey, partition: str | None, told: Memory) -> bool:
        """From the newest of what is remembered, unless it was unregistered."""
        if following.known(self.registry, [told.id]):
            return False
        newest = next(each for each in memory.remembered(self._instance, key, partition) if each.id == told.id)
        if newest.entry is None:
            return False
        # What was said of the table last holds for all of its versions.
        last = next(each.entry for each in memory.remembered(self._instance, key) if each.entry is not None)
        entry = Entry.model_validate(newest.entry | {"table": last["table"]})
        return bool(self.registry.rebuild(Contents(entries=(entry,))))

    def _register(self, record: dg.EventLogRecord, key: dg.AssetKey, location: Location) -> None:
        """What an asset wrote that is no `@feature_table`; published if the asset asks for it and says enough."""
        datastack, name = key.path
        spec = defined(self.context, key)
        said = metadata.of_spec(spec) if spec else {}
        held = following.of_table(self.registry, datastack, name)
        table = held[-1].table if held else FeatureTable(datastack=datastack, name=name)
        table = FeatureTable.model_validate(table.model_dump() | said)
        publish = spec is not None and metadata.publishes(spec)
        missing = missing_to_publish(table, publishing.needs(self.registry, table)) if publish else []
        producer = Producer(
            pipeline=f"dagster:{datastack}/{name}",
            code_version=spec.code_version if spec else None,
            run_id=record.run_id or None,
        )
        report = self.registry.register(
            Registration(
                location=location,
                datastack=datastack,
                name=name,
                mat_version=mat_version_of(record.partition_key),
                producer=producer,
                publish=publish and not missing,
                **said,
            ),
            by_pipeline=True,
        )
        if missing:
            self.context.log.warning(f"{report.ref} stays a draft: nobody says its {' and its '.join(missing)}")

    # ------------------------------------------------------------------------------------------- catalog -> Dagster

    def _follow(self) -> None:
        """The catalog's events by number, which misses none. What is told is the present, so once is enough."""
        told: set[str] = set()
        for event in following.changes(self.registry, self.cursor.event, CHANGES):
            if self._late():
                return
            if event.version_id is not None and event.version_id not in told:
                told.add(event.version_id)
                self._tell(event, following.entry(self.registry, event.version_id))
            elif event.kind in ("described", "transferred") and event.name is not None:
                speaker = _speaker(following.of_table(self.registry, event.datastack, event.name))
                if speaker is not None and speaker.version.id not in told:
                    told.add(speaker.version.id)
                    self._tell(event, speaker)
            self.cursor.event, self.cursor.event_at = event.number, event.at.isoformat()

    def _tell(self, event: Event, entry: Entry | None) -> None:
        if entry is not None:
            self._show(entry, memory.newest(self._instance, entry.version))
            key, _ = memory.slot(entry.version)
            self.outdated |= entry.version.status != "draft" and not is_loaded(self.context, key)
        elif event.name is not None and event.version_id is not None:
            self.shown += memory.forget(self._instance, event.datastack, event.name, event.version_id)
            self.outdated |= not following.of_table(self.registry, event.datastack, event.name)

    def _show(self, entry: Entry, known: Memory | None, whole: bool = True) -> None:
        self.shown += memory.show(self._instance, entry, known, self.registry.settings.api_address, whole)

    def _compare(self) -> None:
        """The next tables as a whole: heals what was deleted from Dagster, and what was committed late there."""
        tables = following.tables(self.registry, self.cursor.table, TABLES)
        for datastack, name in tables:
            if self._late():
                return
            entries = following.of_table(self.registry, datastack, name)
            key, speaker = dg.AssetKey([datastack, name]), _speaker(entries)
            memories: dict[str, Memory] = {}
            for each in memory.remembered(self._instance, key):
                memories.setdefault(each.id, each)
            for entry in entries:
                self._show(entry, memories.pop(entry.version.id, None), whole=entry is speaker)
            for each in memories.values():
                self.registered += self._rebuild(key, None, each)
            self.cursor.table = (datastack, name)
        if not tables:
            self.cursor.table = None

    # ------------------------------------------------------------------------------------------------- definitions

    def _load(self) -> None:
        """A table that nobody defined appears in the lineage graph when the code location is loaded again."""
        if self.outdated or self.cursor.unloaded:
            problem = reload(self.context, self.registry.settings.dagster_address)
            self.cursor.unloaded = problem is not None
            self.notes.append(problem or "asked the webserver to load the new tables")


def _speaker(entries: Sequence[Entry]) -> Entry | None:
    """The version that says what is new of the table: the newest that Dagster shows."""
    public = [entry for entry in entries if entry.version.status != "draft"]
    return next(reversed(public or entries), None)
