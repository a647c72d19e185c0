"""A disk that is full while a table is written, the catalog commits and links are charged: `Unavailable`, and nothing
half-visible. A limit on the size of files stands in for the disk, in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource")

COMMON = """
import asyncio, resource, sys
from pathlib import Path
import numpy as np, polars as pl, pyarrow as pa
from feature_registry import formats
from feature_registry.errors import NotFound, Unavailable
from feature_registry.formats import WriteOptions
from feature_registry.location import Location
from feature_registry.model import PlanRequest, Registration
from feature_registry.registry import Registry
from feature_registry.settings import Settings

home = Path(sys.argv[1])
registry = Registry(Settings(home=home / "home"))

def full(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def refused(act):
    try:
        act()
    except Unavailable as error:
        return str(error)
    raise SystemExit("it was not refused")
"""

WRITING = """
rows = pa.table({"id": np.random.default_rng(0).integers(0, 2**62, 500_000), "half": ["a", "b"] * 250_000})
options = [{}, {"sort_by": ("id",)}, {"partition_by": ("half",)}]
for name in formats.names():
    for option in options:
        place = Location(home / f"{name}-{len(option)}")
        store, layout = registry.store(place), formats.get(name)
        write = lambda: layout.write(store, place, rows.to_reader(100_000), WriteOptions(**option))
        full(200_000)
        assert str(place) in refused(write)
        assert list(store.list(place)) == []
        full(resource.RLIM_INFINITY)
        write()
        assert layout.inspect(store, place).inspection.rows == len(rows)
        import shutil
        shutil.rmtree(place.key)
full(10_000)
target = Location(home / "x")
refused(lambda: store.write(target, b"x" * 20_000))
assert list(store.list(Location(home / "x"))) == [] and not list(home.glob(".draft*"))
"""

COMMITTING = """
pl.DataFrame({"id": range(1_000)}).write_parquet(home / "a.parquet")
said = {"location": home / "a.parquet", "datastack": "d", "mat_version": 3}
registry.register(Registration(**said, name="t", description="x", owner="o", license="CC0-1.0", publish=True))
plan = registry.plan(PlanRequest(table="d/t@3"))
token = plan.files[0].url.split("/")[5]
before = registry.newest_event()
follow = lambda: asyncio.run(registry.access.follow(token, None))
register = lambda: registry.register(Registration(**said, name="u"))
full(4_096)
for act in (register, follow, lambda: registry.plan(PlanRequest(table="d/t@3")),
            lambda: registry.edit("d/t", {"description": "y"})):
    assert "database" in refused(act)
assert registry.describe("d/t@3").table.description == "x"
full(resource.RLIM_INFINITY)
assert registry.newest_event() == before
assert registry.grant(plan.grant.id).charged == 0
try:
    registry.describe("d/u@3")
    raise SystemExit("it is half there")
except NotFound:
    pass
assert register().created
follow()
assert registry.grant(plan.grant.id).charged == (home / "a.parquet").stat().st_size
"""


@pytest.mark.parametrize("script", [WRITING, COMMITTING], ids=["a table is written", "the catalog commits"])
def test_a_full_disk_is_unavailable_and_leaves_nothing_half(script: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", COMMON + script, str(tmp_path)]
    child = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert child.returncode == 0, child.stderr
