"""A catalog of the first release is carried over: its record as it was, and what is derived from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from feature_registry.catalog import entries
from feature_registry.catalog.database import MIGRATIONS
from feature_registry.catalog.schema import DERIVED, RECORD, grants, manifest_forms, manifests, metadata, schemas
from feature_registry.model import PlanRequest
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.registry.filled import fill, register, state, write

Catalogs = Callable[[str], Registry]


def first(url: str, held: Registry) -> None:
    """Makes a catalog of the first release that holds the record of another."""
    engine = sa.create_engine(url)
    with engine.begin() as target, held.database.read() as source:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = target
        command.upgrade(config, "0001_first")
        old = sa.MetaData()
        old.reflect(target, only=["events", "schemas", "manifests", "grants"])
        fields = {row.id: row.fields for row in source.execute(sa.select(schemas))}
        events = [dict(row) for row in source.execute(RECORD.order_by("number")).mappings()]
        for event in events:
            if event["kind"] == "registered":
                event["details"]["columns"] = [field["name"] for field in fields[event["details"]["schema"]]]
        ids = source.execute(sa.select(manifests.c.version_id, manifests.c.part)).all()
        streams = [(id, part, entries.manifest(source, id, part) or b"") for id, part in ids]
        rows: dict[str, list[dict[str, Any]]] = {
            "events": events,
            "schemas": [dict(row) for row in source.execute(sa.select(schemas)).mappings()],
            "manifests": [{"version_id": id, "part": part, "content": packed(each)} for id, part, each in streams],
            "grants": [dict(row) for row in source.execute(sa.select(grants)).mappings()],
        }
        for name, some in rows.items():
            target.execute(sa.insert(old.tables[name]), some)
    engine.dispose()


def packed(stream: bytes) -> bytes:
    compressed: bytes = pa.compress(stream, codec="zstd", asbytes=True)
    return len(stream).to_bytes(8, "little") + compressed


def rows(registry: Registry) -> dict[str, Any]:
    """But for what the order of the subjects decides."""
    with registry.database.read() as connection:
        kept = {
            each for each in metadata.sorted_tables if each not in DERIVED and each.name not in ("subjects", "events")
        }
        found = {table.name: connection.execute(sa.select(table)).all() for table in kept - {manifests, manifest_forms}}
        found["events"] = connection.execute(RECORD).all()
        ids = connection.execute(sa.select(manifests.c.version_id, manifests.c.part)).all()
        found["manifests"] = [(*each, entries.manifest(connection, *each)) for each in ids]
    return {name: sorted(map(repr, seen)) for name, seen in found.items()}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_catalog_of_the_first_release_is_carried_over(
    catalogs: Catalogs, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    before = catalogs(kind)
    fill(before, tmp_path / "data")
    before.plan(PlanRequest(table="d/synapses"))
    url = request.getfixturevalue("postgresqls")() if kind == "postgresql" else f"sqlite:///{tmp_path / 'first.db'}"
    first(url, before)
    after = Registry(Settings(home=tmp_path / "home", database=url))
    assert rows(after) == rows(before)
    assert state(after) == state(before)
    for registry in (before, after):
        register(registry, write(tmp_path / "data" / "next", 20), "another")
    assert after.newest_event() == before.newest_event()
    after.close()
