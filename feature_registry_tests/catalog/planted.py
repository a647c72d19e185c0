"""Plants table versions in a catalog without any data behind them."""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pydantic_core import to_jsonable_python

from feature_registry.catalog import Connection, Database, entries, events
from feature_registry.model import Inspection, MaterializationVersion, StoredField, TableRef, TableVersion
from feature_registry.registry import manifests

SCHEMA = pa.schema({"id": pa.int64(), "size": pa.int32()})


def inspection(location: str, schema: pa.Schema = SCHEMA, **fields: Any) -> Inspection:
    sink = pa.BufferOutputStream()
    pa.ipc.new_stream(sink, schema).close()
    seen = {"format": "parquet", "rows": 10, "bytes": 100, "files": 1, "fingerprint": location} | fields
    return Inspection(
        location=location,
        fields=tuple(StoredField(name=field.name, type=str(field.type)) for field in schema),
        arrow_schema=base64.b64encode(sink.getvalue()).decode(),
        **seen,
    )


def describe(database: Database, ref: str, **metadata: Any) -> None:
    wanted = TableRef.parse(ref)
    with database.write() as connection:
        events.record(
            connection,
            "described",
            by="ann",
            datastack=wanted.datastack,
            name=wanted.name,
            details=metadata or {"description": ""},
        )


def plant(database: Database, ref: str, *, status: str = "published", by: str = "ann", **fields: Any) -> TableVersion:
    """Registers a version, and publishes or deprecates it if so said; the table is described if it is new."""
    wanted = TableRef.parse(ref)
    with database.read() as connection:
        known = entries.table(connection, wanted.datastack, wanted.name)
    if known is None:
        describe(database, ref)
    with database.write() as connection:
        return _write(connection, wanted, status, by, fields)


def _write(connection: Connection, wanted: TableRef, status: str, by: str, fields: dict[str, Any]) -> TableVersion:
    identity = str(uuid.uuid4())
    schema = fields.pop("schema", SCHEMA)
    seen = {name: fields.pop(name) for name in ("format", "snapshot", "partition_columns") if name in fields}
    seen["layouts"] = fields.pop("stored_layouts", ())
    version = TableVersion(
        id=identity,
        datastack=wanted.datastack,
        name=wanted.name,
        mat_version=entries.number(wanted),
        revision=entries.next_revision(connection, wanted),
        inspection=inspection(fields.pop("location", f"s3://bucket/{identity}"), schema, **seen),
        created_at=datetime.now(UTC),
        created_by=by,
        **fields,
    )
    stored = version.inspection
    schema_id = manifests.schema_id(stored)
    entries.keep_schema(connection, schema_id, to_jsonable_python(stored.fields), stored.arrow_schema)
    body = version.model_dump(
        mode="json", exclude={"status": True, "checks": True, "inspection": {"fields", "arrow_schema"}}
    )
    about = {"by": by, "datastack": version.datastack, "name": version.name, "version_id": version.id}
    details = {"version": body, "schema": schema_id, "checks": version.checks}
    events.record(connection, "registered", **about, details=details)
    if status != "draft":
        events.record(connection, "published", **about)
    if status == "deprecated":
        events.record(connection, "deprecated", **about)
    return version


def materialize(database: Database, datastack: str, mat_version: int, **fields: Any) -> None:
    body = MaterializationVersion(
        datastack=datastack, mat_version=mat_version, time_stamp=datetime(2024, 1, 1, tzinfo=UTC), **fields
    )
    with database.write() as connection:
        details = body.model_dump(mode="json")
        events.record(connection, "materialized", by="ann", datastack=datastack, details=details)
