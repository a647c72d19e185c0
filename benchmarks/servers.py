"""The API and the file server of a registry, each in a process of its own.

`python -m benchmarks.servers api` (or `files`) is such a process; its settings come from the environment.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from feature_registry.settings import Settings

STARTED_WITHIN = 60  # seconds


@dataclass
class Servers:
    """What runs, and how far the file server's access log was read."""

    settings: Settings
    log: Path
    environment: dict[str, str]
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _read: int = field(default=0)

    def start(self, role: str) -> None:
        """`api` or `files`."""
        self._processes[role] = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.servers", role], env=self.environment
        )

    def await_answers(self) -> None:
        await_answer(f"{self.settings.api_address}/health")
        await_answer(self.settings.file_address)

    def kill(self, role: str) -> None:
        self._processes[role].kill()
        self._processes[role].wait()

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait()

    def bytes_sent(self) -> int:
        """The bytes of data that the file server sent since this was asked last."""
        time.sleep(0.05)  # the last line is written after the last byte was sent
        with self.log.open() as lines:
            lines.seek(self._read)
            sent: int = sum(json.loads(line)["bytes"] for line in lines.readlines())
            self._read = lines.tell()
        return sent


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running(home: Path, allowed: Path) -> Iterator[Servers]:
    """Both servers of a registry at `home`, whose tables may lie below `allowed`."""
    settings = Settings(home=home, port=free_port(), file_port=free_port(), allowed_prefixes=(str(allowed),))
    environment = {
        **os.environ,
        "FEATURE_REGISTRY_HOME": str(settings.home),
        "FEATURE_REGISTRY_PORT": str(settings.port),
        "FEATURE_REGISTRY_FILE_PORT": str(settings.file_port),
        "FEATURE_REGISTRY_ALLOWED_PREFIXES": f'["{allowed}"]',
    }
    home.mkdir(parents=True, exist_ok=True)
    _ = settings.link_key  # made before two processes want it
    servers = Servers(settings, log_of(settings), environment)
    try:
        for role in ("api", "files"):
            servers.start(role)
        servers.await_answers()
        yield servers
    finally:
        servers.stop()


def await_answer(address: str) -> None:
    """Returns when something answers, whatever it says."""
    until = time.monotonic() + STARTED_WITHIN
    while True:
        try:
            httpx.get(address)
            return
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def log_of(settings: Settings) -> Path:
    return settings.home / "file_server.log"


def main() -> None:
    settings = Settings()
    app: Any
    if sys.argv[1] == "api":
        from feature_registry.api import create_app
        from feature_registry.registry import Registry

        app, port = create_app(Registry(settings)), settings.port
    else:
        from feature_registry.storage.file.server import create_app as create_file_app

        app, port = create_file_app(settings, log_of(settings)), settings.file_port
    uvicorn.run(app, host=settings.host, port=port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
