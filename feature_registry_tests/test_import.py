"""`import feature_registry` loads nothing heavy, and a missing extra is named."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

HEAVY = {"polars", "dagster", "sqlalchemy", "alembic", "fastapi", "pyarrow", "duckdb", "deltalake", "pandas", "httpx"}


def loaded_after(code: str) -> set[str]:
    """The top-level modules of a fresh interpreter that ran the code."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return {name.split(".")[0] for name in json.loads(answer.stdout.splitlines()[-1])}


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_after("import feature_registry; dir(feature_registry)")
    assert "feature_registry" in loaded
    assert loaded & HEAVY == set()


def test_the_client_loads_no_server() -> None:
    loaded = loaded_after("from feature_registry import FeatureRegistry")
    assert (
        loaded & {"dagster", "sqlalchemy", "alembic", "fastapi", "starlette", "deltalake", "pyarrow", "duckdb"} == set()
    )


def test_importing_the_package_takes_a_tenth_of_a_second_at_most() -> None:
    """The fastest of some, because other tests run beside; the median is a figure of `make bench NAME=import`."""
    import_benchmark = importlib.import_module("benchmarks.import")
    assert min(import_benchmark.measured()[0] for _ in range(5)) <= import_benchmark.SECONDS_LIMIT


TABLE = "from feature_registry.client import Table; Table(None, 'd/t@1')"
NEEDS = {
    "Registry": ("from feature_registry import Registry", "sqlalchemy", "server"),
    "embedded": ("from feature_registry import FeatureRegistry; FeatureRegistry('d').search()", "pyarrow", "server"),
    "feature_table": ("from feature_registry import feature_table", "dagster", "pipeline"),
    "resource": ("from feature_registry import FeatureRegistryResource", "dagster", "pipeline"),
    "duckdb": ("from feature_registry import FeatureRegistry; FeatureRegistry('d').duckdb()", "duckdb", "duckdb"),
    "pandas": (f"{TABLE}.to_pandas()", "pandas", "pandas"),
    "pyarrow": (f"{TABLE}.to_arrow()", "pyarrow", "pandas"),
    "postgres": ("from feature_registry.catalog import Database; Database('postgresql://h/d')", "psycopg", "postgres"),
    "cave": (
        "from feature_registry.cave.server import Cave; from feature_registry.settings import Settings\n"
        "Cave(Settings(cave_server='http://h', cave_database='postgresql://h'))._databases",
        "adbc_driver_postgresql",
        "cave",
    ),
    "demo": ("from feature_registry.cli import app; app(['demo'])", "dagster", "demo"),
}


@pytest.mark.parametrize("name", NEEDS)
def test_a_missing_extra_is_named(name: str, tmp_path: Path) -> None:
    code, missing, extra = NEEDS[name]
    script = f"import sys; sys.modules[{missing!r}] = None\n{code}"
    answer = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert answer.returncode == 1
    line = answer.stderr.splitlines()[-1]
    assert line.startswith("error: " if name == "demo" else "ImportError: ")
    assert f"pip install 'feature-registry[{extra}]'" in line
    assert missing in line.lower()


def test_every_extra_of_the_users_is_named_somewhere() -> None:
    """`dev` is for those who have a clone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {extra for _, _, extra in NEEDS.values()} == set(project["optional-dependencies"]) - {"dev"}


def test_an_unknown_name_is_no_attribute() -> None:
    import feature_registry

    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = feature_registry.nothing_of_ours
