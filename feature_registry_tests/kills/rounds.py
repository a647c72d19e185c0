"""Rounds: the work is killed at a random moment, what others then see is checked, and the work is done again."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import dagster as dg
import polars as pl
import sqlalchemy as sa

from feature_registry.catalog.schema import events, manifests, versions
from feature_registry.errors import NotFound
from feature_registry.location import Location
from feature_registry.model import Entry, Person, PlanRequest, Search
from feature_registry.registry import Registry
from feature_registry_tests.kills.writing import DATASTACK, OUTSIDE, PHASES, Job, described, frame, prepare, work

# The fork is safe only while nothing has started Polars' or pyarrow's threads: modules are loaded, and nothing is run.
# What the libraries would load only when they run takes a second of each process.
PRELOADED = [
    "feature_registry_tests.kills.writing",
    "feature_registry.storage.file",
    "alembic.command",
    "alembic.config",
    "dagster._core.execution.execute_in_process",
    "dagster._core.executor.in_process",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.sqlite_storage",
    "dagster._daemon.controller",
    "dagster._grpc.impl",
    "pandas",
    "pyarrow.pandas_compat",
    "pytest",  # each process loads the main module again, which may be pytest's
    "tqdm",
    "upath.implementations.local",
    "watchdog.observers",
]
FINISHED_WITHIN = 120  # seconds
OPEN_SHARE = 0.05  # of the rounds only open a new catalog
Segment = tuple[int, str, float]  # which mark it begins with, its phase, seconds

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(PRELOADED)


@dataclass
class Told:
    """What a process said until it ended."""

    phases: list[tuple[float, str]] = field(default_factory=list)
    returned: dict[str, str] = field(default_factory=dict)  # call -> version id
    failure: str = ""

    def segments(self) -> list[Segment]:
        ends = [begin for begin, _ in self.phases[1:]] + [time.monotonic()]
        return [
            (number, phase, end - begin)
            for number, ((begin, phase), end) in enumerate(zip(self.phases, ends, strict=True))
        ]


@dataclass
class Outcome:
    """The sums of all rounds; each fault is a sentence."""

    rounds: int = 0
    fell: Counter[str] = field(default_factory=Counter)
    half_visible: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    reruns_failed: list[str] = field(default_factory=list)
    misjudged: list[str] = field(default_factory=list)  # by gc
    collected: int = 0


def run(job: Job, kill_at: Segment | None = None, share: float = 0.0) -> Told:
    """Runs the job in a process; kills it `share` of the way through a segment, if one is given."""
    prepare(job)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()
    told = Told()
    until = time.monotonic() + FINISHED_WITHIN
    for _ in _messages(ours, told, until):
        if kill_at is not None and len(told.phases) > kill_at[0]:
            time.sleep(kill_at[2] * share)
            process.kill()
            break
    for _ in _messages(ours, told, until):
        pass
    process.join(FINISHED_WITHIN)
    if process.exitcode is None:
        process.kill()
        told.failure = "it hangs"
    return told


def _messages(pipe: Connection, told: Told, until: float) -> Iterator[None]:
    while pipe.poll(max(0.0, until - time.monotonic())):
        try:
            kind, *said = pipe.recv()
        except EOFError:
            return
        if kind == "phase":
            told.phases.append((time.monotonic(), said[0]))
        elif kind == "returned":
            told.returned[said[0]] = said[1]
        else:
            told.failure = said[0]
        yield


class World:
    """One catalog, and what must be in it."""

    def __init__(self, home: Path, database: str | None) -> None:
        self.home, self.database = home, database
        self.readable: dict[tuple[str, int], int | None] = {}  # kind, mat_version -> the job whose rows readers get
        self.made: dict[str, int] = {}  # version id -> the job that registered it

    def job(self, kind: str, number: int, mat_version: int) -> Job:
        home = self.home / f"opened-{number}" if kind == "open" else self.home
        return Job(kind, number, mat_version, home, None if kind == "open" else self.database)

    def settle(self, job: Job) -> None:
        """PostgreSQL notices the death of a client by itself, a moment later."""
        if job.database is None:
            return
        engine = sa.create_engine(job.database, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        others = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend'"
        )
        until = time.monotonic() + FINISHED_WITHIN
        while True:
            with engine.connect() as connection:
                if connection.execute(others).scalar() == 0:
                    return
            if time.monotonic() > until:
                raise RuntimeError("PostgreSQL does not let go of a dead client")
            time.sleep(0.005)

    def round(self, job: Job, kill_at: Segment, share: float, outcome: Outcome) -> None:
        told = run(job, kill_at, share)
        where = f"{job.table} number {job.number}, killed in {told.phases[-1][1] if told.phases else 'start'}"
        outcome.rounds += 1
        outcome.fell[told.phases[-1][1] if told.phases else "start"] += 1
        self.settle(job)
        if job.kind != "open":
            self._check(job, told, outcome, where)
        again = run(job)
        if again.failure or "all" not in again.returned:
            outcome.reruns_failed.append(f"{where}: {again.failure or 'it ended early'}")
            return
        self.settle(job)
        if job.kind != "open":
            self._check(job, again, outcome, f"{where}, then done again")

    def first(self, job: Job) -> list[Segment]:
        """Does the job undisturbed, as a rule for where to kill others of its kind."""
        told = run(job)
        if told.failure:
            raise RuntimeError(told.failure)
        self.settle(job)
        outcome = Outcome()
        if job.kind != "open":
            self._check(job, told, outcome, f"{job.table}, not killed")
        if outcome.half_visible or outcome.lost:
            raise RuntimeError(f"wrong before anything was killed: {outcome}")
        return told.segments()

    def collect(self, outcome: Outcome) -> None:
        """What `gc` deletes is what was left over; all that anybody reads stays."""
        jobs = [self.job(kind, 0, mat_version) for kind, mat_version in self.readable]
        with opened(jobs[0]) as registry:
            drafts = {id for id in self.made if registry.version(id).status == "draft"}
            outcome.collected += sum(each.files for each in registry.collect(registry.leftovers(timedelta(0))))
            outcome.misjudged += [f"{file} was not collected" for file in sorted(left_over(registry))]
            gone = drafts - registry_ids(registry)
        self.made = {id: number for id, number in self.made.items() if id not in gone}
        for job in jobs:
            self._check(job, Told(), outcome, f"{job.table}, after collecting")

    def _check(self, job: Job, told: Told, outcome: Outcome, where: str) -> None:
        with opened(job) as registry:
            sight = Sight(registry, job, self)
            outcome.lost += [f"{where}: {fault}" for fault in sight.lost(told)]
            outcome.half_visible += [f"{where}: {fault}" for fault in sight.half_visible(told)]
            self.readable[job.kind, job.mat_version] = sight.current
            outcome.misjudged += [f"{where}: {fault}" for fault in misjudged(registry)]


@contextmanager
def opened(job: Job) -> Iterator[Registry]:
    """A registry that shares nothing with those before."""
    registry = Registry(job.settings)
    try:
        yield registry
    finally:
        registry.close()


class Sight:
    """What another person and the writer see of the job's table, compared with what was there before."""

    def __init__(self, registry: Registry, job: Job, world: World) -> None:
        self.registry, self.job, self.world = registry, job, world
        self.other = registry.acting(Person(name="another"))
        self.before = world.readable.get((job.kind, job.mat_version))
        self.entry = _described(self.other, job.table)
        self.current = None if self.entry is None else self._number(self.entry)

    def lost(self, told: Told) -> Iterator[str]:
        """Calls that had returned, and are not in the catalog."""
        for call, version_id in told.returned.items():
            if call == "all":
                continue
            try:
                version = self.registry.version(version_id)
            except NotFound:
                yield f"{call} returned, and {version_id} is gone"
                continue
            if call == "record_checks" and not {"key", "mine"} & {check.name for check in version.checks}:
                yield f"{call} returned, and the checks are gone"
            published = "publish" if self.job.kind == OUTSIDE else "record_checks"
            if call == published and version.status != "published":
                yield f"{call} returned, and {version.ref} is {version.status}"
            if call == "deprecate" and version.status != "deprecated":
                yield f"{call} returned, and {version.ref} is {version.status}"
            if call == "edit" and self._said() != described(self.job):
                yield f"{call} returned, and the description is {self._said()!r}"
        for version_id, number in self.world.made.items():
            if not holds(self._read(version_id), number):
                yield f"{version_id} no longer holds the rows of {number}"

    def half_visible(self, told: Told) -> Iterator[str]:
        """Anything that is neither the whole old nor the whole new state."""
        if self.current not in (self.before, self.job.number):
            yield f"readers get {self.current}, neither {self.before} nor {self.job.number}"
        if "all" in told.returned and self.current != self.job.number:
            yield f"all is done, and readers get {self.current}"
        yield from self._agreement()
        yield from self._rows_of_the_catalog()
        yield from self._dagsters()
        for version_id in registry_ids(self.registry):
            if version_id not in self.world.made:
                if not holds(self._read(version_id), self.job.number):
                    yield f"{version_id} is registered and does not hold the rows of {self.job.number}"
                self.world.made[version_id] = self.job.number

    def _agreement(self) -> Iterator[str]:
        """Describing, searching and planning tell another person the same, and nothing of drafts."""
        wanted = Search(datastack=DATASTACK, name=self.job.kind, mat_version=self.job.mat_version)
        found = [entry.version.id for entry in self.other.search(wanted).entries]
        if found != ([] if self.entry is None else [self.entry.version.id]):
            yield f"a search finds {found}"
        if self.other.search(wanted.model_copy(update={"status": "draft"})).entries:
            yield "another person finds a draft"
        if self.entry is not None:
            if self.entry.version.status == "draft":
                yield "another person gets a draft"
            plan = self.other.plan(PlanRequest(table=self.job.table, mode="direct"))
            if not holds(pl.read_parquet([str(file.url) for file in plan.files]), self.current):
                yield f"the plan's files do not hold the rows of {self.current}"

    def _rows_of_the_catalog(self) -> Iterator[str]:
        """One registered event and one manifest a version."""
        ids = registry_ids(self.registry)
        with self.registry.database.read() as connection:
            rows = connection.execute(sa.select(events.c.kind, events.c.version_id)).all()
            manifested = set(connection.execute(sa.select(manifests.c.version_id)).scalars())
        made = [row.version_id for row in rows if row.kind == "registered"]
        ended = {row.version_id for row in rows if row.kind == "unregistered"}
        if len(made) != len(set(made)) or set(made) - ended != ids or not ids <= manifested <= set(made):
            yield f"{len(made)} registrations, {len(manifested)} manifests, {len(ids)} versions"

    def _dagsters(self) -> Iterator[str]:
        """Dagster's instance opens, and claims no materialization that was not registered."""
        if self.job.kind == OUTSIDE:
            return
        with self.registry.database.read() as connection:
            ever = sa.select(events.c.version_id).where(events.c.kind == "registered")
            known = set(connection.execute(ever).scalars())
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey([DATASTACK, self.job.kind]), asset_partitions=[str(self.job.mat_version)]
        )
        with dg.DagsterInstance.from_config(str(self.job.dagster)) as instance:
            for record in instance.fetch_materializations(wanted, limit=5).records:
                assert record.asset_materialization is not None
                claimed = record.asset_materialization.metadata["feature_registry/id"].value
                if claimed not in known:
                    yield f"Dagster claims {claimed}"

    def _said(self) -> str | None:
        return None if self.entry is None else self.entry.table.description

    def _read(self, version_id: str) -> pl.DataFrame:
        return self.registry.scan(self.registry.version(version_id)).collect()

    def _number(self, entry: Entry) -> int | None:
        """The job whose rows a reader gets; -1: of no one job."""
        rows = self.other.scan(entry.version).collect()
        numbers = (self.before, self.job.number)
        return next((number for number in numbers if number is not None and holds(rows, number)), -1)


def registry_ids(registry: Registry) -> set[str]:
    """Of all table versions."""
    with registry.database.read() as connection:
        return set(connection.execute(sa.select(versions.c.id)).scalars())


def _described(registry: Registry, table: str) -> Entry | None:
    try:
        return registry.describe(table)
    except NotFound:
        return None


def holds(rows: pl.DataFrame, number: int | None) -> bool:
    """Whether these are exactly the rows of a job, in whatever order."""
    return number is not None and rows.select("id", "value").sort("id").equals(frame(number))


# ---------------------------------------------------------------------------------------------------- leftovers


def registered(registry: Registry) -> dict[str, set[str]]:
    """The folders that table versions lie in, and the statuses of those."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    with registry.database.read() as connection:
        for place, status in connection.execute(sa.select(versions.c.location, versions.c.status)):
            found[f"{Location(place).key}/"].add(status)
    return dict(found)


def walked(registry: Registry) -> set[str]:
    """All files below the managed folder, hidden ones too."""
    root = registry.settings.managed_root.key
    return {f"{folder}/{name}" for folder, _, names in os.walk(root) for name in names}


def left_over(registry: Registry) -> set[str]:
    """Those that belong to no registered table version."""
    places = registered(registry)
    return {file for file in walked(registry) if not any(file.startswith(place) for place in places)}


def misjudged(registry: Registry) -> Iterator[str]:
    """Files that are left over and would not be listed by `gc`, and listed ones that somebody reads."""
    files, places = left_over(registry), registered(registry)
    listed = registry.leftovers(timedelta(0))
    covered = {file for file in walked(registry) if any(file.startswith(each.location.key) for each in listed)}
    yield from (f"{file} is left over, and not listed" for file in sorted(files - covered))
    for file in sorted(covered - files):
        statuses = set().union(*(each for place, each in places.items() if file.startswith(place)))
        if statuses != {"draft"}:
            yield f"{file} is listed as left over, and belongs to a version that is {statuses}"


# -------------------------------------------------------------------------------------------------------- rounds


def chosen(segments: list[Segment], chance: random.Random) -> tuple[Segment, float]:
    """A moment: all phases alike, however short they are."""
    by_phase: defaultdict[str, list[Segment]] = defaultdict(list)
    for segment in segments:
        by_phase[segment[1]].append(segment)
    phase = chance.choice(sorted(by_phase, key=PHASES.index))
    return chance.choice(by_phase[phase]), chance.random()


KINDS = ("delta", "parquet", OUTSIDE)


def kill(worlds: list[World], rounds: int, seed: int, kinds: tuple[str, ...] = KINDS) -> Outcome:
    """Rounds of every kind in every world; the worlds by turns."""
    chance, outcome = random.Random(seed), Outcome()
    segments: dict[tuple[World, str], list[Segment]] = {}
    for number in range(rounds):
        world = worlds[number % len(worlds)]
        kind = "open" if chance.random() < OPEN_SHARE else chance.choice(kinds)
        if (world, kind) not in segments:
            segments[world, kind] = world.first(world.job(kind, rounds + len(segments), 1))
        job = world.job(kind, number, chance.randint(1, 4))
        world.round(job, *chosen(segments[world, kind], chance), outcome)
    for world in worlds:
        world.collect(outcome)
    return outcome
