"""Derives the current state from events, one function a kind. Replaying all events rebuilds every derived table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from feature_registry.catalog import entries
from feature_registry.catalog.documents import index
from feature_registry.catalog.schema import (
    datastacks,
    facets,
    feature_tables,
    lineage,
    mat_versions,
    versions,
)
from feature_registry.model import Event, FeatureTable, TableRef

Row = dict[str, Any]


def derive(connection: sa.Connection, event: Event) -> None:
    _KINDS[event.kind](connection, event)


def _datastack(connection: sa.Connection, event: Event) -> None:
    body = event.details
    _upsert(
        connection, datastacks, {"name": event.datastack, "aligned_volume": body.get("aligned_volume"), "body": body}
    )


def _materialized(connection: sa.Connection, event: Event) -> None:
    body = event.details
    row = {"datastack": event.datastack, "mat_version": body["mat_version"], "valid": body["valid"], "body": body}
    _upsert(connection, mat_versions, row)
    touched = (
        sa.select(versions.c.table_id)
        .join(feature_tables, feature_tables.c.id == versions.c.table_id)
        .where(feature_tables.c.datastack == event.datastack, versions.c.mat_version == body["mat_version"])
    )
    for table_id in connection.execute(touched.distinct()).scalars().all():
        _face(connection, table_id)


def _described(connection: sa.Connection, event: Event) -> None:
    """The changes of an event overwrite the fields that they name; the first one makes the table."""
    found = connection.execute(_of_table(event)).one_or_none()
    body = (found.body if found else {"datastack": event.datastack, "name": event.name}) | event.details
    table = FeatureTable.model_validate(body)
    row = {
        "datastack": table.datastack,
        "name": table.name,
        "team": table.owner and table.owner.team,
        "person": table.owner and table.owner.person,
        "license": table.license,
        "mutability": table.mutability,
        "durability": table.durability,
        "body": body,
    }
    if found is None:
        inserted = sa.insert(feature_tables).values(row).returning(feature_tables.c.id)
        table_id = connection.execute(inserted).scalar_one()
    else:
        table_id = found.id
        connection.execute(sa.update(feature_tables).where(feature_tables.c.id == table_id).values(row))
    own = _facets_of(table)
    connection.execute(sa.delete(facets).where(facets.c.table_id == table_id, facets.c.kind.in_(own)))
    for kind, values in own.items():
        _add_facets(connection, table_id, kind, values)
    index(connection, table_id, table)


def _facets_of(table: FeatureTable) -> dict[str, set[str]]:
    """What people say that a table is found by."""
    columns = table.columns.values()
    return {
        "tag": set(table.tags),
        "reference": {target.rsplit(".", 1)[0] for target in table.references.values()},
        "key": set(table.key),
        "unit": {column.unit for column in columns if column.unit is not None},
        "kind": {column.kind.kind for column in columns},
        "hash": {buckets.column for buckets in table.hash_buckets},
    }


def _registered(connection: sa.Connection, event: Event) -> None:
    body = event.details["version"]
    found = connection.execute(_of_table(event)).one()
    inspection, producer = body["inspection"], body["producer"]
    span = body.get("time_range") or {"start": body.get("snapshot_time"), "end": body.get("snapshot_time")}
    connection.execute(
        sa.insert(versions).values(
            id=event.version_id,
            table_id=found.id,
            mat_version=body["mat_version"],
            revision=body["revision"],
            status="draft",
            current=False,
            location=inspection["location"],
            identity=entries.identity(inspection["snapshot"], inspection["fingerprint"]),
            format=inspection["format"],
            pipeline=producer.get("pipeline"),
            model=producer.get("model"),
            run_id=producer.get("run_id"),
            created_by=event.by,
            starts_at=_instant(span["start"]),
            ends_at=_instant(span["end"]),
            schema_id=event.details["schema"],
            checks=event.details["checks"],
            body=body,
        )
    )
    columns = set(event.details["columns"])
    if _add_facets(connection, found.id, "column", columns):
        index(connection, found.id, FeatureTable.model_validate(found.body))
    _add_facets(connection, found.id, "partition", set(inspection["partition_columns"]))
    parents = [
        {"version_id": event.version_id, "parent": parent, "parent_table": _table_of(parent)}
        for parent in dict.fromkeys(body["derived_from"])
    ]
    if parents:
        connection.execute(sa.insert(lineage), parents)


def _checked(connection: sa.Connection, event: Event) -> None:
    """A check's newest result replaces its older one."""
    chosen = versions.c.id == event.version_id
    before = connection.execute(sa.select(versions.c.checks).where(chosen)).scalar_one()
    merged = {check["name"]: check for check in [*before, *event.details["checks"]]}
    connection.execute(sa.update(versions).where(chosen).values(checks=list(merged.values())))


def _status(status: str) -> Callable[[sa.Connection, Event], None]:
    def change(connection: sa.Connection, event: Event) -> None:
        chosen = versions.c.id == event.version_id
        connection.execute(sa.update(versions).where(chosen).values(status=status))
        row = connection.execute(sa.select(versions.c.table_id, versions.c.mat_version).where(chosen)).one()
        _current(connection, row.table_id, row.mat_version)
        _face(connection, row.table_id)

    return change


def _current(connection: sa.Connection, table_id: int, mat_version: int | None) -> None:
    """Of the revisions at one materialization version, readers get the newest published, else deprecated one."""
    revisions = sa.and_(versions.c.table_id == table_id, versions.c.mat_version.is_not_distinct_from(mat_version))
    best = (
        sa.select(versions.c.id)
        .where(revisions, versions.c.status != "draft")
        .order_by(versions.c.status != "published", versions.c.revision.desc())
        .limit(1)
    )
    best_id = connection.execute(best).scalar()
    connection.execute(sa.update(versions).where(revisions).values(current=versions.c.id == (best_id or "")))


def _face(connection: sa.Connection, table_id: int) -> None:
    """Latest is the highest valid, published materialization version; unversioned tables are their own face."""
    valid = sa.func.coalesce(mat_versions.c.valid, sa.true())
    best = (
        sa.select(versions.c.id)
        .join(feature_tables, feature_tables.c.id == versions.c.table_id)
        .outerjoin(mat_versions, entries.MATERIALIZED)
        .where(versions.c.table_id == table_id, versions.c.current, valid)
        .order_by(versions.c.mat_version.is_(None), versions.c.status != "published", versions.c.mat_version.desc())
        .limit(1)
    )
    face = connection.execute(best).scalar()
    connection.execute(sa.update(feature_tables).where(feature_tables.c.id == table_id).values(face_id=face))


def _of_table(event: Event) -> sa.Select[Any]:
    named = sa.and_(feature_tables.c.datastack == event.datastack, feature_tables.c.name == event.name)
    return sa.select(feature_tables).where(named)


def _add_facets(connection: sa.Connection, table_id: int, kind: str, values: set[str]) -> bool:
    """Adds what is missing; whether there was any."""
    held = sa.select(facets.c.value).where(facets.c.table_id == table_id, facets.c.kind == kind)
    missing = values - set(connection.execute(held).scalars())
    if missing:
        rows = [{"table_id": table_id, "kind": kind, "value": value} for value in sorted(missing)]
        connection.execute(sa.insert(facets), rows)
    return bool(missing)


def _upsert(connection: sa.Connection, table: sa.Table, row: Row) -> None:
    dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
    keys = [column.name for column in table.primary_key]
    changes = {name: value for name, value in row.items() if name not in keys}
    insert = dialect.insert(table).values(row)
    connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=changes))


def _table_of(parent: str) -> str:
    ref = TableRef.parse(parent)
    return f"{ref.datastack}/{ref.name}"


def _instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


_KINDS: dict[str, Callable[[sa.Connection, Event], None]] = {
    "datastack": _datastack,
    "materialized": _materialized,
    "described": _described,
    "registered": _registered,
    "checked": _checked,
    "published": _status("published"),
    "deprecated": _status("deprecated"),
}
