"""Dagster's own folder, of the settings: `home`/dagster, or the PostgreSQL database that holds the catalog too."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from feature_registry.settings import Settings

# The file names the variable, so that no password lands in it.
STORAGE = "FEATURE_REGISTRY_DAGSTER_STORAGE"
_POSTGRESQL = re.compile(r"^postgres(ql)?(\+\w+)?://")
_HEAD = "# Written by `feature-registry`, anew each time; to configure Dagster by yourself, set DAGSTER_HOME.\n"


def prepare(settings: Settings) -> Path:
    """The folder, with its dagster.yaml; that of DAGSTER_HOME is left alone."""
    if os.environ.get("DAGSTER_HOME"):
        return Path(os.environ["DAGSTER_HOME"])
    folder = settings.home.absolute() / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    database = settings.database or ""
    if _POSTGRESQL.match(database):
        os.environ[STORAGE] = _POSTGRESQL.sub("postgresql+psycopg2://", database)  # it takes no other driver
    text = _HEAD + json.dumps(configuration(folder, postgresql=bool(_POSTGRESQL.match(database))), indent=2) + "\n"
    path = folder / "dagster.yaml"
    if not path.exists() or path.read_text() != text:
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(text)
        draft.replace(path)
    return folder


def configuration(folder: Path, postgresql: bool) -> dict[str, Any]:
    """What dagster.yaml says; JSON is YAML."""
    sqlite = {"sqlite": {"base_dir": str(folder / "storage")}}
    postgres = {"postgres": {"postgres_url": {"env": STORAGE}}}
    return {
        "storage": postgres if postgresql else sqlite,
        "local_artifact_storage": {
            "module": "dagster._core.storage.root",
            "class": "LocalArtifactStorage",
            "config": {"base_dir": str(folder)},
        },
        "compute_logs": {
            "module": "dagster._core.storage.local_compute_log_manager",
            "class": "LocalComputeLogManager",
            "config": {"base_dir": str(folder / "compute_logs")},
        },
        "concurrency": {"runs": {"max_concurrent_runs": 4}, "pools": {"default_limit": 1}},
        # A run whose process was killed starts again; its place in a pool is free after that long.
        "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
        "run_monitoring": {"enabled": True, "free_slots_after_run_end_seconds": 60},
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }
