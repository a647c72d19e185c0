"""The API and the file server, each in a thread, and Dagster as a child; all end together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from feature_registry.cli.instance import prepare
from feature_registry.errors import Unavailable, missing, needed
from feature_registry.settings import Settings

if TYPE_CHECKING:
    from feature_registry.registry import Registry

STARTED_WITHIN = 60  # seconds
STOPPED_WITHIN = 20


def run(settings: Settings, dagster: bool) -> int:
    """Runs until SIGINT or SIGTERM (exit code 0), or until one of them ends by itself (1)."""
    for package in ("dagster", "dagster_webserver") if dagster else ():
        if find_spec(package) is None:  # imported, they would take this process 100 MB
            raise missing(package, "pipeline")
    stop = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(_signals(stop))
        if dagster:
            with bound(settings.host, settings.dagster_port, "dagster_port"):
                pass  # free now; Dagster itself would say so only after many seconds
        registry, parts = stack.enter_context(serving(settings))
        settings = registry.settings
        child = stack.enter_context(_dagster(settings)) if dagster else None
        _announce(settings, dagster)
        while not stop.wait(0.2):
            if not all(part.is_alive() for part in parts) or (child is not None and child.poll() is not None):
                typer.echo("a part ended by itself; the others are stopped", err=True)
                return 1
        typer.echo("stopping", err=True)
    return 0


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[Registry, list[threading.Thread]]]:
    """The API and the file server at work, each in a thread; the registry's settings have the ports really got."""
    for module in ("uvicorn", "feature_registry.api"):
        needed(module, "server")
    from feature_registry.api import create_app
    from feature_registry.registry import Registry
    from feature_registry.storage.file.server import create_app as create_file_app

    with ExitStack() as stack:
        listeners = {
            name: stack.enter_context(bound(settings.host, getattr(settings, name), name))
            for name in ("port", "file_port")
        }
        ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        settings = settings.model_copy(update=ports)
        settings.home.mkdir(parents=True, exist_ok=True)
        registry = Registry(settings)
        stack.callback(registry.close)
        applications = create_app(registry), create_file_app(settings, file_log(settings))
        pairs = zip(applications, listeners.values(), strict=True)
        yield registry, [stack.enter_context(served(app, listener)) for app, listener in pairs]


def file_log(settings: Settings) -> Path:
    """Where the file server writes a line for each request."""
    return settings.home / "file_server.log"


def _announce(settings: Settings, dagster: bool) -> None:
    typer.echo(f"API          {settings.api_address}  (its documentation: {settings.api_address}/docs)")
    typer.echo(f"file server  {settings.file_address}")
    if dagster:
        typer.echo(f"Dagster      http://{settings.host}:{settings.dagster_port}")
    typer.echo(f"home         {settings.home.absolute()}")
    sys.stdout.flush()


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def bound(host: str, port: int, field: str) -> Iterator[socket.socket]:
    """A listening socket, so that the port is ours before anything is started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(2048)
        except OSError as taken:
            option = f"another --{field.replace('_', '-')}"
            raise Unavailable(f"cannot be used: {taken.strerror}", field=field, value=port, expected=option) from None
        yield listener


@contextmanager
def served(application: Any, listener: socket.socket) -> Iterator[threading.Thread]:
    import uvicorn

    config = uvicorn.Config(application, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until = time.monotonic() + STARTED_WITHIN
    while not server.started:
        if not thread.is_alive() or time.monotonic() > until:
            raise Unavailable("a server did not start", field="port", value=listener.getsockname()[1])
        time.sleep(0.01)
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join(STOPPED_WITHIN)


@contextmanager
def _dagster(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """`dagster dev`, in a session of its own so that all of its processes can be stopped; on a leash, so that they stop
    even when this process is killed.
    """
    what = ["-w", "workspace.yaml"] if Path("workspace.yaml").exists() else ["-m", "feature_registry.definitions"]
    address = ["-h", settings.host, "-p", str(settings.dagster_port)]
    home = prepare(settings)
    said = {"home": settings.home.absolute(), "database": settings.database_url}
    said |= {name: getattr(settings, name) for name in ("host", "port", "file_port", "dagster_port")}
    environment = os.environ | {f"FEATURE_REGISTRY_{name.upper()}": str(value) for name, value in said.items()}
    environment["DAGSTER_HOME"] = str(home)
    command = [sys.executable, "-m", "feature_registry.cli.leash", "dagster", "dev", *what, *address]
    child = subprocess.Popen(  # noqa: S603 - nobody else's words
        command, env=environment, stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield child
    finally:
        for step in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if not _signalled(child, step):
                break
        with suppress(ProcessLookupError):  # a run that heard nothing
            os.killpg(child.pid, signal.SIGKILL)


def _signalled(child: subprocess.Popen[bytes], step: signal.Signals) -> bool:
    """Whether it still runs after the signal and some time to end."""
    if child.poll() is None:
        os.killpg(child.pid, step)
        try:
            child.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            return True
    return False
