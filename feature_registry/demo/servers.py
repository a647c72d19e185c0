"""The API and the file server as a child process, on ports that the system picked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feature_registry.cli.supervisor import FILE_LOG
from feature_registry.errors import Unavailable

STOPPED_WITHIN = 20  # seconds


def file_log(home: Path) -> Path:
    """Where the file server writes a line for each request."""
    return home / FILE_LOG


@contextmanager
def serving(home: Path, allowed: Path, **settings: Any) -> Iterator[str]:
    """The address of the API while `feature-registry up` runs with these settings."""
    said = {"home": home, "allowed_prefixes": json.dumps([str(allowed)]), **settings}
    environment = os.environ | {f"FEATURE_REGISTRY_{name.upper()}": str(value) for name, value in said.items()}
    # On a leash: it ends with this process, also if that is killed.
    program = [sys.executable, "-m", "feature_registry.cli.leash", "feature_registry"]
    command = [*program, "up", "--port", "0", "--file-port", "0"]
    with (home / "up.log").open("w") as log:
        child = subprocess.Popen(  # noqa: S603 - nobody else's words
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield _announced(child, home / "up.log")
    finally:
        _stop(child)


def _announced(child: subprocess.Popen[str], log: Path) -> str:
    """The first address that it prints, which is the API's, once it listens."""
    found = re.search(r"http://\S+", child.stdout.readline() if child.stdout else "")
    if found is None:
        said = log.read_text().strip().splitlines()
        raise Unavailable(
            "did not start", field="server", value=said[-1] if said else "nothing said", expected=str(log)
        )
    return found.group()


def _stop(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(STOPPED_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
