"""The first catalog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001_first"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
_INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    _record()
    _derived()
    _aside()
    _search()


def _record() -> None:
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", _INSTANT, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("datastack", sa.String, nullable=False),
        sa.Column("name", sa.String),
        sa.Column("version_id", sa.String),
        sa.Column("details", sa.JSON, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_of_table", "events", ["datastack", "name", "number"])
    op.create_index("events_by_time", "events", ["at", "number"])
    unregistered = sa.text("kind = 'unregistered'")
    op.create_index(
        "events_unregistered",
        "events",
        ["datastack", "name"],
        sqlite_where=unregistered,
        postgresql_where=unregistered,
    )


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
        *(sa.Column(name, sa.String) for name in ("team", "person", "license", "mutability", "durability", "face_id")),
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
    op.create_index("facets_by_value", "facets", ["kind", "value"])
    op.create_table(
        "schemas",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("arrow_schema", sa.Text, nullable=False),
    )
    _versions()


def _versions() -> None:
    op.create_table(
        "versions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("table_id", _NUMBER, sa.ForeignKey("feature_tables.id"), nullable=False),
        sa.Column("mat_version", sa.Integer),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("current", sa.Boolean, nullable=False),
        sa.Column("location", sa.String, nullable=False),
        sa.Column("identity", sa.String, nullable=False),
        sa.Column("format", sa.String, nullable=False),
        *(sa.Column(name, sa.String) for name in ("pipeline", "model", "run_id")),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("starts_at", _INSTANT),
        sa.Column("ends_at", _INSTANT),
        sa.Column("schema_id", sa.String, sa.ForeignKey("schemas.id"), nullable=False),
        sa.Column("checks", sa.JSON, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
    )
    covering = ["table_id", "mat_version", "revision", "current", "status", "created_by", "id"]
    op.create_index("versions_of_table", "versions", covering)
    op.create_index("versions_by_place", "versions", ["location", "identity"])
    op.create_index(
        "one_revision", "versions", ["table_id", sa.text("coalesce(mat_version, -1)"), "revision"], unique=True
    )
    op.create_table(
        "lineage",
        sa.Column("version_id", sa.String, sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("parent", sa.String, primary_key=True),
        sa.Column("parent_table", sa.String, nullable=False),
    )
    op.create_index("ix_lineage_parent_table", "lineage", ["parent_table"])


def _aside() -> None:
    op.create_table(
        "manifests",
        sa.Column("version_id", sa.String, primary_key=True),
        sa.Column("part", sa.String, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.String, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("person", "version_id", "table", "mode")),
        sa.Column("files", sa.Text, nullable=False),
        sa.Column("reserved", sa.BigInteger, nullable=False),
        sa.Column("charged", sa.BigInteger, nullable=False),
        sa.Column("created_at", _INSTANT, nullable=False),
        sa.Column("expires_at", _INSTANT, nullable=False),
    )
    op.create_index("grants_of_person", "grants", ["person", "created_at"])


def _search() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE documents USING fts5(name, description, columns, tags, owner,"
            " tokenize = \"unicode61 remove_diacritics 2\", prefix = '2 3')"
        )
    else:
        op.execute("CREATE TABLE documents (rowid BIGINT PRIMARY KEY, words TSVECTOR NOT NULL)")
        op.execute("CREATE INDEX documents_words ON documents USING gin (words)")
