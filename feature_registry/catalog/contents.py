"""Reads all that the catalog holds. What many entries have in common they share, and a version is read once."""

from __future__ import annotations

import sqlalchemy as sa

from feature_registry.catalog import said
from feature_registry.catalog.entries import SAID_OF
from feature_registry.catalog.schema import SAID, datastacks, events, feature_tables, mat_versions, schemas, versions
from feature_registry.model import (
    Contents,
    Datastack,
    Entry,
    FeatureTable,
    MaterializationVersion,
    StoredField,
)

PAGE = 1_000


def contents(connection: sa.Connection, drafts: bool) -> Contents:
    """Everything but, unless asked for, drafts. The connection must see one instant."""
    stacks = connection.execute(sa.select(datastacks.c.body).order_by(datastacks.c.name)).scalars()
    bodies = sa.select(mat_versions.c.body).order_by(mat_versions.c.datastack, mat_versions.c.mat_version)
    frozen = [MaterializationVersion.model_validate(body) for body in connection.execute(bodies).scalars()]
    return Contents(
        datastacks=tuple(map(Datastack.model_validate, stacks)),
        mat_versions=tuple(frozen),
        entries=tuple(_entries(connection, drafts, {(each.datastack, each.mat_version): each for each in frozen})),
    )


def _entries(
    connection: sa.Connection, drafts: bool, frozen: dict[tuple[str, int | None], MaterializationVersion]
) -> list[Entry]:
    described = connection.execute(sa.select(feature_tables.c.id, feature_tables.c.body))
    tables = {row.id: FeatureTable.model_validate(row.body) for row in described}
    stored = {
        row.id: (tuple(map(StoredField.model_validate, row.fields)), row.arrow_schema)
        for row in connection.execute(sa.select(schemas))
    }
    columns = (versions.c.table_id, versions.c.schema_id, *SAID_OF)
    statement = sa.select(*columns).select_from(events.join(versions, SAID)).order_by(events.c.number)
    if not drafts:
        statement = statement.where(versions.c.status != "draft")
    found: list[Entry] = []
    for row in connection.execution_options(yield_per=PAGE).execute(statement):
        version, table = said.version(row, *stored[row.schema_id]), tables[row.table_id]
        materialization = frozen.get((version.datastack, version.mat_version))
        found.append(Entry.model_construct(table=table, version=version, materialization=materialization))
    return found
