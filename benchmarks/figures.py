"""What the benchmarks share: runs in turn, medians, what the machine is, and how a figure is printed.

A figure is the line `figure BENCHMARK KEY VALUE`, after everything else, so that a program finds it.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Run:
    """One timed call: wall seconds, and what it answered."""

    seconds: float
    answer: Any


def timed(call: Callable[[], Any]) -> Run:
    gc.collect()
    start = time.perf_counter()
    answer = call()
    return Run(time.perf_counter() - start, answer)


def in_turn(
    contenders: dict[str, Callable[[], Any]],
    rounds: int,
    warm_up: int = 1,
    after: Callable[[str, Run], None] | None = None,
) -> dict[str, list[Run]]:
    """Runs every contender once a round, each round beginning with another one, so that drift hits all alike.

    `after` sees each counted run; answers are not kept beyond it.
    """
    names = list(contenders)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for number in range(warm_up + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            run = timed(contenders[name])
            if number >= warm_up:
                if after is not None:
                    after(name, run)
                runs[name].append(Run(run.seconds, None))
    return runs


def median(runs: Iterable[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def spread(runs: Iterable[Run]) -> str:
    """`0.412 s (0.398 .. 0.455)`."""
    seconds = sorted(run.seconds for run in runs)
    return f"{statistics.median(seconds):.3f} s ({seconds[0]:.3f} .. {seconds[-1]:.3f})"


def preamble(name: str, sizes: str, *packages: str) -> None:
    """What was measured, on what."""
    print(f"# {name}: {sizes}")
    print(f"# Python {platform.python_version()}, " + ", ".join(f"{each} {version(each)}" for each in packages))
    print(f"# {platform.system()} {platform.machine()}, {os.cpu_count()} cores, {_memory()}")


def figure(name: str, key: str, value: float, limit: float | None = None) -> None:
    """The line that counts; the limit, if any, is said on the line before."""
    if limit is not None:
        print(f"# {key}: {'within' if value <= limit else 'ABOVE'} the limit of {limit:g}")
    print(f"figure {name} {key} {value:.4g}", flush=True)


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / 2**30:.0f} GiB"


def size_argument(default: int) -> int:
    """The first argument of the command, for a smaller trial; figures for the record use the default."""
    return int(sys.argv[1]) if len(sys.argv) > 1 else default
