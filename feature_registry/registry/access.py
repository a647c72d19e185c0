"""Access: which files can hold the wanted rows, what they cost, who was granted them, and the links to them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from feature_registry import policy
from feature_registry.catalog import Connection, Database, entries, grants
from feature_registry.errors import Conflict, Denied, Exhausted, NotFound, RegistryError
from feature_registry.location import Location
from feature_registry.model import Cost, Entry, Grant, Inspection, Person, Plan, PlannedFile, PlanRequest, TableVersion
from feature_registry.registry import choosing, licences, links, manifests
from feature_registry.registry.ledger import Ledger
from feature_registry.settings import Settings
from feature_registry.storage import Store

# How long a process trusts what it knows of a grant, before it reads it again.
GRANT_MEMORY_SECONDS = 60
GRANTS_REMEMBERED = 10_000
# All files of a plan in one call: one by one, 10,000 take ten times as long.
_FILES = TypeAdapter(tuple[PlannedFile, ...])


@dataclass(frozen=True, slots=True)
class Listed:
    """What names a manifest: a table that was moved has other files."""

    version_id: str
    location: Location
    inspection: Inspection = field(compare=False)


@dataclass(frozen=True, slots=True)
class Opened:
    """What the link route keeps of a grant."""

    expires_at: float
    location: Location
    paths: pa.Array
    etags: pa.Array
    sizes: np.ndarray
    known_until: float
    terms: Mapping[str, str]


class Access:
    """Plans reads and follows links. One an installation; whoever asks is an argument."""

    def __init__(self, settings: Settings, database: Database, store: Callable[[Location], Store]) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._signer = links.Signer(settings.link_key)
        self._lifetime = timedelta(seconds=settings.signature_seconds)
        self._ledger = Ledger(self._settle)
        self._opened: dict[str, Opened] = {}
        self._opening: dict[str, asyncio.Task[Opened]] = {}
        self._manifest = lru_cache(maxsize=64)(self._read_manifest)
        self._groups = lru_cache(maxsize=64)(self._read_groups)
        self._suffixes = lru_cache(maxsize=64)(self._all_suffixes)

    # ------------------------------------------------------------------------------------------------------- plans

    def plan(self, person: Person, entry: Entry, request: PlanRequest) -> Plan:
        listed = _listed(entry.version)
        manifest = self._manifest(listed)
        reading = choosing.chosen(entry, request, manifest, self._groups(listed))
        kept = manifest.take(pa.array(reading.kept))
        cost = self._cost(reading.files, kept)
        grant = None
        if request.dry_run:
            with self._database.read() as connection:
                left = self._left(connection, person.name)
        else:
            grant, left = self._reserve(person, entry.version, request, cost.bytes, reading.kept.tolist())
        cost = cost.model_copy(update={"budget_left": left})
        urls = self._urls(request, grant, entry, manifest, reading.kept)
        return Plan(
            entry=entry,
            grant=grant,
            files=_files(kept, urls, listed.location.name),
            cost=cost,
            layout=reading.layout,
            why=reading.why,
            columns=request.columns,
            where=request.repeated,
            warnings=entry.warnings,
        )

    def _cost(self, manifest: pa.Table, kept: pa.Table) -> Cost:
        size = pc.sum(kept["size"]).as_py() or 0
        return Cost(
            files=kept.num_rows,
            files_total=manifest.num_rows,
            bytes=size,
            bytes_total=pc.sum(manifest["size"]).as_py() or 0,
            rows=_total(kept["rows"]),
            rows_total=_total(manifest["rows"]),
            price=policy.price(size, self._settings.price_per_gb),
        )

    def _reserve(
        self, person: Person, version: TableVersion, request: PlanRequest, size: int, kept: list[int]
    ) -> tuple[Grant, int | None]:
        """The grant, and the bytes that the budget holds after it. Raises `Exhausted` before anything is given.

        A caller that got no answer asks again with the same id, and gets the grant that it has.
        """
        now = datetime.now(UTC)
        # A direct URL can read its whole file as often as it likes, so the file is charged at once.
        grant = Grant(
            id=request.grant or secrets.token_hex(10),
            person=person.name,
            version_id=version.id,
            table=str(version.ref),
            mode=request.mode,
            files=manifests.ranges(kept),
            reserved=size,
            charged=0 if request.mode == "links" else size,
            created_at=now,
            expires_at=now + timedelta(hours=request.hours),
        )
        with self._database.write("grants") as connection:
            left = self._left(connection, person.name)
            held = grants.get(connection, grant.id) if request.grant else None
            if held is None:
                policy.check_budget(size, left)
                # A clock that was set back and then right again must not take what it gave out of the budget.
                before = grants.newest(connection, person.name) or now
                grant = grant.model_copy(update={"created_at": max(now, before)})
                grants.add(connection, grant)
                return grant, None if left is None else left - size
        if any(getattr(held, name) != getattr(grant, name) for name in ("person", "version_id", "mode", "files")):
            raise Conflict("names another grant", field="grant", value=grant.id, expected="a new one")
        return held, left

    def _left(self, connection: Connection, person: str) -> int | None:
        if self._settings.budget_bytes is None:
            return None
        now = datetime.now(UTC)
        spent = grants.spent(connection, person, now - policy.PERIOD, now)
        return policy.budget_left(self._settings.budget_bytes, spent)

    def _urls(
        self, request: PlanRequest, grant: Grant | None, entry: Entry, manifest: pa.Table, kept: np.ndarray
    ) -> list[str] | None:
        if grant is None:
            return None
        numbers = kept.tolist()
        if request.mode == "links":
            self._remember(grant, entry, manifest)  # its reader comes next
            ends = self._suffixes(_listed(entry.version))
            begin = f"{self._settings.api_address}/v1/links/"
            return [f"{begin}{self._signer.token(grant.id, number)}/{ends[number]}" for number in numbers]
        inspection = entry.version.inspection
        store = self._store(inspection.location)
        files = manifest.select(["path", "etag"]).take(pa.array(kept))
        places = [inspection.location.joined(path) for path in files["path"].to_pylist()]
        etags = files["etag"].to_pylist()
        if request.mode == "direct" and inspection.location.scheme == "file":
            return [_unchanged(store, place, etag) for place, etag in zip(places, etags, strict=True)]
        lifetime = timedelta(hours=request.hours)
        return [store.sign(place, lifetime, None, etag) for place, etag in zip(places, etags, strict=True)]

    # ------------------------------------------------------------------------------------------------------- links

    async def follow(self, token: str, byte_range: str | None) -> str:
        """The URL behind a link, signed for just this range, which is charged before it is given."""
        grant_id, number = self._signer.check(token)
        opened = await self._open(grant_id)
        size = links.asked_bytes(byte_range, int(opened.sizes[number]))
        await self._ledger.charge(grant_id, size)
        place = opened.location.joined(opened.paths[number].as_py())
        return self._store(place).sign(place, self._lifetime, byte_range, opened.etags[number].as_py())

    def terms(self, token: str) -> Mapping[str, str]:
        """The header that says the licence of what a link leads to, once it was followed."""
        opened = self._opened.get(token.partition(".")[0])
        return opened.terms if opened else {}

    async def size(self, token: str) -> int:
        """The bytes of the file behind a link; asking costs nothing."""
        grant_id, number = self._signer.check(token)
        return int((await self._open(grant_id)).sizes[number])

    async def _open(self, grant_id: str) -> Opened:
        opened = self._opened.get(grant_id)
        if opened is None or opened.known_until < time.time():
            # Readers ask for many ranges at once: the first one reads the grant for all.
            reading = self._opening.get(grant_id)
            if reading is None:
                reading = asyncio.create_task(asyncio.to_thread(self._read_grant, grant_id))
                self._opening[grant_id] = reading
                reading.add_done_callback(lambda _: self._opening.pop(grant_id))
            opened = await asyncio.shield(reading)
        if opened.expires_at < time.time():
            raise Denied("has ended; plan the read again", field="grant", value=grant_id)
        return opened

    def _read_grant(self, grant_id: str) -> Opened:
        with self._database.read() as connection:
            grant = grants.get(connection, grant_id)
            entry = None if grant is None else entries.by_id(connection, grant.version_id)
        if grant is None:
            raise NotFound("is no grant", field="grant", value=grant_id)
        if entry is None:
            raise NotFound("is registered no more", field="table", value=grant.table, expected="another version")
        return self._remember(grant, entry, self._manifest(_listed(entry.version)))

    def _remember(self, grant: Grant, entry: Entry, manifest: pa.Table) -> Opened:
        opened = Opened(
            expires_at=grant.expires_at.timestamp(),
            location=entry.version.inspection.location,
            paths=manifest["path"].combine_chunks(),
            etags=manifest["etag"].combine_chunks(),
            sizes=manifest["size"].to_numpy(),
            known_until=time.time() + GRANT_MEMORY_SECONDS,
            terms=licences.links(entry.table.license),
        )
        if len(self._opened) >= GRANTS_REMEMBERED:
            self._opened.clear()
        self._opened[grant.id] = opened
        return opened

    def _settle(self, sizes: Mapping[str, Sequence[int]]) -> Mapping[str, RegistryError]:
        """Charges each grant; one whose reservation is used up asks the budget again."""
        refused: dict[str, RegistryError] = {}
        with self._database.write("grants", lasting=False) as connection:
            for grant_id, asked in sizes.items():
                more = sum(asked)
                if grants.charge(connection, grant_id, more):
                    continue
                try:
                    self._extend(connection, grant_id, more)
                except (Exhausted, NotFound) as wrong:
                    refused[grant_id] = wrong
        return refused

    def _extend(self, connection: Connection, grant_id: str, more: int) -> None:
        grant = grants.get(connection, grant_id)
        if grant is None:
            raise NotFound("is no grant", field="grant", value=grant_id)
        missing = grant.charged + more - grant.reserved
        policy.check_budget(missing, self._left(connection, grant.person))
        grants.extend(connection, grant_id, missing)
        grants.charge(connection, grant_id, more)

    # ---------------------------------------------------------------------------------------------------- manifests

    def forget(self) -> None:
        """What is known of grants: versions went away, or are elsewhere. Other processes know it for a minute more."""
        self._opened.clear()

    def _read_manifest(self, listed: Listed) -> pa.Table:
        with self._database.read() as connection:
            content = entries.manifest(connection, listed.version_id)
        if content is None:
            raise NotFound(
                "has no manifest: its files were not as registered when the catalog was rebuilt",
                field="version_id",
                value=listed.version_id,
                expected="the table registered again, or the rebuild run again",
            )
        return manifests.decode(content)

    def _read_groups(self, listed: Listed) -> pa.Table | None:
        """Those of several layouts; None: there is one only, or they are not known."""
        if not listed.inspection.layouts:
            return None
        with self._database.read() as connection:
            content = entries.manifest(connection, listed.version_id, part="groups")
        return None if content is None else manifests.decode(content)

    def _all_suffixes(self, listed: Listed) -> list[str]:
        manifest, inspection = self._manifest(listed), listed.inspection
        parts = [manifests.of_layout(manifest, inspection, each.name) for each in inspection.layouts]
        return links.suffixes(parts or [(np.arange(manifest.num_rows), manifest)])


def _files(kept: pa.Table, urls: list[str] | None, name: str) -> tuple[PlannedFile, ...]:
    """The files of a plan; `name` names the only file of a table that is one file."""
    paths, sizes, rows, sums = (kept[column].to_pylist() for column in ("path", "size", "rows", "checksum"))
    addresses: Sequence[str | None] = urls or [None] * kept.num_rows
    files = zip(addresses, paths, sizes, rows, sums, strict=True)
    return _FILES.validate_python(
        [
            {"url": url, "path": path or name, "size": size, "rows": count, "checksum": checksum}
            for url, path, size, count, checksum in files
        ]
    )


def _listed(version: TableVersion) -> Listed:
    return Listed(version.id, version.inspection.location, version.inspection)


def _unchanged(store: Store, place: Location, etag: str | None) -> str:
    """The path of a file that is the registered one: nobody looks again when it is read."""
    if etag is not None and store.head(place).etag != etag:
        raise Conflict(
            "is no longer the file that was registered",
            field="file",
            value=str(place),
            expected="the registered one; `check` says what changed",
        )
    return store.uri(place)


def _total(rows: pa.ChunkedArray) -> int | None:
    """The sum, or None where a file's rows are not known."""
    if rows.null_count:
        return None
    total: int | None = pc.sum(rows).as_py()
    return total or 0
