"""The tables of the catalog's database. `subjects` and `events` are the record, which `schemas`, `manifests` and
`manifest_forms` belong to; `grants` stand aside; every other table here is derived from the record.

Migrations change them; a test holds the two equal.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnClause,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    func,
    literal_column,
    select,
    text,
)

from feature_registry.catalog.types import Digest, Id, Instant, Packed

# SQLite numbers rows only in a column of type INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")
# Sorted by its bytes, so that what lies below a place is a range.
Place = String().with_variant(String(collation="C"), "postgresql")
metadata = MetaData()
# Dagster may keep its tables in the same database, and owns Alembic's usual `alembic_version`.
VERSION_TABLE = "feature_registry_migration"

# What events are about: a datastack, whose name is empty, or a table.
subjects = Table(
    "subjects",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("datastack", String, nullable=False),
    Column("name", String, nullable=False),
    UniqueConstraint("datastack", "name"),
)

events = Table(
    "events",
    metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),  # never before an older event's
    Column("subject_id", ForeignKey("subjects.id"), nullable=False),
    Column("by", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("version_id", Id),
    Column("details", Packed, nullable=False),
    Index("events_of_subject", "subject_id", "number"),
    sqlite_autoincrement=True,  # a number is never given twice
)
# Asked for at each registration, and there are few. A parameter would not let SQLite use its index.
UNREGISTERED = events.c.kind == literal_column("'unregistered'")
Index("events_unregistered", events.c.subject_id, sqlite_where=UNREGISTERED, postgresql_where=UNREGISTERED)
# What was said of a version when it was registered is kept there alone.
REGISTERED = events.c.kind == literal_column("'registered'")
Index("events_registered", events.c.version_id, unique=True, sqlite_where=REGISTERED, postgresql_where=REGISTERED)

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
    Column("face_id", Id),
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
    Index("facets_by_value", "kind", "value", "table_id"),
)

# What made table versions, beside its runs; the id is a hash of the rest.
producers = Table(
    "producers",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("pipeline", String),
    Column("code_version", String),
    Column("model", String),
    Column("config", String),
)

# What is searched of a version, and its state; what else was said of it is in the event of its registration.
versions = Table(
    "versions",
    metadata,
    # The wide numbers first: PostgreSQL pads what stands before them.
    Column("table_id", ForeignKey("feature_tables.id"), nullable=False),
    Column("producer_id", ForeignKey("producers.id"), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("starts_at", Instant),
    Column("ends_at", Instant),
    Column("mat_version", Integer),
    Column("revision", Integer, nullable=False),
    # The newest published (else deprecated) revision of its materialization version.
    Column("current", Boolean, nullable=False),
    Column("failed", Boolean, nullable=False),  # whether one of the checks did
    Column("id", Id, primary_key=True),
    Column("identity", LargeBinary, nullable=False),
    Column("schema_id", ForeignKey("schemas.id"), nullable=False),
    Column("run_id", Id),
    Column("status", String, nullable=False),
    Column("location", Place, nullable=False),
    Column("snapshot", String),
    Column("format", String, nullable=False),
    Column("created_by", String, nullable=False),
    # What later events changed of what was said: `checks`, fields of `inspection`, and others.
    Column("patch", Packed),
    # Holds all that says who sees a version, whose row need not be read for it. No index begins with `mat_version`:
    # SQLite would take it, and sort all that is at a version for each page of it.
    Index("versions_of_table", "table_id", "mat_version", "revision", "current", "status", "created_by", "id"),
    Index("versions_by_place", "location"),
)
# NULLs are distinct in unique indexes, so the unversioned ones count as -1. As the index has it: a parameter would not
# let PostgreSQL use it.
UNVERSIONED: ColumnClause[int] = literal_column("-1", Integer)
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

# The exact references of what was there once, as edges name them.
unregistered = Table(
    "unregistered",
    metadata,
    Column("table", String, primary_key=True),
    Column("at", String, primary_key=True),
    sqlite_with_rowid=False,
)

# All that documents ever held, for those who mistype it.
words = Table("words", metadata, Column("word", String, primary_key=True), sqlite_with_rowid=False)

schemas = Table(
    "schemas",
    metadata,
    Column("id", Digest, primary_key=True),
    Column("fields", JSON, nullable=False),
    Column("arrow_schema", Text, nullable=False),
)

# What many manifests begin with, which is their schema, by its hash, and how the first of them goes on.
manifest_forms = Table(
    "manifest_forms",
    metadata,
    Column("id", Digest, primary_key=True),
    Column("head", LargeBinary, nullable=False),
    Column("example", LargeBinary, nullable=False),
)

manifests = Table(
    "manifests",
    metadata,
    Column("version_id", Id, primary_key=True),
    # files: a row a data file; groups: a row a row group, of versions with several layouts.
    Column("part", String, primary_key=True),
    Column("form_id", ForeignKey("manifest_forms.id"), nullable=False),
    Column("content", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

grants = Table(
    "grants",
    metadata,
    Column("id", String, primary_key=True),
    Column("person", String, nullable=False),
    Column("version_id", Id, nullable=False),
    Column("table", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("files", Text, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("charged", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Index("grants_of_person", "person", "created_at"),
)

# What follows from the record, in an order in which rows may be added.
DERIVED = (datastacks, mat_versions, feature_tables, facets, producers, versions, lineage, unregistered, words)
# Joins a version with the event of its registration.
SAID = and_(events.c.version_id == versions.c.id, REGISTERED)
# Events as they are read: with the names of what they are about.
RECORD = select(
    events.c.number,
    events.c.at,
    events.c.by,
    events.c.kind,
    subjects.c.datastack,
    func.nullif(subjects.c.name, "").label("name"),
    events.c.version_id,
    events.c.details,
).join(subjects, subjects.c.id == events.c.subject_id)
