"""Grants, and the bytes that are reserved and charged on them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from feature_registry.catalog.schema import grants
from feature_registry.model import Grant


def add(connection: sa.Connection, grant: Grant) -> None:
    connection.execute(sa.insert(grants).values(grant.model_dump()))


def get(connection: sa.Connection, grant_id: str) -> Grant | None:
    row = connection.execute(sa.select(grants).where(grants.c.id == grant_id)).one_or_none()
    return None if row is None else Grant(**row._mapping)


def charge(connection: sa.Connection, bytes_by_grant: Mapping[str, int]) -> None:
    """Adds the bytes that were asked for; what exceeds a reservation raises the reservation with it."""
    total = grants.c.charged + sa.bindparam("more")
    change = (
        sa.update(grants)
        .where(grants.c.id == sa.bindparam("grant"))
        .values(charged=total, reserved=sa.case((total > grants.c.reserved, total), else_=grants.c.reserved))
    )
    connection.execute(change, [{"grant": grant, "more": more} for grant, more in bytes_by_grant.items()])


def spent(connection: sa.Connection, person: str, since: datetime, now: datetime) -> int:
    """Bytes of the person's budget that are gone: reserved by living grants, charged by ended ones."""
    bound = sa.case((grants.c.expires_at > now, grants.c.reserved), else_=grants.c.charged)
    chosen = sa.select(sa.func.coalesce(sa.func.sum(bound), 0)).where(
        grants.c.person == person, grants.c.created_at > since
    )
    total: Any = connection.execute(chosen).scalar_one()
    return int(total)
