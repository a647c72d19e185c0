"""Each fact once, and in few bytes: what a version is stands in the event of its registration alone, names, schemas of
manifests and producers in tables of their own, ids, hashes and times as such, JSON compressed.

What is derived is made anew, and derived again after the last migration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from alembic import op

from feature_registry.catalog.types import Digest, Id, Instant, Packed, packed

revision = "0002_once"
down_revision = "0001_first"

BATCH = 1_000
_LARGE = 2**16
_TIMES = ("created_at", "expires_at")
_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_PLACE = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_THEN = sa.DateTime(timezone=True)
_KEPT = {
    "events": ("events_of_table", "events_by_time", "events_unregistered"),
    "schemas": (),
    "manifests": (),
    "grants": ("grants_of_person",),
}


def upgrade() -> None:
    for table in ("documents", "facets", "lineage", "versions", "feature_tables", "mat_versions", "datastacks"):
        op.drop_table(table)
    for table, indexes in _KEPT.items():
        for index in indexes:
            op.drop_index(index, table)
        op.rename_table(table, f"old_{table}")
    _record()
    _derived()
    _versions()
    _search()
    _carry_over()
    for table in _KEPT:
        op.drop_table(f"old_{table}")


def _record() -> None:
    op.create_table(
        "subjects",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("datastack", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.UniqueConstraint("datastack", "name"),
    )
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("subject_id", _NUMBER, sa.ForeignKey("subjects.id"), nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("version_id", Id),
        sa.Column("details", Packed, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_of_subject", "events", ["subject_id", "number"])
    for kind, column, unique in (("unregistered", "subject_id", False), ("registered", "version_id", True)):
        where = sa.text(f"kind = '{kind}'")
        index = f"events_{kind}"
        op.create_index(index, "events", [column], unique=unique, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "schemas",
        sa.Column("id", Digest, primary_key=True),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("arrow_schema", sa.Text, nullable=False),
    )
    op.create_table(
        "manifest_forms",
        sa.Column("id", Digest, primary_key=True),
        sa.Column("head", sa.LargeBinary, nullable=False),
        sa.Column("example", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "manifests",
        sa.Column("version_id", Id, primary_key=True),
        sa.Column("part", sa.String, primary_key=True),
        sa.Column("form_id", Digest, sa.ForeignKey("manifest_forms.id"), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("person", sa.String, nullable=False),
        sa.Column("version_id", Id, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in ("table", "mode")),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("charged", sa.BigInteger, nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("expires_at", Instant, nullable=False),
    )
    op.create_index("grants_of_person", "grants", ["person", "created_at"])


def _derived() -> None:
    op.create_table(
        "datastacks",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("aligned_volume", sa.String),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_index("ix_datastacks_aligned_volume", "datastacks", ["aligned_volume"])
    op.create_table(
        "mat_versions",
        sa.Column("datastack", sa.String, primary_key=True),
        sa.Column("mat_version", sa.Integer, primary_key=True),
        sa.Column("valid", sa.Boolean, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "feature_tables",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("datastack", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        *(sa.Column(name, sa.String) for name in ("team", "person", "license", "mutability", "durability")),
        sa.Column("face_id", Id),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("brief", sa.JSON, nullable=False),
        sa.UniqueConstraint("datastack", "name"),
    )
    op.create_table(
        "facets",
        sa.Column("table_id", _NUMBER, sa.ForeignKey("feature_tables.id"), primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("value", sa.String, primary_key=True),
    )
    op.create_index("facets_by_value", "facets", ["kind", "value", "table_id"])
    op.create_table(
        "lineage",
        *(
            sa.Column(name, sa.String, primary_key=True)
            for name in ("child_table", "child_at", "parent_table", "parent_at")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("lineage_by_parent", "lineage", ["parent_table", "parent_at"])
    op.create_table(
        "unregistered",
        sa.Column("table", sa.String, primary_key=True),
        sa.Column("at", sa.String, primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table("words", sa.Column("word", sa.String, primary_key=True), sqlite_with_rowid=False)


def _versions() -> None:
    op.create_table(
        "producers",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.String) for name in ("pipeline", "code_version", "model", "config")),
    )
    op.create_table(
        "versions",
        sa.Column("table_id", _NUMBER, sa.ForeignKey("feature_tables.id"), nullable=False),
        sa.Column("producer_id", sa.BigInteger, sa.ForeignKey("producers.id"), nullable=False),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("starts_at", Instant),
        sa.Column("ends_at", Instant),
        sa.Column("mat_version", sa.Integer),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("current", sa.Boolean, nullable=False),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("id", Id, primary_key=True),
        sa.Column("identity", sa.LargeBinary, nullable=False),
        sa.Column("schema_id", Digest, sa.ForeignKey("schemas.id"), nullable=False),
        sa.Column("run_id", Id),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("location", _PLACE, nullable=False),
        sa.Column("snapshot", sa.String),
        sa.Column("format", sa.String, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("patch", Packed),
    )
    covering = ["table_id", "mat_version", "revision", "current", "status", "created_by", "id"]
    op.create_index("versions_of_table", "versions", covering)
    op.create_index("versions_by_place", "versions", ["location"])
    op.create_index(
        "one_revision", "versions", ["table_id", sa.text("coalesce(mat_version, -1)"), "revision"], unique=True
    )


def _search() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE documents USING fts5(name, description, columns, tags, owner,"
            " tokenize = \"unicode61 remove_diacritics 2\", prefix = '2 3')"
        )
    else:
        op.execute("CREATE TABLE documents (rowid BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX documents_words ON documents USING gin (words)")


# ----------------------------------------------------------------------------------------------------- what is kept


def _carry_over() -> None:
    connection = op.get_bind()
    op.execute(
        "INSERT INTO subjects (datastack, name) SELECT DISTINCT datastack, coalesce(name, '') FROM old_events"
        " ORDER BY 1, 2"
    )
    subjects = _table("subjects", id=_NUMBER, datastack=sa.String, name=sa.String)
    ids = {(row.datastack, row.name): row.id for row in connection.execute(sa.select(subjects))}
    said = {"number": _NUMBER, "by": sa.String, "kind": sa.String}
    then = _table(
        "old_events", **said, at=_THEN, datastack=sa.String, name=sa.String, version_id=sa.String, details=sa.JSON
    )
    now = _table("events", **said, at=Instant, subject_id=_NUMBER, version_id=Id, details=Packed)
    for rows in _batches(then, then.c.number):
        for row in rows:
            row["at"] = _utc(row["at"])
            row["subject_id"] = ids[row.pop("datastack"), row.pop("name") or ""]
            if row["kind"] == "registered":
                row["details"].pop("columns", None)  # they are those of the schema
        connection.execute(sa.insert(now), rows)
    schemas = {"fields": sa.JSON, "arrow_schema": sa.Text}
    then, now = _table("old_schemas", id=sa.String, **schemas), _table("schemas", id=Digest, **schemas)
    for rows in _batches(then, then.c.id):
        connection.execute(sa.insert(now), rows)
    _carry_manifests_over(connection)
    grant: dict[str, Any] = dict.fromkeys(("id", "person", "table", "mode", "files"), sa.String)
    grant |= dict.fromkeys(("reserved", "charged"), sa.BigInteger)
    then = _table("old_grants", version_id=sa.String, created_at=_THEN, expires_at=_THEN, **grant)
    now = _table("grants", version_id=Id, created_at=Instant, expires_at=Instant, **grant)
    for rows in _batches(then, then.c.id):
        connection.execute(sa.insert(now), [row | {each: _utc(row[each]) for each in _TIMES} for row in rows])
    if connection.dialect.name == "postgresql":
        op.execute("SELECT setval(pg_get_serial_sequence('events', 'number'), max(number)) FROM events")


def _carry_manifests_over(connection: sa.Connection) -> None:
    """They were Arrow streams, compressed as a whole behind their size."""
    then = _table("old_manifests", version_id=sa.String, part=sa.String, content=sa.LargeBinary)
    now = _table("manifests", version_id=Id, part=sa.String, form_id=Digest, content=sa.LargeBinary)
    forms = _table("manifest_forms", id=Digest, head=sa.LargeBinary, example=sa.LargeBinary)
    examples: dict[str, bytes] = {}
    for rows in _batches(then, then.c.version_id, then.c.part):
        for row in rows:
            size = int.from_bytes(row["content"][:8], "little")
            stream = pa.decompress(row["content"][8:], decompressed_size=size, codec="zstd", asbytes=True)
            end = 8 + int.from_bytes(stream[4:8], "little")
            form, rest = hashlib.sha256(stream[:end]).hexdigest()[:32], stream[end:]
            if form not in examples:
                examples[form] = rest if len(rest) < _LARGE else b""
                connection.execute(sa.insert(forms), {"id": form, "head": stream[:end], "example": examples[form]})
            row |= {"form_id": form, "content": packed(rest, examples[form])}
        connection.execute(sa.insert(now), rows)


def _table(name: str, /, **columns: Any) -> sa.TableClause:
    return sa.table(name, *(sa.column(each, kind) for each, kind in columns.items()))


def _batches(table: sa.TableClause, *keys: sa.ColumnElement[Any]) -> Iterator[list[dict[str, Any]]]:
    """All rows, in the order of the keys."""
    connection, after = op.get_bind(), None
    while True:
        chosen = sa.select(table).order_by(*keys).limit(BATCH)
        if after is not None:
            chosen = chosen.where(sa.tuple_(*keys) > sa.tuple_(*after))
        rows = [dict(row) for row in connection.execute(chosen).mappings()]
        if not rows:
            return
        after = [sa.literal(rows[-1][key.key], key.type) for key in keys]
        yield rows


def _utc(at: datetime) -> datetime:
    """SQLite kept times without their zone."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at
