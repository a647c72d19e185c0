"""The catalog at a million table versions: 10,000 tables of 20 columns at 100 materialization versions each, in SQLite
and in PostgreSQL, filled as in `benchmarks.catalog`, and asked in this process: an entry, pages that were never seen
before of all that is at one version, a word of one table and a word of 9,000, and the facets of all these. Then the
size of the whole database for each table version.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.catalog import COMMON, TABLES, fill, references, shown, tables, timings, walk
from benchmarks.events import postgresql
from benchmarks.figures import figure, preamble, size_argument
from feature_registry.model import Search
from feature_registry.registry import Registry
from feature_registry.settings import Settings

MAT_VERSIONS = 100
AT_ONCE = 10  # tables whose versions are registered in one transaction
CALLS = 50
LIMITS = {
    f"{kind}_{key}": limit
    for kind in ("sqlite", "postgresql")
    for key, limit in {
        "lookup_ms": 2,
        "list_ms": 10,
        "search_rare_ms": 20,
        "search_common_ms": 50,
        "facets_ms": 50,
        "kb_per_version": 2,
    }.items()
}


@contextmanager
def catalogs(kind: str) -> Iterator[Registry]:
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary, "registry")
        if kind == "sqlite":
            registry = Registry(Settings(home=home))
            yield registry
            registry.close()
            return
        with postgresql(Path(temporary, "pg")) as url:
            registry = Registry(Settings(home=home, database=url))
            yield registry
            registry.close()


def size(registry: Registry) -> int:
    """Bytes of the whole database."""
    with registry.database.engine.connect() as connection:
        if registry.database.sqlite:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            return Path(str(registry.database.engine.url.database)).stat().st_size
        return int(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())


def measure(registry: Registry, names: list[str]) -> dict[str, float]:
    refs = references(names)
    registry.describe(refs[0])
    figures = {"lookup_ms": shown("lookup", timings(registry.describe, refs))}
    pages = [spent for at in (1, MAT_VERSIONS) for spent in walk(registry, at)]
    figures["list_ms"] = shown("a page of 100 at one version, new each time", pages)
    chance = random.Random(2)
    numbers = [name.rsplit("_", 1)[1] for name in chance.sample(names, min(CALLS, len(names)))]
    rare = [Search(text=f"rare{number}x", mat_version=1 + at) for at, number in enumerate(numbers)]
    figures["search_rare_ms"] = shown("search: a word of one table", timings(registry.search, rare))
    word = COMMON.rsplit(" ", 1)[1]
    common = [Search(text=word, mat_version=1 + at) for at in range(CALLS)]
    figures["search_common_ms"] = shown("search: a word of nine in ten tables", timings(registry.search, common))
    latest = [Search(text=word, mat_version="latest", owner=f"team{at % 40}") for at in range(CALLS)]
    shown("  at the latest version, of one owner", timings(registry.search, latest))
    mistyped = [Search(text=f"{word[:3]}{word[4]}{word[3]}{word[5:]}", mat_version=1 + at) for at in range(CALLS)]
    shown("  mistyped", timings(registry.search, mistyped))
    figures["facets_ms"] = shown("facets of nine in ten tables", timings(registry.facets, common))
    shown("  of all tables, at the latest version", timings(registry.facets, [Search(mat_version="latest")] * 20))
    shown("  of one owner's", timings(registry.facets, latest))
    return figures


def main() -> None:
    count = size_argument(TABLES)
    preamble("catalog-million", f"{count:,} tables x {MAT_VERSIONS} versions", "sqlalchemy", "psycopg", "rapidfuzz")
    measured: dict[str, float] = {}
    for kind in ("sqlite", "postgresql"):
        with catalogs(kind) as registry:
            start = time.perf_counter()
            fill(registry, tables(count), MAT_VERSIONS, AT_ONCE)
            rate = count * MAT_VERSIONS / (time.perf_counter() - start)
            print(f"{kind}, filled at {rate:.0f} registrations/s", flush=True)
            figures = measure(registry, [table.name for table in tables(count)])
            figures["kb_per_version"] = size(registry) / 1000 / (count * MAT_VERSIONS)
            measured |= {f"{kind}_{key}": value for key, value in figures.items()}
    for key, value in measured.items():
        figure("catalog-million", key, value, LIMITS[key])


if __name__ == "__main__":
    main()
