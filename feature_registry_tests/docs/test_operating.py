"""The operator's session does what the page shows: its commands are run in order, in one folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
SESSION = "\n".join(re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S))
STEPS = [tuple(step.split("\n", 1)) for step in re.split(r"^\$ ", SESSION, flags=re.M)[1:]]
ELLIPSIS = "..."  # in the page: the rest is not shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the page calls /data."""
    pl.DataFrame({"id": [11, 12], "volume": [0.11, 0.24]}).write_parquet(tmp_path / "spines.parquet")
    (tmp_path / "spines.json").write_text('{"description": "Spines.", "owner": "me@lab.org", "license": "CC-BY-4.0"}')
    (tmp_path / "archive").mkdir()
    return tmp_path


def test_the_session_prints_what_the_page_shows(folder: Path) -> None:
    assert len(STEPS) >= 10
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command, expected in STEPS:
        run = subprocess.run(
            ["bash", "-c", command.replace("/data", str(folder))],
            cwd=folder,
            env=os.environ | {"PATH": path},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        printed = run.stdout.replace(str(folder), "/data").strip().splitlines()
        wanted = expected.strip().splitlines()
        assert run.returncode == (1 if wanted and wanted[0].startswith("error:") else 0), (command, printed)
        if ELLIPSIS in wanted:
            assert printed[: wanted.index(ELLIPSIS)] == wanted[: wanted.index(ELLIPSIS)], command
        else:
            assert printed == wanted, command
