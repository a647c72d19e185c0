"""The README is true: its Python runs and prints what it says; it and the other pages name what exists."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from docs import generate
from feature_registry.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_its_commands_are_those_of_the_program(page: Path) -> None:
    """Every `feature-registry ...` and `make ...` that a reader may copy: the command and its options exist."""
    known = {name: {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
             for name, command in typer.main.get_command(app).commands.items()}  # fmt: skip
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for line in re.findall(r"(?:^\$ |`)((?:feature-registry|make) [^`\n]+)", page.read_text(), re.M):
        program, name, *words = line.split()
        if program == "make":
            assert {name, *words} <= {*targets, *(word for word in words if "=" in word)}, line
        elif not name.startswith("-"):
            assert name in known, line
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known[name], line


def test_its_links_lead_somewhere() -> None:
    broken = [
        f"{page.name}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert broken == []


def test_its_figures_are_those_of_the_benchmarks() -> None:
    """Every figure that has a limit is in the table, with the same number."""
    limits: dict[str, float] = {}
    rows = {
        name: float(limit)
        for name, limit in re.findall(r"^\| `([a-z-]+ [a-z0-9_]+)` \|.*\| ([\d.]+) \|$", README, re.M)
    }
    for name, module in generate.benchmark_modules():
        for call in generate.figure_calls(module):
            stem, several, _ = generate.key(call).partition("{")
            limit = generate.limit(call, module)
            if isinstance(limit, dict):
                limits |= {f"{name} {stem}{each}": value for each, value in limit.items()}
            elif limit is not None and several:
                limits |= {row: limit for row in rows if row.startswith(f"{name} {stem}")} or {f"{name} {stem}": limit}
            elif limit is not None:
                limits[f"{name} {stem}"] = limit
    assert rows == limits
