"""Which version a reader gets who names none, or one that is not there; which are hidden as their retention is over.

The current state holds each table's face as if nothing ever expired, for time passes without an event. So whoever reads
brings the instant, and only where a table has a retention is anything else asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from feature_registry.catalog.entries import JOINED, NAMED, SELECTED, entry_of
from feature_registry.catalog.schema import facets, feature_tables, mat_versions, versions
from feature_registry.model import Entry, TableRef

_VALID = sa.func.coalesce(mat_versions.c.valid, sa.true())


@dataclass(frozen=True, slots=True)
class Expired:
    """By the days of a retention, before when a version was made whose retention is over."""

    before: Mapping[str, datetime]

    def holds(self, of: sa.FromClause = versions) -> sa.ColumnElement[bool]:
        kept = sa.select(facets.c.table_id).where(facets.c.kind == "retention")
        return sa.or_(
            sa.false(),
            *(
                sa.and_(of.c.table_id.in_(kept.where(facets.c.value == days)), of.c.created_at < before)
                for days, before in self.before.items()
            ),
        )

    def face(self) -> sa.ColumnElement[Any]:
        """The id of each table's face; where that one has expired, of the next that has not."""
        if not self.before:
            return feature_tables.c.face_id
        face, other, frozen = versions.alias("face"), versions.alias("beside"), mat_versions.alias()
        at = sa.and_(frozen.c.datastack == feature_tables.c.datastack, frozen.c.mat_version == other.c.mat_version)
        next_best = (
            sa.select(other.c.id)
            .select_from(other.outerjoin(frozen, at))
            .where(other.c.table_id == feature_tables.c.id, other.c.current, ~self.holds(other))
            .where(sa.func.coalesce(frozen.c.valid, sa.true()))
            .order_by(other.c.mat_version.is_(None), other.c.status != "published", other.c.mat_version.desc())
            .limit(1)
            .correlate(feature_tables)
            .scalar_subquery()
        )
        gone = sa.exists().where(face.c.id == feature_tables.c.face_id, self.holds(face)).correlate(feature_tables)
        return sa.case((gone, next_best), else_=feature_tables.c.face_id)


def expired(connection: sa.Connection, now: datetime) -> Expired:
    days = connection.execute(sa.select(facets.c.value).where(facets.c.kind == "retention").distinct()).scalars()
    return Expired({each: now - timedelta(days=int(each)) for each in days})


def latest(connection: sa.Connection, ref: TableRef, now: datetime) -> Entry | None:
    """The face of a table that has a retention."""
    chosen = sa.select(*SELECTED).select_from(JOINED).where(NAMED, versions.c.id == expired(connection, now).face())
    return _first(connection, chosen, ref)


def nearest(connection: sa.Connection, ref: TableRef, now: datetime) -> Entry | None:
    """The newest valid, published version that is older than a reference's."""
    older = sa.and_(versions.c.mat_version < ref.mat_version, versions.c.current, versions.c.status == "published")
    chosen = sa.select(*SELECTED).select_from(JOINED).where(NAMED, older, _VALID)
    chosen = chosen.where(~expired(connection, now).holds()).order_by(versions.c.mat_version.desc()).limit(1)
    return _first(connection, chosen, ref)


def _first(connection: sa.Connection, chosen: sa.Select[Any], ref: TableRef) -> Entry | None:
    row = connection.execute(chosen, {"datastack": ref.datastack, "name": ref.name}).one_or_none()
    return None if row is None else entry_of(row)
