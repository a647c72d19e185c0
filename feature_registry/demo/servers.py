"""The API and the file server as a child process, on ports that the system picked."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from feature_registry.errors import Unavailable

STARTED_WITHIN = 60  # seconds
STOPPED_WITHIN = 10


@contextmanager
def serving(home: Path, allowed: Path, **settings: object) -> Iterator[str]:
    """The address of the API while it runs. The server's own words go to `home/server.log`."""
    port, file_port = free_ports(2)
    address = f"http://127.0.0.1:{port}"
    said = {"home": home, "port": port, "file_port": file_port, "allowed_prefixes": json.dumps([str(allowed)])}
    environment = os.environ | {
        f"FEATURE_REGISTRY_{name.upper()}": str(value) for name, value in (said | settings).items()
    }
    with (home / "server.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "feature_registry", "up"], env=environment, stdout=log, stderr=log
        )
    try:
        _wait(child, [f"{address}/health", f"http://127.0.0.1:{file_port}/"], home / "server.log")
        yield address
    finally:
        child.terminate()
        try:
            child.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def _wait(child: subprocess.Popen[bytes], addresses: list[str], log: Path) -> None:
    until = time.monotonic() + STARTED_WITHIN
    while addresses:
        try:
            httpx.get(addresses[0], timeout=5)
            addresses = addresses[1:]
        except httpx.TransportError:
            if child.poll() is not None or time.monotonic() > until:
                raise Unavailable("did not start", field="server", value=addresses[0], expected=f"see {log}") from None
            time.sleep(0.05)
