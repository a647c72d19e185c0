"""Grants, and the bytes that are reserved and charged on them."""

from __future__ import annotations

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


# Built once: links are charged thousands of times a second.
_CHARGED = grants.c.charged + sa.bindparam("size")
_CHARGE = (
    sa.update(grants)
    .where(grants.c.id == sa.bindparam("grant"), grants.c.reserved >= _CHARGED)
    .values(charged=_CHARGED)
)


def charge(connection: sa.Connection, grant_id: str, size: int) -> bool:
    """Adds bytes that were asked for; False, and nothing is added, if the reservation does not hold them."""
    return connection.execute(_CHARGE, {"grant": grant_id, "size": size}).rowcount == 1


def extend(connection: sa.Connection, grant_id: str, size: int) -> None:
    """Reserves more bytes on a grant."""
    change = sa.update(grants).where(grants.c.id == grant_id).values(reserved=grants.c.reserved + size)
    connection.execute(change)


def newest(connection: sa.Connection, person: str) -> datetime | None:
    """When the person was given something last."""
    found: datetime | None = connection.execute(
        sa.select(sa.func.max(grants.c.created_at)).where(grants.c.person == person)
    ).scalar()
    return found


def spent(connection: sa.Connection, person: str, since: datetime, now: datetime) -> int:
    """Bytes of the person's budget that are gone: reserved by living grants, charged by ended ones."""
    bound = sa.case((grants.c.expires_at > now, grants.c.reserved), else_=grants.c.charged)
    chosen = sa.select(sa.func.coalesce(sa.func.sum(bound), 0)).where(
        grants.c.person == person, grants.c.created_at > since
    )
    total: Any = connection.execute(chosen).scalar_one()
    return int(total)
