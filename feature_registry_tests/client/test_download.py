from __future__ import annotations

import fcntl
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from feature_registry.client import FeatureRegistry
from feature_registry.errors import Conflict, Invalid, NotFound
from feature_registry_tests.client import tables
from feature_registry_tests.client.conftest import Installed
from feature_registry_tests.client.tables import ROOT
from feature_registry_tests.deployment import Deployment

MEGABYTE = 1_000_000


def ranges_asked(deployment: Deployment) -> list[str]:
    return [json.loads(line)["range"] for line in deployment.log.read_text().splitlines()]


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_the_table(registry: FeatureRegistry, tmp_path: Path) -> None:
    files = registry["synapses"].download(tmp_path / "a", progress=False)
    assert [file.name for file in files] == [f"part-{number}.parquet" for number in range(4)]
    assert names(tmp_path / "a") == {"table.json", *(file.name for file in files)}
    assert_frame_equal(pl.read_parquet(tmp_path / "a" / "**/*.parquet"), tables.synapses())
    said = json.loads((tmp_path / "a" / "table.json").read_text())
    assert said["ref"] == registry["synapses"].ref
    assert said["license"] == "CC-BY-4.0"
    assert [column["name"] for column in said["columns"]] == tables.synapses().columns


def test_partitions_keep_their_folders(registry: FeatureRegistry, tmp_path: Path) -> None:
    registry["segclr"].download(tmp_path, progress=False)
    found = pl.read_parquet(tmp_path / "**/*.parquet", hive_partitioning=True)
    assert found.height == tables.segclr().height
    assert set(found["region"]) == {"V1", "a b/ü=1", None}


def test_a_table_of_one_file(registry: FeatureRegistry, tmp_path: Path) -> None:
    assert registry["order"].download(tmp_path, progress=False) == [tmp_path / "order.parquet"]


def test_files_without_wanted_rows_are_left_out(registry: FeatureRegistry, tmp_path: Path) -> None:
    files = registry["synapses"].download(tmp_path, [("post_pt_root_id", "==", ROOT)], progress=False)
    assert [file.name for file in files] == ["part-0.parquet"]


def test_the_second_time_nothing_is_asked_for(installed: Installed, tmp_path: Path) -> None:
    table = installed.http["synapses"]
    table.download(tmp_path, progress=False)
    before, asked = installed.bytes_sent(), len(ranges_asked(installed.deployment))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    table.download(tmp_path, progress=False)
    assert (installed.bytes_sent(), len(ranges_asked(installed.deployment))) == (before, asked)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_it_goes_on_where_it_was_stopped(installed: Installed, tmp_path: Path) -> None:
    table = installed.http["synapses"]
    whole = table.download(tmp_path / "whole", progress=False)[2].read_bytes()
    (tmp_path / "resumed").mkdir()
    (tmp_path / "resumed" / "part-2.parquet.part").write_bytes(whole[:1_000])
    files = table.download(tmp_path / "resumed", progress=False)
    assert files[2].read_bytes() == whole
    assert f"bytes=1000-{len(whole) - 1}" in ranges_asked(installed.deployment)


@pytest.mark.parametrize("rubbish", [b"x" * 1_000, b"x" * 10 * MEGABYTE])
def test_a_part_that_is_wrong_is_fetched_anew(registry: FeatureRegistry, tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / "part-2.parquet.part").write_bytes(rubbish)
    files = registry["synapses"].download(tmp_path, progress=False)
    assert_frame_equal(pl.read_parquet(files), tables.synapses())
    assert not list(tmp_path.glob("*.part"))


def test_a_file_that_was_spoilt_is_fetched_anew(registry: FeatureRegistry, tmp_path: Path) -> None:
    files = registry["synapses"].download(tmp_path, progress=False)
    good = files[1].read_bytes()
    files[1].write_bytes(b"x" * len(good))
    files[3].unlink()
    registry["synapses"].download(tmp_path, progress=False)
    assert files[1].read_bytes() == good
    assert files[3].exists()


def test_a_folder_of_another_table_is_left_alone(registry: FeatureRegistry, tmp_path: Path) -> None:
    registry["order"].download(tmp_path, progress=False)
    before = names(tmp_path)
    with pytest.raises(Conflict) as wrong:
        registry["synapses"].download(tmp_path, progress=False)
    assert wrong.value.field == "folder"
    assert names(tmp_path) == before


def test_two_processes_do_not_write_one_file(registry: FeatureRegistry, tmp_path: Path) -> None:
    with (tmp_path / "order.parquet.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Conflict):
            registry["order"].download(tmp_path, progress=False)


@pytest.fixture
def lab(deployment: Deployment, tmp_path: Path) -> Iterator[tuple[FeatureRegistry, Path]]:
    """A client of an installation of its own, and a file of 20 MB that is registered there as `noise`."""
    path = tmp_path / "noise.parquet"
    noise = random.Random(1).randbytes(20 * MEGABYTE)
    pl.DataFrame({"noise": [noise[start : start + 1_000] for start in range(0, len(noise), 1_000)]}).write_parquet(path)
    registry = deployment.client(tables.DATASTACK, mat_version=3)
    registry.register(path, "noise", **tables.SAID, publish=True)
    yield registry, path
    registry.close()


def test_a_file_that_was_changed_is_not_delivered(lab: tuple[FeatureRegistry, Path], tmp_path: Path) -> None:
    registry, path = lab
    content = bytearray(path.read_bytes())
    content[1_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(Conflict) as wrong:
        registry["noise"].download(tmp_path / "here", progress=False)
    assert wrong.value.value == "noise.parquet"
    assert names(tmp_path / "here") == {"table.json"}


def test_a_file_that_is_gone_is_not_delivered(lab: tuple[FeatureRegistry, Path], tmp_path: Path) -> None:
    registry, path = lab
    path.unlink()
    with pytest.raises(NotFound) as wrong:
        registry["noise"].download(tmp_path / "here", progress=False)
    assert wrong.value.value == "noise.parquet"
    assert names(tmp_path / "here") == {"table.json"}


SLOW = """
import sys, time, httpx
from feature_registry.client import FeatureRegistry, download
download.CHUNK = 100_000
whole = httpx.Response.iter_bytes
def slowly(self, size=None):
    for chunk in whole(self, size):
        time.sleep(0.02)
        yield chunk
httpx.Response.iter_bytes = slowly
FeatureRegistry("minnie65_public", 3, server=sys.argv[1])["noise"].download(sys.argv[2], progress=False)
"""


def test_it_survives_a_kill(lab: tuple[FeatureRegistry, Path], tmp_path: Path, deployment: Deployment) -> None:
    registry, path = lab
    part = tmp_path / "here" / "noise.parquet.part"
    child = subprocess.Popen([sys.executable, "-c", SLOW, deployment.settings.api_address, str(part.parent)])
    until = time.monotonic() + 30
    while not part.exists() or part.stat().st_size < MEGABYTE:
        assert child.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    child.kill()
    child.wait()
    have = part.stat().st_size
    [file] = registry["noise"].download(part.parent, progress=False)
    assert file.read_bytes() == path.read_bytes()
    assert ranges_asked(deployment)[-1] == f"bytes={have}-{path.stat().st_size - 1}"


def test_a_path_that_leads_out_is_refused(installed: Installed, tmp_path: Path) -> None:
    from feature_registry.client.download import _target

    plan = installed.http["order"].plan(dry_run=True)
    for path in ("../x.parquet", "/etc/x.parquet", "a/../../x.parquet"):
        with pytest.raises(Invalid):
            _target(tmp_path, plan.files[0].model_copy(update={"path": path}), plan)


def test_progress_is_drawn(registry: FeatureRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry["synapses"].download(tmp_path)
    assert "downloading" in capsys.readouterr().err
