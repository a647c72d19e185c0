"""The API and the file server are killed and started again while clients read."""

from __future__ import annotations

import json
import multiprocessing
import random
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.servers import Servers, running
from feature_registry.client import FeatureRegistry
from feature_registry.errors import RegistryError
from feature_registry.location import Location
from feature_registry.model import Registration
from feature_registry.registry import Registry

DATASTACK = "kills"
ROWS = 400_000
FILES = 8
FIRST_ID = 2**60
CHOSEN = 1_000  # ids of a lookup
HANGS_AFTER = 60.0  # seconds that no read may take
Read = Callable[[FeatureRegistry, random.Random], bool]  # whether the answer was right

context = multiprocessing.get_context("forkserver")


def table() -> pl.DataFrame:
    ids = pl.int_range(ROWS, eager=True) + FIRST_ID
    noise = ids.hash(seed=1)  # does not compress
    return pl.DataFrame({"id": ids, "value": ids % 1000, "noise": noise})


def _scan(registry: FeatureRegistry, chance: random.Random) -> bool:
    return bool(registry["table"].scan().collect().sort("id").equals(table()))


def _lookup(registry: FeatureRegistry, chance: random.Random) -> bool:
    first = FIRST_ID + chance.randrange(ROWS - CHOSEN)
    found = registry["table"].to_polars([("id", ">=", first), ("id", "<", first + CHOSEN)], columns=["id"])
    return sorted(found["id"]) == list(range(first, first + CHOSEN))


def _duckdb(registry: FeatureRegistry, chance: random.Random) -> bool:
    with registry.duckdb(["table"]) as connection:
        query = "SELECT count(*), sum(id), sum(value), bit_xor(noise) FROM table_rows".replace("table_rows", '"table"')
        found = connection.execute(query).fetchall()[0]
    expected = table()
    noise = 0
    for each in expected["noise"]:
        noise ^= each
    return tuple(found) == (ROWS, sum(expected["id"]), expected["value"].sum(), noise)


def _download(registry: FeatureRegistry, chance: random.Random) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        files = registry["table"].download(folder, progress=False)
        return pl.read_parquet(files).sort("id").equals(table())


def _ask(registry: FeatureRegistry, chance: random.Random) -> bool:
    """The small calls; none of them changes anything."""
    named = [entry.table.name for entry in registry.search("table")]
    described = registry["table"]
    plan = described.plan(dry_run=True)
    return (named, described.rows, plan.cost.files) == (["table"], ROWS, FILES)


READS: dict[str, Read] = {
    "scan": _scan,
    "lookup": _lookup,
    "duckdb": _duckdb,
    "download": _download,
    "ask": _ask,
}


@dataclass
class Outcome:
    """What became of the reads; a wrong, an unclear or a hanging one is told."""

    kills: int = 0
    reads: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    failed_clearly: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    longest: float = 0.0
    charged: int = 0
    served: int = 0


def reading(address: str, kinds: tuple[str, ...], seed: int, pipe: Connection, stop: Event) -> None:
    """The target of a client's process: reads one after the other, and tells how each ended."""
    chance = random.Random(seed)
    registry = FeatureRegistry(DATASTACK, "unversioned", server=address)
    while not stop.is_set():
        kind = chance.choice(kinds)
        begin = time.monotonic()
        try:
            ended, text = ("finished" if READS[kind](registry, chance) else "wrong"), ""
        except (
            RegistryError,
            ConnectionError,
        ) as error:  # Polars' own, where the user collects a frame: Python's class
            ended, text = "failed", str(error)
        except BaseException as error:
            ended, text = "unclear", f"{type(error)}: {str(error)[:3000]}\n{traceback.format_exc()[-1000:]}"
        pipe.send((kind, ended, time.monotonic() - begin, text))
    pipe.close()


@contextmanager
def installed(folder: Path) -> Iterator[Servers]:
    """Servers with one table of several files."""
    data = folder / "data"
    data.mkdir(parents=True)
    for number, rows in enumerate(table().iter_slices(ROWS // FILES)):
        rows.write_parquet(data / f"{number}.parquet", row_group_size=ROWS // FILES // 4, compression="uncompressed")
    with running(folder / "home", allowed=folder) as servers:
        registry = Registry(servers.settings)
        about = {"description": "Read under fire.", "owner": "killers", "license": "CC0-1.0"}
        said = {"datastack": DATASTACK, "name": "table", **about}
        registry.register(Registration(location=Location(data), publish=True, **said))
        registry.close()
        yield servers


def kill(folder: Path, kills: int, seed: int, kinds: tuple[str, ...] = tuple(READS), clients: int = 3) -> Outcome:
    """Kills one server, or both, at random moments; each time they are away for up to two seconds and their start."""
    chance, outcome = random.Random(seed), Outcome()
    with installed(folder) as servers:
        stop = context.Event()
        pipes = {}
        for number in range(clients):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (servers.settings.api_address, kinds, seed + number, theirs, stop)
            process = context.Process(target=reading, args=arguments, daemon=True)
            process.start()
            theirs.close()
            pipes[ours] = process
        listener = Listener(pipes, outcome)
        for _ in range(kills):
            listener.listen(chance.uniform(0.2, 4))
            roles = chance.choice([["api"], ["files"], ["api", "files"]])
            for role in roles:
                servers.kill(role)
            outcome.kills += 1
            listener.listen(chance.uniform(0, 2))
            for role in roles:
                servers.start(role)
            servers.await_answers()
        stop.set()
        listener.listen(HANGS_AFTER)
        outcome.charged, outcome.served = (
            charged(servers),
            sum(json.loads(line)["bytes"] for line in servers.log.read_text().splitlines() if line.endswith("}")),
        )
    return outcome


class Listener:
    """Hears the clients out."""

    def __init__(self, pipes: dict[Any, Any], outcome: Outcome) -> None:
        self._pipes, self._outcome = pipes, outcome
        self._heard = dict.fromkeys(pipes, time.monotonic())

    def listen(self, seconds: float) -> None:
        """For a time, or until no client is left."""
        until = time.monotonic() + seconds
        while self._pipes and (left := until - time.monotonic()) > 0:
            for pipe in wait(list(self._pipes), left):
                self._hear(pipe)
            for pipe in list(self._pipes):
                if time.monotonic() - self._heard[pipe] > HANGS_AFTER:
                    self._outcome.hung.append("a client said nothing")
                    self._pipes.pop(pipe).kill()

    def _hear(self, pipe: Any) -> None:
        try:
            kind, ended, seconds, text = pipe.recv()
        except EOFError:
            self._pipes.pop(pipe).join()
            return
        outcome = self._outcome
        self._heard[pipe] = time.monotonic()
        outcome.reads[kind] += 1
        outcome.longest = max(outcome.longest, seconds)
        if ended == "finished":
            outcome.finished += 1
        else:
            told = {"failed": outcome.failed_clearly, "wrong": outcome.wrong, "unclear": outcome.unclear}
            told[ended].append(f"{kind} after {seconds:.1f} s: {text}")


def charged(servers: Servers) -> int:
    """The bytes that the catalog charged to links."""
    import sqlalchemy as sa

    from feature_registry.catalog.schema import grants

    registry = Registry(servers.settings)
    with registry.database.read() as connection:
        total = connection.execute(sa.select(sa.func.sum(grants.c.charged)).where(grants.c.mode == "links")).scalar()
    registry.close()
    return int(total or 0)
