"""How much memory a dump needs: 5 and 20 million synapses (15 columns), sorted by post_pt_root_id.

The dumping process alone, PostgreSQL aside: a fresh process materializes the asset once and says its peak of resident
memory, its libraries included.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import figure, preamble, size_argument
from benchmarks.frozen import SORTED, dumping, load, server

ROWS = 5_000_000
TIMES = 4
LIMIT_MB = 2000


def peak_mb(url: str, rows: int) -> float:
    load(url, rows)
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "benchmarks.dump_memory", "dump", url, home]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, peak = map(float, said.splitlines()[-1].split())
    print(f"  {rows:>10,} rows: {seconds:.1f} s, at most {peak:,.0f} MB")
    return peak


def dump(url: str, home: str) -> None:
    """Says seconds, and the peak in MB; the kernel's own figure begins anew with the process, unlike getrusage's."""
    materialize = dumping(url, Path(home), SORTED)
    start = time.perf_counter()
    materialize()
    status = Path("/proc/self/status").read_text()
    kib = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert kib is not None
    print(time.perf_counter() - start, int(kib[1]) * 1024 / 1e6)


def main() -> None:
    rows = size_argument(ROWS)
    preamble("dump-memory", f"{rows:,} and {TIMES * rows:,} rows x 15 columns", "dagster", "duckdb", "pyarrow")
    with server() as url:
        peaks = [peak_mb(url, each) for each in (rows, TIMES * rows)]
    figure("dump-memory", "peak_mb_5m", peaks[0], LIMIT_MB)
    figure("dump-memory", "peak_mb_20m", peaks[1], LIMIT_MB)


if __name__ == "__main__":
    if sys.argv[1:2] == ["dump"]:
        dump(*sys.argv[2:])
    else:
        main()
