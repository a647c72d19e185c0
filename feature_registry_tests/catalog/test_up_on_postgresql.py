"""One PostgreSQL database for the catalog and for Dagster."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from feature_registry.client import FeatureRegistry
from feature_registry.demo.cortex import DATASTACK
from feature_registry_tests.up import up, wait_for


def held(url: str, table: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        count = connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one()
    engine.dispose()
    return int(count)


@pytest.mark.slow
def test_postgresql_holds_the_catalog_and_dagster(tmp_path: Path, postgresql: str) -> None:
    """One database, the catalog's tables beside Dagster's."""
    url = sa.make_url(postgresql).set(drivername="postgresql", password="hush").render_as_string(hide_password=False)
    with up(tmp_path, "--database", url) as running:
        listed = subprocess.run(["ps", "-A", "-o", "args="], check=True, capture_output=True, text=True).stdout
        assert running.ui.rpartition(":")[2] in listed
        assert "hush" not in listed
        running.ask("{ version }")
        running.materialize(2)
        running.register()
        assert len(FeatureRegistry(DATASTACK, server=running.api).search(mat_version=2)) == 10
        assert running.partitions("synapses") == {"2"}
        assert wait_for(lambda: running.partitions("spine_shapes") == {"2"})
    assert held(postgresql, "versions") == 10
    assert held(postgresql, "event_logs") > 50
    assert held(postgresql, "alembic_version") == held(postgresql, "feature_registry_migration") == 1
    assert not list(running.home.rglob("*.db"))
    paths = [*tmp_path.rglob("*"), *running.home.rglob("*")]
    written = [path for path in paths if path.is_file() and b"hush" in path.read_bytes()]
    assert written == []
