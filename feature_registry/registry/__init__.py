"""The use cases: register, describe, search, publish, deprecate, plan a read, grant.

`Registry` is the only way in: the I/O manager, the HTTP API, the command line and the embedded client call it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from feature_registry import exports, formats, policy
from feature_registry.catalog import Connection, Database, entries, events, grants
from feature_registry.catalog.backup import backup, restore
from feature_registry.catalog.contents import contents
from feature_registry.catalog.past import Past
from feature_registry.errors import Invalid, NotFound
from feature_registry.location import Location
from feature_registry.model import (
    Changes,
    CheckResult,
    Contents,
    Datastack,
    Dependents,
    Difference,
    Direction,
    Entry,
    Event,
    Exported,
    Facets,
    Found,
    Grant,
    Leftover,
    Lineage,
    MaterializationVersion,
    Person,
    Plan,
    PlanRequest,
    Registration,
    Report,
    RuleReport,
    Search,
    Stale,
    Suggestions,
    TableRef,
    TableVersion,
    Violation,
)
from feature_registry.registry import (
    citing,
    dependents,
    differences,
    drift,
    finding,
    following,
    leftovers,
    lineage,
    linting,
    moving,
    publishing,
    rebuilding,
    rules,
    searching,
    suggesting,
    tags,
    validation,
)
from feature_registry.registry import registration as registering
from feature_registry.registry.access import Access
from feature_registry.settings import Settings
from feature_registry.storage import Store, open_store

if TYPE_CHECKING:
    import polars as pl


class Registry:
    """A catalog, and the storages whose tables it knows, in the hands of one person.

    `prefixes` limits where tables may be registered; None: wherever this process can read.
    """

    def __init__(self, settings: Settings | None = None, person: Person | None = None) -> None:
        self.settings = settings or Settings()
        self.person = person or Person(name=self.settings.person, groups=self.settings.person_teams)
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # by which retention ends
        self.prefixes: tuple[Location, ...] | None = None
        self.database = Database(self.settings.database_url)
        self.past = Past(self.database)
        self.access = Access(self.settings, self.database, self.store)
        self._stores: dict[str, Store] = {}

    def acting(self, person: Person, prefixes: tuple[Location, ...] | None = None) -> Registry:
        """The same registry in somebody else's hands."""
        other = copy.copy(self)
        other.person, other.prefixes = person, prefixes
        return other

    def close(self) -> None:
        self.database.close()

    # ------------------------------------------------------------------------------------------------- register

    def register(self, registration: Registration, by_pipeline: bool = False) -> Report:
        """What comes from outside is checked whole, and refused if a check fails that the datastack's policies enforce:
        with one error for all of them. What the pipeline wrote is a draft then.
        """
        return registering.register(self, registration, by_pipeline)

    def preview(self, registration: Registration) -> Report:
        """The report of a registration from outside, also where it would be refused; registers nothing."""
        return registering.preview(self, registration)

    def suggest(self, registration: Registration) -> Suggestions:
        """What one may say of a table that is to be registered, from its names, types and values."""
        return suggesting.suggest(self, registration)

    def lint(self, datastack: str | None = None) -> tuple[Violation, ...]:
        """What of that which is published violates the present policies; it stays readable."""
        return linting.lint(self, datastack)

    def check_rules(self, datastack: str | None = None, **chosen: Any) -> tuple[RuleReport, ...]:
        """What violates the rules of the policies; `chosen` may be `names` of rules and `mat_versions`."""
        return rules.check(self, datastack, **chosen)

    def rules(self, datastack: str | None = None) -> tuple[RuleReport, ...]:
        return rules.last(self, datastack)

    def complete(self, version_id: str) -> Entry:
        """Asks again for what nobody could tell when the version was registered."""
        return validation.complete(self, version_id)

    def record_checks(self, version_id: str, checks: Sequence[CheckResult], publish: bool = True) -> Entry:
        return publishing.record_checks(self, version_id, tuple(checks), publish)

    def publish(self, table: str) -> Entry:
        """Raises `Invalid` that names all fields that are missing, or the blocking checks that failed; `Conflict` for
        what is deprecated.
        """
        return publishing.publish(self, table)

    def deprecate(self, table: str, reason: str = "", superseded_by: str | None = None) -> Entry:
        """It stays readable, with a warning. The answer's warnings name all that depends on it."""
        return publishing.deprecate(self, table, reason, superseded_by)

    def edit(self, table: str, changes: dict[str, Any], based_on: str | None = None) -> Entry:
        """Changes metadata of the table, whatever its versions. `based_on` is the etag of what the editor saw: raises
        `Conflict`, which says what is different, if that was changed since.
        """
        return publishing.edit(self, table, changes, based_on)

    def transfer(self, table: str, team: str | None = None, person: str | None = None) -> Entry:
        """Gives the table to another owner, which its history tells."""
        return publishing.transfer(self, table, team, person)

    def dependents(self, table: str) -> Dependents:
        """All that depends on a table version, to be seen before it is deprecated or unregistered."""
        return dependents.dependents(self, self.describe(table))

    def unregister(self, table: str, force: bool = False) -> Entry:
        """Forgets a table version and answers what it was; its data stay, and so do the table's metadata and history.

        Raises `Conflict` if others were derived from it, unless forced.
        """
        return moving.unregister(self, table, force)

    def unregister_run(self, run_id: str) -> tuple[Entry, ...]:
        """Forgets all table versions that a run made, or none: raises `Conflict` if others were derived from one."""
        return moving.unregister_run(self, run_id)

    def relocate(self, old: Location, new: Location, dry_run: bool = False) -> tuple[Entry, ...]:
        """Follows data that were copied: all versions at or below the old location are at the new one from now on.

        Answers them as they are then. Raises `Conflict`, and changes nothing, if one of them is not the same there.
        """
        return moving.relocate(self, old, new, dry_run)

    def record_datastack(self, datastack: Datastack) -> None:
        with self.database.write() as connection:
            if datastack not in entries.all_datastacks(connection):
                events.record_all(connection, registering.frame_events(self.person.name, [datastack], []))

    def record_versions(self, versions: Iterable[MaterializationVersion]) -> tuple[MaterializationVersion, ...]:
        """Records materialization versions; answers those that are new or changed."""
        with self.database.write() as connection:
            news = tuple(
                each
                for each in dict.fromkeys(versions)
                if each != entries.materialization(connection, each.datastack, each.mat_version)
            )
            events.record_all(connection, registering.frame_events(self.person.name, [], news))
        return news

    def contents(self, drafts: bool = False) -> Contents:
        """All that the catalog holds, older revisions and deprecated ones too; drafts where asked for."""
        with self.database.read(snapshot=True) as connection:
            return contents(connection, drafts)

    def rebuild(self, contents: Contents) -> tuple[Entry, ...]:
        """Adds the table versions that the catalog lacks, as they were, and answers those."""
        return rebuilding.rebuild(self, contents)

    def leftovers(self, older_than: timedelta = timedelta(hours=24)) -> tuple[Leftover, ...]:
        """What no entry needs below the managed root, and nobody wrote to for so long."""
        return leftovers.leftovers(self, older_than)

    def collect(self, listed: Iterable[Leftover]) -> tuple[Leftover, ...]:
        """Deletes those of the listed leftovers that still are as they were listed, and answers them."""
        return leftovers.collect(self, listed)

    def check(self, table: str) -> Entry:
        """Looks again at what is registered, and records whether it is there and as it was; answers the entry, which
        says so.
        """
        return drift.check(self, self.describe(table))

    def check_all(self, datastack: str | None = None, limit: int | None = None) -> Iterator[Entry]:
        """Checks every version that is no draft, the longest unchecked first, and answers each when it is done."""
        return drift.check_all(self, datastack, limit)

    def backup(self, file: Path) -> dict[str, int]:
        """Writes the whole catalog into a new SQLite file, and answers its rows a table."""
        return backup(self.database, file)

    def restore(self, file: Path) -> dict[str, int]:
        """Fills this catalog, which must be empty, with all that a backup holds."""
        return restore(self.database, file)

    # ----------------------------------------------------------------------------------------------------- find

    def describe(self, table: str, as_of: datetime | None = None, nearest: bool = False) -> Entry:
        """The entry of a reference or of a version's UUID, as it was at an instant; with `nearest`, of the newest older
        version where this one is not there, and a warning that says so. Raises `NotFound`, and says what exists.
        """
        return finding.describe(self, table, as_of, nearest)

    def reference(self, table: str) -> TableRef:
        """What is written as a reference, or as the UUID of a version that the person may see."""
        return finding.reference(self, table)

    def search(self, wanted: Search) -> Found:
        return searching.search(self, wanted)

    def facets(self, wanted: Search, most: int = 20) -> Facets:
        """How many of the tables that a search finds have which values, at most so many of each facet."""
        return searching.facets(self, wanted, most)

    def rename_tag(self, old: str, new: str, datastack: str | None = None) -> tuple[str, ...]:
        """Renames a tag of all tables, or of one datastack's, at once; answers those, as datastack/name."""
        return tags.rename(self, old, new, datastack)

    def history(self, table: str, as_of: datetime | None = None) -> tuple[Event, ...]:
        """All events of a table up to an instant, oldest first, even when no version of it is left."""
        return finding.history(self, table, as_of)

    def lineage(
        self,
        table: str,
        as_of: datetime | None = None,
        direction: Direction = "both",
        depth: int | None = None,
        *,
        columns: bool = False,
        column: str | None = None,
    ) -> Lineage:
        """What the table version was derived from, and what was derived from it, nearest first, up to `depth`
        generations; with `columns`, also which columns come from which. Of one `column`, its own lineage.
        """
        if column is not None:
            return lineage.of_column(self, table, column, as_of, direction, depth)
        return lineage.walked(self, table, as_of, direction, depth, columns)

    def stale(self, datastack: str | None = None) -> tuple[Stale, ...]:
        """The table versions that should be made again, and why: what they were derived from, directly or not, has a
        newer revision, was deprecated, superseded or unregistered, or is not what it was.
        """
        return lineage.stale(self, datastack)

    def difference(self, old: str, new: str) -> Difference:
        return differences.difference(self, old, new)

    def resolve(self, table: str, as_of: datetime | None = None, nearest: bool = False) -> Entry:
        """Follows what supersedes what to the newest, at the same materialization version, or else says so."""
        return finding.resolve(self, table, as_of, nearest)

    def datastacks(self) -> tuple[Datastack, ...]:
        with self.database.read() as connection:
            return entries.all_datastacks(connection)

    def mat_versions(self, datastack: str) -> tuple[MaterializationVersion, ...]:
        return finding.mat_versions(self, datastack)

    def cite(self, tables: Sequence[str], style: str = "bibtex", lineage: bool = True) -> str:
        """How to cite tables, as `bibtex` or `csl_json`: each work once, and which tables it covers; with `lineage`,
        also what they were computed from. A table without a citation is cited itself.
        """
        return citing.cite(self, tables, style, lineage)

    def export(self, name: str, public: bool = False) -> Exported:
        """The catalog, without drafts, in the form of `exports/NAME.py`; for the public, without what may not be
        handed on.
        """
        export, held = exports.get(name), self.contents()
        given = held.public if public else held
        return Exported(export(given), len(held.entries) - len(given.entries))

    def changes(
        self, after: int = 0, limit: int = 1000, datastack: str | None = None, kind: str | None = None, wait: float = 0
    ) -> Changes:
        """What changed after a number, in the order of the commits: who goes on after `next` misses none and gets none
        twice. Where there is nothing yet, it may `wait` so many seconds.

        Raises `Conflict` for a number beyond the newest: the catalog is another one, to be followed from 0.
        """
        return following.feed(self, after, limit, datastack, kind, wait)

    def newest_event(self) -> int:
        """The number of the catalog's newest change."""
        with self.database.read() as connection:
            return events.newest(connection)

    # ---------------------------------------------------------------------------------------------------- access

    def plan(self, request: PlanRequest) -> Plan:
        """Raises `Denied` for somebody else's draft, `Invalid` for a wrong predicate, `Exhausted` over budget."""
        if request.mode == "direct" and self.prefixes is not None:
            raise Invalid("is for an embedded registry", field="mode", value="direct", expected="links or urls")
        entry = self.describe(request.table, nearest=request.nearest)
        policy.check_readable(self.person, entry.version)
        return self.access.plan(self.person, entry, request)

    def grant(self, id: str) -> Grant:
        with self.database.read() as connection:
            found = grants.get(connection, id)
        if found is None or not (self.person.admin or found.person == self.person.name):
            raise NotFound("is no grant of yours", field="grant", value=id)
        return found

    # ----------------------------------------------------------------------------------- for code in this process

    def find(
        self, datastack: str, name: str, mat_version: int | None, run_id: str | None = None
    ) -> TableVersion | None:
        """The revision that a step reads: the one made by this run, else what everybody gets."""
        at: Any = "unversioned" if mat_version is None else mat_version
        ref = TableRef(datastack=datastack, name=name, mat_version=at)
        with self.database.read() as connection:
            entry = entries.made_by(connection, ref, run_id) if run_id else None
            if entry is None:
                entry = entries.find(connection, ref, self.person.name)
                entry = None if entry is None or entry.version.status == "draft" else entry
        return None if entry is None else entry.version

    def version(self, version_id: str) -> TableVersion:
        with self.database.read() as connection:
            return self.entry(connection, version_id).version

    def scan(self, version: TableVersion, layout: str | None = None) -> pl.LazyFrame:
        """The table, straight from the storage, for code that may read it anyway; of several layouts, the first."""
        inspection = version.inspection
        if layout is not None or inspection.layouts:
            inspection = inspection.of_layout(layout or inspection.layouts[0].name)
        frame = formats.get(inspection.format).scan(self.store(inspection.location), inspection)
        return frame.select([field.name for field in inspection.fields])

    def store(self, location: Location) -> Store:
        if location.scheme not in self._stores:
            self._stores[location.scheme] = open_store(location, self.settings)
        return self._stores[location.scheme]

    def home(self, datastack: str, name: str, mat_version: int | None, run_id: str) -> Location:
        """The folder of a table version that the pipeline writes."""
        at = "unversioned" if mat_version is None else str(mat_version)
        return self.settings.managed_root.joined(f"{datastack}/{name}/{at}/{run_id}")

    # ------------------------------------------------------------------------------------------------- the rooms' own

    def entry(self, connection: Connection, version_id: str) -> Entry:
        found = entries.by_id(connection, version_id)
        if found is None:
            raise NotFound("is no table version", field="version_id", value=version_id)
        return found

    def not_found(self, connection: Connection, ref: TableRef, as_of: datetime | None = None) -> NotFound:
        """The error that says what exists, or existed: a past state knows its table only, so its names are asked of
        the record.
        """
        with self.database.read() as record:
            known = events.names(record, as_of)
            if ref.datastack not in known:
                return NotFound("is no datastack here", field="datastack", value=ref.datastack, expected=known)
            seen = entries.versions_of(connection, ref, self.person.name)
            if not seen:
                tables = events.names(record, as_of, ref.datastack, self.person)
                return NotFound("is no table of this datastack", field="table", value=ref.name, expected=tables)
        spelled = ["unversioned" if each is None else each for each in seen]
        return NotFound(f"{ref.datastack}/{ref.name} has none", field="mat_version", value=str(ref), expected=spelled)
