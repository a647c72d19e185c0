"""What else in the catalog points to a table or its data, beside what was derived from it."""

from __future__ import annotations

import sqlalchemy as sa

from feature_registry.catalog import entries
from feature_registry.catalog.schema import facets, feature_tables
from feature_registry.model import Person, TableVersion


def references(connection: sa.Connection, datastack: str, name: str) -> tuple[str, ...]:
    """`datastack/table.column` of all columns that point to a column of the table."""
    near = sa.and_(facets.c.value == name, feature_tables.c.datastack == datastack)
    chosen = (
        sa.select(feature_tables.c.datastack, feature_tables.c.name, feature_tables.c.body)
        .join(facets, facets.c.table_id == feature_tables.c.id)
        .where(facets.c.kind == "reference", sa.or_(near, facets.c.value == f"{datastack}/{name}"))
    )
    found = {
        f"{row.datastack}/{row.name}.{column}"
        for row in connection.execute(chosen)
        for column, target in row.body["references"].items()
        if target.rpartition(".")[0] in ((name,) if row.datastack == datastack else ()) + (f"{datastack}/{name}",)
    }
    return tuple(sorted(found))


def aliases(connection: sa.Connection, version: TableVersion, person: Person) -> tuple[str, ...]:
    """Table versions of other tables, or of other materialization versions, that share the data."""
    places = entries.places_of(connection, version.inspection.location, person)
    mine = (version.datastack, version.name, version.mat_version)
    return tuple(sorted(str(place) for place in places if place.shown and place[:3] != mine))


def predecessors(connection: sa.Connection, datastack: str, name: str) -> tuple[str, ...]:
    """The tables that name it, or a version of it, as their successor."""
    successor, named = feature_tables.c.body["superseded_by"].as_string(), f"{datastack}/{name}"
    chosen = sa.select(feature_tables.c.datastack, feature_tables.c.name).where(
        sa.or_(successor == named, successor.startswith(f"{named}@", autoescape=True))
    )
    return tuple(sorted(f"{row.datastack}/{row.name}" for row in connection.execute(chosen)))
