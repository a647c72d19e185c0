"""What a kill leaves: processes that write are killed with SIGKILL at random moments of all phases (Dagster's steps,
write, register, event, check, publish), over SQLite and PostgreSQL; then both servers while clients read.

After each kill another process looks: everything is the whole old or the whole new state, what a call returned is
there, the work is done again and is what readers then get, and `gc` would list what was left over and nothing else.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable
from pathlib import Path

from benchmarks.figures import figure, preamble, size_argument

ROUNDS = 200
SERVER_KILLS = 30


def main() -> None:
    # Here, because every process that is started loads this module again.
    from benchmarks.events import postgresql
    from feature_registry_tests.kills import serving
    from feature_registry_tests.kills.rounds import World, kill

    rounds, seed = size_argument(ROUNDS), random.SystemRandom().randrange(10**6)
    preamble("kills", f"{rounds} rounds, {SERVER_KILLS} kills of servers, seed {seed}", "dagster", "polars", "duckdb")
    with tempfile.TemporaryDirectory() as folder, postgresql(Path(folder, "pg")) as database:
        embedded = World(Path(folder, "sqlite"), None)
        written = kill([embedded, embedded, World(Path(folder, "grown"), database)], rounds, seed)
        read = serving.kill(Path(folder, "serving"), min(SERVER_KILLS, rounds), seed)
    print("\nkilled in " + ", ".join(f"{phase} {count}" for phase, count in written.fell.most_common()))
    print(f"collected {written.collected} files")
    faults = written.half_visible + written.lost + written.reruns_failed + written.misjudged
    tell(faults + read.failed_clearly + read.unclear + read.wrong + read.hung)
    print("reads: " + ", ".join(f"{kind} {count}" for kind, count in sorted(read.reads.items())))
    print(f"the longest took {read.longest:.1f} s; {read.charged:,} bytes were charged, {read.served:,} served")
    figure("kills", "rounds", written.rounds)
    for name in ("half_visible", "lost", "reruns_failed", "misjudged"):
        figure("kills", name, len(getattr(written, name)), 0)
    figure("kills", "server_kills", read.kills)
    figure("kills", "reads_finished", read.finished)
    figure("kills", "reads_failed_clearly", len(read.failed_clearly))
    for name in ("unclear", "wrong", "hung"):
        figure("kills", f"reads_{name}", len(getattr(read, name)), 0)
    figure("kills", "bytes_uncharged", max(0, read.served - read.charged), 0)


def tell(faults: Iterable[str]) -> None:
    for fault in faults:
        print(f"- {fault[:1000]}")


if __name__ == "__main__":
    main()
