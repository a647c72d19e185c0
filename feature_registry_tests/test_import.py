"""`import feature_registry` loads nothing heavy, and a missing extra is named."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("name", "missing", "extra"), [("Registry", "sqlalchemy", "server"), ("feature_table", "dagster", "pipeline")]
)
def test_a_missing_extra_is_named(name: str, missing: str, extra: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom feature_registry import {name}"
    answer = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr.splitlines()[-1].startswith("ImportError:")
    assert f"pip install 'feature-registry[{extra}]'" in answer.stderr
    assert missing in answer.stderr.splitlines()[-1]


def test_an_unknown_name_is_no_attribute() -> None:
    import feature_registry

    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = feature_registry.nothing_of_ours
