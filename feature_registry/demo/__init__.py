"""The whole way on a synthetic cortex: Dagster makes and registers tables, another process reads them through links."""

from __future__ import annotations


def run() -> int:
    """Runs the demo; the exit code of the process. Needs the extra `demo`."""
    from feature_registry.demo.walk import run as walk

    return walk()
