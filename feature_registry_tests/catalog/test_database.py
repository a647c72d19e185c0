"""The catalog on each database, and its migrations."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from feature_registry.catalog import Database, documents
from feature_registry.catalog.schema import VERSION_TABLE, metadata
from feature_registry.errors import Invalid
from feature_registry_tests.contracts.catalog import CatalogContract


class TestSqlite(CatalogContract):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Iterator[Database]:
        opened = Database(f"sqlite:///{tmp_path / 'catalog.db'}")
        yield opened
        opened.close()


class TestPostgresql(CatalogContract):
    @pytest.fixture
    def database(self, postgresql: str) -> Iterator[Database]:
        opened = Database(postgresql)
        yield opened
        opened.close()


def test_the_migrations_make_what_the_schema_says(tmp_path: Path) -> None:
    opened = Database(f"sqlite:///{tmp_path / 'catalog.db'}")
    with opened.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, metadata)
    # The full-text index is SQLite's own, and spreads over tables of its own.
    own = [difference for difference in differences if not str(difference[-1]).startswith(("documents", "Index"))]
    assert [difference for difference in own if difference[0] != "remove_index"] == []


def test_many_may_open_a_new_catalog_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    with ThreadPoolExecutor(6) as pool:
        for opened in pool.map(lambda _: Database(url), range(6)):
            opened.close()


def test_a_wrong_url_is_refused_without_its_secret(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as raised:
        Database("no url with:secret@inside")
    assert "secret" not in str(raised.value)


def test_another_users_migrations_in_the_same_database_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        other.execute("INSERT INTO alembic_version VALUES ('theirs')")
    for _ in range(2):
        Database(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT * FROM alembic_version").fetchall() == [("theirs",)]
        assert other.execute("SELECT * FROM feature_registry_migration").fetchall() == [("0002_once",)]


def test_the_index_of_the_past_is_that_of_the_migration(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    Database(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as opened:
        made = opened.execute("SELECT sql FROM sqlite_master WHERE name = 'documents'").fetchone()
    assert made == (documents.SQLITE,)
