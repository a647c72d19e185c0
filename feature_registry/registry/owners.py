"""Whose a table is: who may edit, publish, deprecate, transfer and unregister it, and what happens when others try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feature_registry import policy
from feature_registry.catalog import Connection, events
from feature_registry.errors import Denied
from feature_registry.model import FeatureTable, Owner, TableVersion

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def check(
    registry: Registry, connection: Connection, table: FeatureTable, draft: TableVersion | None = None
) -> tuple[str, ...]:
    """The warning, where the datastack's policy only warns. Raises `Denied` where it is enforced.

    `draft`: what is taken back, which its maker may do whosever the table is
    """
    person, named = registry.person, f"{table.datastack}/{table.name}"
    if draft is not None and draft.status == "draft" and draft.created_by == person.name:
        return ()
    maker = events.maker(connection, table.datastack, table.name) or person.name
    if policy.owns(person, table, maker):
        return ()
    action, owner = registry.settings.policies_of(table.datastack).owners, spelled(table.owner or Owner(person=maker))
    if action == "enforce":
        raise Denied("belongs to others", field="table", value=named, expected=f"{owner}, or an admin")
    return (f"{named} belongs to {owner}; {person.name} changed it",) if action == "warn" else ()


def spelled(owner: Owner) -> str:
    """As a person would say it."""
    return " or ".join(filter(None, (owner.team and f"the team {owner.team}", owner.person)))
