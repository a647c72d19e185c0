"""The whole demo, twice, as `make demo` runs it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

LONGEST = 180  # seconds


@pytest.mark.slow
def test_it_can_be_run_twice(tmp_path: Path) -> None:
    first, second = demo(tmp_path), demo(tmp_path)
    for output in (first, second):
        assert re.findall(r"^use case (\d):", output, re.M) == list("1234567")
        sent = re.findall(r"file server sent +([\d,]+)$", output, re.M)
        charged = re.findall(r"bytes charged +([\d,]+) \(as charged\)$", output, re.M)
        assert sent == charged
        assert len(sent) == 7
        assert all(number != "0" for number in sent)
        assert re.findall(r"^  (\d{3})  ", output, re.M) == ["206", "403", "403", "307", "403"]
    assert first.count(", registered\n") == second.count("was registered already") == 4
    assert second.count("skipped") == 4
    for output in (first, second):
        assert re.findall(r"^    layout (\w+):", output, re.M) == [
            "by_post_pt_root_id",
            "by_pre_pt_root_id",
            "by_ctr_pt_position",
        ]
        assert "cortex_demo_public, version 3: 3 tables" in output
    assert answers(first) == answers(second)


def demo(folder: Path) -> str:
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "feature_registry", "demo"], cwd=folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - begun < LONGEST
    return done.stdout


def answers(output: str) -> list[str]:
    """The printed heads and counts of rows."""
    return re.findall(r"^(?:[│╞┌└].*|  rows .*)$", output, re.M)
