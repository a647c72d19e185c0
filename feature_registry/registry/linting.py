"""What is registered, by the policies of today: they may ask for more than those under which it came in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from feature_registry import policy
from feature_registry.catalog import entries
from feature_registry.model import Entry, Policies, Violation
from feature_registry.registry import validation

if TYPE_CHECKING:
    from feature_registry.registry import Registry

PAGE = 1_000


def lint(registry: Registry, datastack: str | None) -> tuple[Violation, ...]:
    """Of everything that is published, older revisions too, table by table. Reads nothing but the catalog."""
    found: list[Violation] = []
    for stack, name in _tables(registry):
        if datastack in (None, stack):
            policies = registry.settings.policies_of(stack)
            with registry.database.read() as connection:
                versions = entries.of_table(connection, stack, name)
            published = (entry for entry in versions if entry.version.status == "published")
            found += (each for entry in published for each in _violations(entry, policies))
    return tuple(found)


def _tables(registry: Registry) -> Iterator[tuple[str, str]]:
    after = None
    while True:
        with registry.database.read() as connection:
            page = entries.tables(connection, after, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1]


def _violations(entry: Entry, policies: Policies) -> Iterator[Violation]:
    for name in policy.missing_to_publish(entry.table, policies.publishing_needs):
        yield Violation(table=str(entry.ref), field=name, message="is missing, and publishing needs it")
    for check in entry.version.checks:
        failed = check.outcome == "failed" or validation.FAILED in check.details
        if failed and validation.action(check.name, policies) == "enforce":
            yield Violation(table=str(entry.ref), field=check.name, message=f"check failed: {check.message}")
