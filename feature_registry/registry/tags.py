"""Tags of tables. No data are touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feature_registry.catalog import entries, events, graph, texts
from feature_registry.errors import Invalid
from feature_registry.model import FeatureTable
from feature_registry.model.noun import showable
from feature_registry.model.tables import LONGEST_TAG
from feature_registry.registry import owners

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def rename(registry: Registry, old: str, new: str, datastack: str | None) -> tuple[str, ...]:
    """All tables or none, an event each; one that has the new tag already only loses the old one. Those of which there
    are only others' drafts keep theirs.
    """
    by = registry.person.name
    texts.check(new, "new")
    if not 0 < len(new) <= LONGEST_TAG:
        raise Invalid("is no tag", field="new", value=showable(new), expected=f"1 to {LONGEST_TAG} characters")
    with registry.database.write() as connection:
        held = [table for table in entries.tagged(connection, old, datastack) if old != new]
        named = {f"{table.datastack}/{table.name}" for table in held}
        hidden = set() if registry.person.admin else graph.hidden(connection, named, by)
        held = [table for table in held if f"{table.datastack}/{table.name}" not in hidden]
        for table in held:
            owners.check(registry, connection, table)
        changed = [
            FeatureTable.checked(table.model_dump() | {"tags": _renamed(table.tags, old, new)}) for table in held
        ]
        news = [events.new("described", **events.about(each, by), details={"tags": each.tags}) for each in changed]
        events.record_all(connection, news)
    return tuple(f"{table.datastack}/{table.name}" for table in held)


def _renamed(tags: tuple[str, ...], old: str, new: str) -> list[str]:
    return list(dict.fromkeys(new if tag == old else tag for tag in tags))
