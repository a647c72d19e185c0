"""How long the plan of a table of 10,000 files takes: asked over HTTP, 10,000 links made, parsed by the client.

The files are tiny Parquet files, each with its own range of ids, so that pruning has statistics to look at.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

from benchmarks.figures import figure, in_turn, median, preamble, size_argument, spread, timed
from benchmarks.servers import running
from feature_registry.client import FeatureRegistry
from feature_registry.location import Location
from feature_registry.model import Registration
from feature_registry.registry import Registry

FILES = 10_000
ROWS_PER_FILE = 10
ROUNDS = 15
ANSWER_LIMIT_MS = 100


def main() -> None:
    files = size_argument(FILES)
    preamble("links", f"{files:,} files, {ROUNDS} rounds", "pydantic", "fastapi", "httpx")
    with tempfile.TemporaryDirectory() as folder:
        home, data = Path(folder, "registry"), Path(folder, "many")
        data.mkdir()
        for number in range(files):
            first = number * ROWS_PER_FILE
            ids = pl.DataFrame({"id": range(first, first + ROWS_PER_FILE), "value": [0.5] * ROWS_PER_FILE})
            ids.write_parquet(data / f"part-{number:05}.parquet")
        with running(home, allowed=Path(folder)) as servers:
            registry = Registry(servers.settings)
            said = Registration(
                location=Location(data),
                datastack="bench",
                name="many",
                description="A benchmark.",
                owner="bench",
                license="CC0-1.0",
                publish=True,
            )
            registration = timed(lambda: registry.register(said))
            table = FeatureRegistry("bench", server=servers.settings.api_address).table("many@unversioned")
            half = [("id", ">=", files * ROWS_PER_FILE // 2)]
            contenders = {
                "all": lambda: len(table.plan().files),
                "half": lambda: len(table.plan(where=half).files),
                "price": lambda: table.plan(dry_run=True).cost.files,
            }
            answers: dict[str, int] = {}
            runs = in_turn(contenders, ROUNDS, after=lambda name, run: answers.__setitem__(name, run.answer))
            registry.close()
    if answers["all"] != files or answers["half"] not in (files // 2, files // 2 + 1):
        raise SystemExit(f"the plans name other files: {answers}")
    for name, timings in runs.items():
        print(f"  {name:<8}{spread(timings)}")
    figure("links", "register_seconds", registration.seconds)
    figure("links", "answer_ms_half", median(runs["half"]) * 1000)
    figure("links", "answer_ms_dry", median(runs["price"]) * 1000)
    figure("links", "answer_ms", median(runs["all"]) * 1000, ANSWER_LIMIT_MS)


if __name__ == "__main__":
    main()
