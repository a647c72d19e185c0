"""A whole installation in one process: a registry, its API and its file server, on ports that the system picked."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from feature_registry.registry import Registry
from feature_registry.settings import Settings

STARTED_WITHIN = 20  # seconds


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


def bound() -> socket.socket:
    """A listening socket on a free port, so that the port is known before its server exists, and is ours."""
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.bind(("127.0.0.1", 0))
    found.listen(128)
    return found


@contextmanager
def served(app: Any, listener: socket.socket) -> Iterator[None]:
    """The application, answering in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="auto"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + STARTED_WITHIN
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise RuntimeError("the server did not start")
        time.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(STARTED_WITHIN)
        listener.close()


@contextmanager
def deployed(home: Path, **options: Any) -> Iterator[Deployment]:
    """An installation below `home`; options are settings."""
    from feature_registry.api import create_app
    from feature_registry.storage.file.server import create_app as create_file_app

    api, files = bound(), bound()
    settings = Settings(home=home, port=api.getsockname()[1], file_port=files.getsockname()[1], **options)
    log = home / "file_server.log"
    home.mkdir(parents=True, exist_ok=True)
    registry = Registry(settings)
    try:
        with served(create_app(registry), api), served(create_file_app(settings, log), files):
            yield Deployment(settings, registry, log)
    finally:
        registry.close()
