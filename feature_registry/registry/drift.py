"""Drift: what is registered is looked at again, and what is no longer as it was is said on its entry, which stays.

Four results, by name: `exists` (its files are there), `content` (they hold the same bytes), `schema_drift` and `rows`
(what the format's newest snapshot holds). What a table's mutability allows passes with a note. None of them takes a
published version from its readers; whoever reads it is warned.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from feature_registry import formats
from feature_registry.catalog import entries, events, unchecked
from feature_registry.errors import Denied, NotFound, RegistryError, Unavailable
from feature_registry.location import Location
from feature_registry.model import EXPIRED, CheckResult, Entry, Inspection, Layout
from feature_registry.registry import layouts, manifests, rebuilding, validation
from feature_registry.registry import registration as registering
from feature_registry.registry.validation import arrow_type, mat_versions
from feature_registry.storage import Store

if TYPE_CHECKING:
    from feature_registry.registry import Registry

EXAMPLES = 3
log = logging.getLogger(__name__)
Files = Mapping[str, tuple[int, str | None]]  # size and etag, by the path below the table's location


def check(registry: Registry, entry: Entry) -> Entry:
    """Looks, which may take long, then records what was found."""
    at = registry.clock()
    entry = validation.complete(registry, entry.version.id)
    found = [result.model_copy(update={"at": at}) for result in (*_results(registry, entry), *_expiry(registry, entry))]
    before = {each.name: each.outcome for each in entry.version.checks}
    for each in found:
        if each.outcome == "failed" and before.get(each.name) != "failed":
            log.error("%s: %s: %s", entry.ref, each.name, each.message)
    with registry.database.write() as connection:
        entry = registry.entry(connection, entry.version.id)  # unless it was unregistered meanwhile
        about = events.about(entry.version, registry.person.name)
        details = {"checks": [each.model_dump(mode="json", exclude_defaults=True) for each in found]}
        events.record(connection, "checked", **about, details=details)
    return registry.describe(str(entry.ref))


def check_all(
    registry: Registry, datastack: str | None = None, limit: int | None = None, name: str | None = None
) -> Iterator[Entry]:
    """Everything that readers may get, older revisions too; what was looked at longest ago comes first."""
    with registry.database.read(snapshot=True) as connection:
        wanted = unchecked.longest(connection, limit, datastack, name)
    for version_id, *_ in wanted:
        try:
            with registry.database.read() as connection:
                entry = registry.entry(connection, version_id)
            yield check(registry, entry)
        except NotFound as gone:
            if gone.field != "version_id":  # unregistered meanwhile
                raise


def longest_unchecked(registry: Registry, limit: int) -> list[tuple[str, str]]:
    """(datastack, name) of the versions that were looked at longest ago."""
    with registry.database.read(snapshot=True) as connection:
        wanted = unchecked.longest(connection, limit)
    return list(dict.fromkeys((datastack, name) for _, datastack, name in wanted))


def warned(entry: Entry) -> Entry:
    """The entry, which tells its reader what drifted."""
    said = (f"{entry.ref}: {each.name}: {each.message}" for each in entry.version.drift)
    return entry.model_copy(update={"warnings": (*entry.warnings, *said)})


def _results(registry: Registry, entry: Entry) -> Iterator[CheckResult]:
    inspection = entry.version.inspection
    store = registry.store(inspection.location)
    try:
        files = store.marks(inspection.location)
    except NotFound:  # its bucket, too
        files = {}
    except (Unavailable, Denied) as wrong:
        yield CheckResult(name="exists", outcome="skipped", message=f"the storage gave no answer: {wrong}")
        return
    manifest = _manifest(registry, entry) if files else None
    look = _Look(entry, store, files, manifest)
    yield look.exists()
    if files:
        yield look.content()
        same = not (look.differs or _snapshots(inspection) != {None})
        yield from look.newest(inspection if same else _newest(store, inspection))


def _expiry(registry: Registry, entry: Entry) -> Iterator[CheckResult]:
    """Its materialization version may have expired since."""
    subject = validation.Subject.of(registry, entry.table, entry.version)
    heard = subject.announced().version
    if heard is None:
        return
    found = mat_versions.mat_version(subject)
    if heard.status == "expired" or (heard.expires_on and heard.expires_on <= registry.clock()):
        details = found.details | {EXPIRED: True}
        found = CheckResult(
            name=found.name, outcome="warned", message=f"{heard.mat_version} has expired", details=details
        )
    policies = registry.settings.policies_of(entry.table.datastack)
    yield validation.judged(found, validation.action(found.name, policies))


def _manifest(registry: Registry, entry: Entry) -> pa.Table | None:
    """As registered; for a version that was rebuilt without its files, from the files if they are the registered ones
    again.
    """
    with registry.database.read() as connection:
        content = entries.manifest(connection, entry.version.id)
    if content is None:
        files, _ = rebuilding.look(registry, entry.version)
        if not files:
            return None
        with registry.database.write() as connection:
            registering.supply_manifest(registry, connection, entry.version, files)
        content = files["files"]
    return manifests.decode(content)


def _newest(store: Store, inspection: Inspection) -> Inspection | str:
    """What the format sees there now, or why it sees no table."""
    form = formats.get(inspection.format)

    def look(place: Location, _: Layout | None = None) -> formats.Inspected:
        return form.inspect(store, place)

    try:
        if inspection.layouts:
            seen = layouts.inspect(store, inspection.location, inspection.layouts, inspection.logical_types, look)
        else:
            seen = look(inspection.location)
    except Exception as wrong:  # whatever is wrong with one table must not keep the others from being looked at
        if isinstance(wrong, Unavailable):
            return ""
        return f"cannot be read any more: {wrong if isinstance(wrong, RegistryError) else type(wrong).__name__}"
    return seen.inspection


@dataclass
class _Look:
    """What is compared: the entry as registered, and the files that are there now."""

    entry: Entry
    store: Store
    files: Files
    manifest: pa.Table | None
    touched: int = 0  # files with the same bytes, of which the store says that they are others
    differs: bool = False  # whether the files are not just those that are registered, as they were

    @property
    def _mutability(self) -> str:
        return self.entry.table.mutability

    def exists(self) -> CheckResult:
        registered = self.manifest["path"].to_pylist() if self.manifest is not None else list(self.files)
        gone = [path for path in registered if path not in self.files]
        self.differs = self.manifest is None or bool(gone) or len(self.files) != len(registered)
        if not gone and self.files:
            return CheckResult(name="exists", outcome="passed", message=f"{len(registered):,} files")
        if not self.files:
            message = f"nothing is left at {self.entry.version.inspection.location}"
        else:
            message = f"{len(gone):,} of {len(registered):,} files are gone: {_some(gone)}"
        # A draft that is gone is not to be published; what is published stays so.
        blocking = self.entry.version.status == "draft"
        outcome: Any = "warned" if self._mutability == "mutable" and self.files else "failed"
        return CheckResult(name="exists", outcome=outcome, blocking=blocking, message=message)

    def content(self) -> CheckResult:
        """By each file's checksum if it has one, else by what the store says of it."""
        if self.manifest is None:
            message = "the files are not those that were registered; register it again"
            return self._judged("content", message)
        rows = self.manifest.select(["path", "size", "etag", "checksum"]).to_pylist()
        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(self._same, [row for row in rows if row["path"] in self.files]))
        kinds = " and ".join(sorted({by for _, by, _ in told}))
        only = self.entry.version.inspection.location.name  # the name of a table that is one file
        changed = [path or only for path, _, same in told if not same]
        self.differs |= bool(changed or self.touched)
        if changed:
            message = f"{len(changed):,} of {len(rows):,} files changed, by {kinds}: {_some(changed)}"
            return self._judged("content", message, by=kinds)
        if self.touched:
            message = f"the same bytes by {kinds}, but {self.touched:,} files were written anew, and links refuse them"
            return CheckResult(name="content", outcome="warned", message=message, details={"by": kinds})
        message = f"as registered, by {kinds}" if told else "no registered file is left to compare"
        return CheckResult(name="content", outcome="passed" if told else "skipped", message=message)

    def _same(self, row: dict[str, Any]) -> tuple[str, str, bool]:
        """(path, by what it was told, whether it is the registered one)."""
        path, (size, etag) = row["path"], self.files[row["path"]]
        other = row["etag"] != etag if row["etag"] and etag else None
        if size != row["size"]:
            return path, "size", False
        place = self.entry.version.inspection.location
        if row["checksum"] and (now := self.store.checksum(place.joined(path) if path else place)):
            same = now == row["checksum"]
            self.touched += same and bool(other)
            return path, "checksum", same
        return (path, "size", True) if other is None else (path, "etag", not other)

    def newest(self, seen: Inspection | str) -> Iterator[CheckResult]:
        if isinstance(seen, str):
            yield self._judged("schema_drift", seen) if seen else CheckResult(name="schema_drift", outcome="skipped")
            return
        said = self.entry.version.inspection
        moved = _snapshots(seen) != _snapshots(said)
        where = f"its newest snapshot {seen.snapshot}: " if moved and seen.snapshot is not None else ""
        faults = list(_differing(_types(said), _types(seen)))
        if faults:
            yield self._judged("schema_drift", where + "; ".join(faults), moved)
        else:
            message = f"{len(seen.fields)} columns as registered"
            yield CheckResult(name="schema_drift", outcome="passed", message=message)
        if said.rows is None or seen.rows is None:
            yield CheckResult(name="rows", outcome="skipped", message="not all files say how many they hold")
        elif said.rows == seen.rows:
            yield CheckResult(name="rows", outcome="passed", message=f"{seen.rows:,} as registered")
        else:
            grown = seen.rows > said.rows and self._mutability == "append"
            message = f"{where}{seen.rows:,} rows, {said.rows:,} were registered"
            yield self._judged("rows", message, moved, allowed=grown)

    def _judged(
        self, name: str, message: str, moved: bool = False, allowed: bool = False, **details: str
    ) -> CheckResult:
        """A difference. What a later snapshot holds does not touch the registered one, so it only warns."""
        if allowed or self._mutability == "mutable":
            return CheckResult(name=name, outcome="passed", message=f"{message}, which it may", details=details)
        outcome: Any = "warned" if moved else "failed"
        return CheckResult(name=name, outcome=outcome, message=message, details=details)


def _snapshots(seen: Inspection) -> set[str | None]:
    return {each.snapshot for each in seen.layouts or (seen,)}


def _types(seen: Inspection) -> dict[str, str]:
    return {each.name: arrow_type(each.type) for each in seen.fields}


def _differing(said: Mapping[str, str], seen: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{name} is not stored any more" for name in said if name not in seen)
    yield from (f"{name} is new" for name in seen if name not in said)
    yield from (
        f"{name} is {seen[name]}, was {said[name]}" for name in said if seen.get(name, said[name]) != said[name]
    )


def _some(paths: Sequence[str]) -> str:
    return ", ".join(paths[:EXAMPLES]) + (" ..." if len(paths) > EXAMPLES else "")
