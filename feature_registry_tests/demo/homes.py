"""A small cortex, and folders for PostgreSQL's data."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

from feature_registry.demo.cortex import Size, build

CORTEX = build(Size(cells=80, fragments=30, synapses=6_000, seed=5))


def new_home() -> Path:
    """A new folder, not below pytest's own: another pytest that starts shuts that to the user that root's server runs
    as. It is removed when this process ends, after the server was stopped, whose start comes later.
    """
    folder = Path(tempfile.mkdtemp(prefix="demo"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
