"""Who may do what, and what a budget still holds. Pure: facts in, a decision with its reason out."""

from __future__ import annotations

from datetime import timedelta

from feature_registry.errors import Denied, Exhausted, Invalid
from feature_registry.location import Location
from feature_registry.model import FeatureTable, Person, TableVersion

PERIOD = timedelta(days=30)
PUBLISHING_NEEDS = ("description", "owner")


def is_seen(person: Person, version: TableVersion) -> bool:
    """Drafts are seen by who made them, and by admins."""
    return version.status != "draft" or person.admin or version.created_by == person.name


def check_owned(person: Person, version: TableVersion) -> None:
    """What takes a version away from all is for who registered it, and for admins."""
    if not (person.admin or version.created_by == person.name):
        expected = f"{version.created_by}, or an admin"
        raise Denied("was registered by somebody else", field="table", value=str(version.ref), expected=expected)


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


def missing_to_publish(table: FeatureTable) -> list[str]:
    """The fields without which a table is not published."""
    return [name for name in PUBLISHING_NEEDS if not getattr(table, name)]


def check_publishable(table: FeatureTable, version: TableVersion) -> None:
    missing = missing_to_publish(table)
    if missing:
        raise Invalid("is missing, and publishing needs it", field=missing[0], value=None, expected=PUBLISHING_NEEDS)
    failed = [check.name for check in version.checks if check.blocking and check.outcome == "failed"]
    if failed:
        raise Invalid("has failed blocking checks", field="table", value=str(version.ref), expected=failed)


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
