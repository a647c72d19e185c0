"""The tables of the catalog's database. `events` is the record; every other table here but the last three is derived.

Migrations change them; a test holds the two equal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    literal_column,
    text,
)


class Instant(TypeDecorator[datetime]):
    """An aware UTC time; SQLite keeps it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite numbers rows only in a column of type INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")
metadata = MetaData()
# Dagster may keep its tables in the same database, and owns Alembic's usual `alembic_version`.
VERSION_TABLE = "feature_registry_migration"

events = Table(
    "events",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("by", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("datastack", String, nullable=False),
    Column("name", String),
    Column("version_id", String),
    Column("details", JSON, nullable=False),
    Index("events_of_table", "datastack", "name", "number"),
    Index("events_by_time", "at", "number"),
    sqlite_autoincrement=True,  # a number is never given twice
)
# Asked for at each registration, and there are few. A parameter would not let SQLite use its index.
UNREGISTERED = events.c.kind == literal_column("'unregistered'")
Index(
    "events_unregistered",
    events.c.datastack,
    events.c.name,
    sqlite_where=UNREGISTERED,
    postgresql_where=UNREGISTERED,
)

datastacks = Table(
    "datastacks",
    metadata,
    Column("name", String, primary_key=True),
    Column("aligned_volume", String, index=True),
    Column("body", JSON, nullable=False),
)

mat_versions = Table(
    "mat_versions",
    metadata,
    Column("datastack", String, primary_key=True),
    Column("mat_version", Integer, primary_key=True),
    Column("valid", Boolean, nullable=False),
    Column("body", JSON, nullable=False),
)

feature_tables = Table(
    "feature_tables",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("datastack", String, nullable=False),
    Column("name", String, nullable=False),
    Column("team", String),
    Column("person", String),
    Column("license", String),
    Column("mutability", String),
    Column("durability", String),
    # What a reader gets who names no version: the latest, else the unversioned one.
    Column("face_id", String),
    Column("body", JSON, nullable=False),
    # The body without the columns, which are most of it and of no use in a list.
    Column("brief", JSON, nullable=False),
    UniqueConstraint("datastack", "name"),
)

# What a table can be found by, beside its own columns: tags, columns, references.
facets = Table(
    "facets",
    metadata,
    Column("table_id", ForeignKey("feature_tables.id"), primary_key=True),
    Column("kind", String, primary_key=True),
    Column("value", String, primary_key=True),
    Index("facets_by_value", "kind", "value"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String, primary_key=True),
    Column("table_id", ForeignKey("feature_tables.id"), nullable=False),
    Column("mat_version", Integer),
    Column("revision", Integer, nullable=False),
    Column("status", String, nullable=False),
    # The newest published (else deprecated) revision of its materialization version.
    Column("current", Boolean, nullable=False),
    Column("location", String, nullable=False),
    Column("identity", String, nullable=False),
    Column("format", String, nullable=False),
    Column("pipeline", String),
    Column("model", String),
    Column("run_id", String),
    Column("created_by", String, nullable=False),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("schema_id", ForeignKey("schemas.id"), nullable=False),
    Column("checks", JSON, nullable=False),
    Column("body", JSON, nullable=False),
    # Holds all that says who sees a version, whose row need not be read for it. No index begins with `mat_version`:
    # SQLite would take it, and sort all that is at a version for each page of it.
    Index("versions_of_table", "table_id", "mat_version", "revision", "current", "status", "created_by", "id"),
    Index("versions_by_place", "location", "identity"),
)
# NULLs are distinct in unique indexes, so the unversioned ones count as -1.
Index("one_revision", versions.c.table_id, text("coalesce(mat_version, -1)"), versions.c.revision, unique=True)

# What a version was derived from, by exact references, which name the same for ever: datastack/name, and 1507.0. An
# edge may be there before its parent is known, and after it was unregistered.
lineage = Table(
    "lineage",
    metadata,
    Column("child_table", String, primary_key=True),
    Column("child_at", String, primary_key=True),
    Column("parent_table", String, primary_key=True),
    Column("parent_at", String, primary_key=True),
    Index("lineage_by_parent", "parent_table", "parent_at"),
    sqlite_with_rowid=False,
)

schemas = Table(
    "schemas",
    metadata,
    Column("id", String, primary_key=True),
    Column("fields", JSON, nullable=False),
    Column("arrow_schema", Text, nullable=False),
)

manifests = Table(
    "manifests",
    metadata,
    Column("version_id", String, primary_key=True),
    # files: a row a data file; groups: a row a row group, of versions with several layouts.
    Column("part", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("id", String, primary_key=True),
    Column("person", String, nullable=False),
    Column("version_id", String, nullable=False),
    Column("table", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("files", Text, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("charged", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index("grants_of_person", "person", "created_at"),
)
