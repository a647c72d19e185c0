from __future__ import annotations

import sys
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from feature_registry.client import FeatureRegistry
from feature_registry_tests.client import tables
from feature_registry_tests.client.conftest import Installed
from feature_registry_tests.client.tables import ROOT

SYNAPSES = tables.synapses()
TABLES = {"synapses", "segclr", "parted", "evolved", "logical", "order", "flywire", "nothing"}


def grants(installed: Installed) -> int:
    import sqlite3

    database = installed.deployment.settings.home / "catalog.db"
    with sqlite3.connect(database) as connection:
        return int(connection.execute("SELECT count(*) FROM grants").fetchone()[0])


def test_every_table_is_a_view(installed: Installed) -> None:
    before = grants(installed)
    with installed.http.duckdb() as connection:
        assert {row[0] for row in connection.sql("SHOW TABLES").fetchall()} == TABLES
        columns = connection.sql("DESCRIBE synapses").fetchall()
        assert [(row[0], row[1]) for row in columns][:3] == [
            ("id", "BIGINT"),
            ("post_pt_root_id", "BIGINT"),
            ("size", "INTEGER"),
        ]
    assert grants(installed) == before  # nothing is planned that is not read


@pytest.mark.parametrize("name", sorted(TABLES))
def test_a_placeholder_has_the_types_of_what_is_read(registry: FeatureRegistry, name: str) -> None:
    with registry.duckdb() as connection:
        promised = connection.sql(f'DESCRIBE "{name}"').fetchall()
        assert connection.sql(f'DESCRIBE SELECT * FROM "{name}"').fetchall() == promised
        connection.prepare(f'FROM "{name}"')
        assert connection.sql(f'DESCRIBE "{name}"').fetchall() == promised


def test_rows_are_the_tables(registry: FeatureRegistry) -> None:
    with registry.duckdb() as connection:
        found = connection.sql("FROM synapses ORDER BY id").pl()
        assert_frame_equal(found.cast({"created": SYNAPSES.schema["created"]}), SYNAPSES.sort("id"))
        assert connection.sql("SELECT count(*) FROM nothing").fetchall() == [(0,)]
        assert connection.sql("FROM evolved ORDER BY id").fetchall() == tables.evolved().rows()
        assert connection.sql("FROM flywire").fetchall() == [(2**64 - 1,), (2**63,), (5,)]
        assert connection.sql("SELECT DISTINCT typeof(root_id) FROM logical").fetchall() == [("UBIGINT",)]


@pytest.mark.parametrize("name", ["segclr", "parted"])
def test_partition_columns_are_columns(registry: FeatureRegistry, name: str) -> None:
    with registry.duckdb() as connection:
        found = connection.sql(f"SELECT region, count(*) AS n FROM {name} GROUP BY region").fetchall()
    expected = tables.segclr().group_by("region").len().rows()
    assert set(found) == set(expected)


@pytest.mark.parametrize(
    "query",
    [
        'SELECT count(*) FROM "order"',
        'select COUNT(*) from Main."ORDER" -- \'x',
        'WITH o AS (SELECT * FROM "order") SELECT count(*) FROM o',
        'SELECT count(*) FROM (VALUES (1)) JOIN "order" ON true',
        'CREATE OR REPLACE VIEW mine AS FROM "order"; SELECT count(*) FROM mine',
        """/* ü */ SELECT count(*) FROM "order" WHERE 'ü' <> 'synapses'""",
    ],
)
def test_tables_are_found_in_any_query(registry: FeatureRegistry, query: str) -> None:
    with registry.duckdb() as connection:
        assert connection.sql(query).fetchall() == [(10,)]
        assert connection.named("FROM synapses") == ["synapses"]  # not planned yet


def test_a_query_is_pruned_by_duckdb_itself(installed: Installed) -> None:
    size = installed.http["synapses"].bytes
    before = installed.bytes_sent()
    with installed.http.duckdb() as connection:
        found = connection.sql(f"SELECT count(*) FROM synapses WHERE post_pt_root_id = {ROOT + 3}").fetchall()
    assert found == [(tables.SYNAPSES // tables.CELLS,)]
    assert 0 < installed.bytes_sent() - before < size / 3


def test_bytes_charged_are_bytes_sent(installed: Installed) -> None:
    before = installed.bytes_sent()
    with installed.http.duckdb(["synapses"]) as connection:
        connection.prepare("FROM synapses")
        connection.execute("SELECT sum(size), avg(score) FROM synapses").fetchall()
    import sqlite3

    with sqlite3.connect(installed.deployment.settings.home / "catalog.db") as catalog:
        [charged] = catalog.execute("SELECT charged FROM grants ORDER BY created_at DESC LIMIT 1").fetchone()
    assert charged == installed.bytes_sent() - before > 0


def test_chosen_tables_with_their_rows(registry: FeatureRegistry) -> None:
    with registry.duckdb({"synapses": [("post_pt_root_id", "==", ROOT)], "order@1507": None}) as connection:
        assert {row[0] for row in connection.sql("SHOW TABLES").fetchall()} == {"synapses", "order"}
        assert connection.sql("SELECT count(*) FROM synapses").fetchall() == [(tables.SYNAPSES // tables.CELLS,)]


@pytest.mark.parametrize(
    "where",
    [
        [("id", "in", [ROOT, ROOT + 7])],
        [("id", "not in", [ROOT])],
        [("target_id", "not in", [])],
        [("target_id", "in", [])],
        [[("size", ">=", 900), ("cell_type", "==", "BC")], [("cell_type", "==", "it's")]],
        [("created", "<", "2024-01-01T01:00:00Z")],
        [("score", "==", 0.5154639)],
    ],
)
def test_a_view_has_the_rows_that_a_scan_has(registry: FeatureRegistry, where: list[Any]) -> None:
    expected = registry["synapses"].scan(where).collect()["id"].sort().to_list()
    with registry.duckdb({"synapses": where}) as connection:
        assert [row[0] for row in connection.sql("SELECT id FROM synapses ORDER BY id").fetchall()] == expected


def test_a_missing_duckdb_is_named(registry: FeatureRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ImportError, match=r"feature-registry\[duckdb\]"):
        registry.duckdb()


def test_it_is_the_connection_too(registry: FeatureRegistry) -> None:
    frame = pl.DataFrame({"post_pt_root_id": [ROOT, ROOT + 1]})
    with registry.duckdb() as connection:
        connection.register("cells", frame.to_arrow())
        query = "SELECT count(*) FROM synapses SEMI JOIN cells USING (post_pt_root_id) WHERE size >= ?"
        assert connection.execute(query, [0]).fetchone() == (2 * tables.SYNAPSES // tables.CELLS,)
        assert connection.sql("SELECT count(*) FROM frame").fetchone() == (2,)  # a Python name
        assert connection.table("order").count("*").fetchone() == (10,)


def test_a_join_of_tables(registry: FeatureRegistry) -> None:
    with registry.duckdb() as connection:
        query = 'SELECT count(*) FROM synapses JOIN "order" USING (id)'
        assert connection.sql(query).fetchall() == [(10,)]
