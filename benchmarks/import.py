# ruff: noqa: N999 - the file is named after the benchmark
"""How long `import feature_registry` takes in a fresh process, and how many heavy packages it loads.

Each process measures its own import, so that the interpreter's start does not count.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from benchmarks.figures import figure, preamble, size_argument

PROCESSES = 20
SECONDS_LIMIT = 0.1
HEAVY_LIMIT = 0
HEAVY = {
    *("alembic", "dagster", "deltalake", "duckdb", "fastapi", "httpx", "numpy", "pandas", "polars", "pyarrow"),
    *("pydantic", "sqlalchemy", "starlette", "typer", "uvicorn"),
}
CODE = """
import json, sys, time
begun = time.perf_counter()
import feature_registry
seconds = time.perf_counter() - begun
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def main() -> None:
    processes = size_argument(PROCESSES)
    preamble("import", f"{processes} processes, after one to warm up", "feature-registry")
    runs = [measured() for _ in range(processes + 1)][1:]
    seconds = [each for each, _ in runs]
    heavy = HEAVY & set().union(*(loaded for _, loaded in runs))
    print(f"  {statistics.median(seconds):.4f} s ({min(seconds):.4f} .. {max(seconds):.4f})")
    figure("import", "heavy_packages", len(heavy), HEAVY_LIMIT)
    figure("import", "seconds", statistics.median(seconds), SECONDS_LIMIT)


def measured() -> tuple[float, list[str]]:
    """Seconds, and the packages that are loaded then."""
    run = subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True)
    seconds, loaded = json.loads(run.stdout)
    return seconds, loaded


if __name__ == "__main__":
    main()
