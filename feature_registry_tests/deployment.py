"""A whole installation in one process: a registry, its API and its file server, on ports that the system picked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feature_registry.registry import Registry
from feature_registry.settings import Settings


@dataclass(frozen=True)
class Deployment:
    """The addresses are in `settings`; `log` is the file server's access log."""

    settings: Settings
    registry: Registry
    log: Path

    def client(self, datastack: str, **options: Any) -> Any:
        """An HTTP client of the API."""
        from feature_registry.client import FeatureRegistry

        return FeatureRegistry(datastack, server=self.settings.api_address, **options)


@contextmanager
def deployed(home: Path, **options: Any) -> Iterator[Deployment]:
    """An installation below `home`; options are settings."""
    from feature_registry.cli.supervisor import file_log, serving

    with serving(Settings(home=home, port=0, file_port=0, **options)) as (registry, _):
        yield Deployment(registry.settings, registry, file_log(registry.settings))
