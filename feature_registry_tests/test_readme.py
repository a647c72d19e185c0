"""The README is true: its Python runs and prints what it says, its tables name what exists."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)
MARK = "=== end of block {} ==="


def test_the_python_blocks_print_what_they_say(tmp_path: Path) -> None:
    """In the reader's order and in one process, with nothing set."""
    blocks = FENCE.findall(README)
    assert len(blocks) >= 3
    assert all(printed for _, printed in blocks)
    script = tmp_path / "readme.py"
    script.write_text("\n".join(f"{code}\nprint({MARK.format(n)!r})" for n, (code, _) in enumerate(blocks)))
    run = subprocess.run([sys.executable, script], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    rest = run.stdout
    for number, (_, expected) in enumerate(blocks):
        printed, _, rest = rest.partition(MARK.format(number) + "\n")
        assert tidy(printed) == tidy(expected)


def tidy(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def test_its_extras_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"^\| `feature-registry\[(\w+)\]`", README, re.M)) == set(project["optional-dependencies"])


def test_its_commands_are_those_of_the_program() -> None:
    typer = pytest.importorskip("typer")
    from feature_registry.cli import app

    known = set(typer.main.get_command(app).commands)
    assert set(re.findall(r"^\| `feature-registry ([a-z-]+)`", README, re.M)) == known


def test_its_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_its_figures_are_those_of_the_benchmarks() -> None:
    """Every limit that a benchmark knows is in the table, with the same number."""
    from benchmarks import links, read, register

    limits = {f"`read time_ratio_{name}`": limit for name, limit in read.TIME_LIMITS.items()}
    limits |= {f"`read bytes_ratio_{name}`": read.BYTES_LIMIT for name in read.TIME_LIMITS}
    limits |= {"`register time_ratio`": register.TIME_LIMIT, "`register empty_extra_ms`": register.EMPTY_LIMIT_MS}
    limits |= {"`links answer_ms`": links.ANSWER_LIMIT_MS}
    rows = re.findall(r"^\| (`[a-z]+ [a-z_]+`) \|.*\| ([\d.]+) \|$", README, re.M)
    assert {name: float(limit) for name, limit in rows} == limits
