"""Alembic's entry: runs the migrations on the connection that `Database` opened, in its transaction."""

from __future__ import annotations

from alembic import context

from feature_registry.catalog.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
    version_table=VERSION_TABLE,
)
context.run_migrations()
