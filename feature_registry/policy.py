"""Who may do what, and what a budget still holds. Pure: facts in, a decision with its reason out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from feature_registry.errors import Conflict, Denied, Exhausted, Invalid
from feature_registry.location import Location
from feature_registry.model import FeatureTable, Person, TableVersion

PERIOD = timedelta(days=30)
ALL_TEAMS = "*"


class Made(Protocol):
    """What of a table version tells who sees it."""

    @property
    def status(self) -> str: ...

    @property
    def created_by(self) -> str: ...


def is_seen(person: Person, version: Made) -> bool:
    """Drafts are seen by who made them, and by admins."""
    return version.status != "draft" or person.admin or version.created_by == person.name


def owns(person: Person, table: FeatureTable, maker: str) -> bool:
    """Whether a person may change a table: its owner, who is in the owner's team, and admins; a table without an owner
    belongs to its maker. Who is in all teams may act for everybody.
    """
    if person.admin or ALL_TEAMS in person.groups:
        return True
    if table.owner is None:
        return person.name == maker
    return table.owner.person == person.name or table.owner.team in person.groups


def check_readable(person: Person, version: TableVersion) -> None:
    if not is_seen(person, version):
        raise Denied("is a draft of somebody else", field="table", value=str(version.ref))


def check_place(location: Location, prefixes: tuple[Location, ...] | None) -> None:
    """A caller over HTTP registers only below the configured prefixes; one in this process, what it can read."""
    if prefixes is not None and not any(prefix.holds(location) for prefix in prefixes):
        raise Denied(
            "lies outside what may be registered over HTTP",
            field="location",
            value=str(location),
            expected=f"below one of {[str(prefix) for prefix in prefixes]} (FEATURE_REGISTRY_ALLOWED_PREFIXES)",
        )


def missing_to_publish(table: FeatureTable, needs: Sequence[str]) -> list[str]:
    """The fields without which a table is not published."""
    return [name for name in needs if not getattr(table, name, None)]


def check_publishable(table: FeatureTable, version: TableVersion, needs: Sequence[str]) -> None:
    """Raises `Conflict` for a deprecated version: a step back is never legal; what is good again is a new revision."""
    if version.status == "deprecated":
        message = "is deprecated, and stays so"
        raise Conflict(message, field="table", value=str(version.ref), expected="a new revision, which is published")
    missing = missing_to_publish(table, needs)
    if missing:
        message = f"missing, and publishing needs it: {', '.join(missing)}"
        raise Invalid(message, field=missing[0], value=None, expected=list(needs))
    failed = [check.name for check in version.checks if check.blocking and check.outcome == "failed"]
    if failed:
        raise Invalid("has failed blocking checks", field="table", value=str(version.ref), expected=failed)


def expires_at(table: FeatureTable, version: TableVersion) -> datetime | None:
    """The end of a table version's retention; None: it is kept."""
    days = table.retention.days
    return None if days is None else version.created_at + timedelta(days=days)


def budget_left(limit: int | None, spent: int) -> int | None:
    return None if limit is None else max(0, limit - spent)


def check_budget(wanted: int, left: int | None) -> None:
    """Raises `Exhausted` if the wanted bytes exceed what is left."""
    if left is not None and wanted > left:
        raise Exhausted(
            f"asks for more bytes than the budget of {PERIOD.days} days still holds",
            field="bytes",
            value=wanted,
            expected=f"at most {left}",
        )


def price(size: int, per_gb: float | None) -> float | None:
    """The price of reading so many bytes, at a price for 10^9."""
    return None if per_gb is None else size / 1e9 * per_gb
