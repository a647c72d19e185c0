"""How to cite a selection of tables, and all that they were computed from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, get_args

from feature_registry import exports
from feature_registry.errors import Invalid, NotFound
from feature_registry.model import Contents, Entry

if TYPE_CHECKING:
    from feature_registry.registry import Registry

Style = Literal["bibtex", "csl_json"]


def cite(registry: Registry, tables: Sequence[str], style: str, lineage: bool) -> str:
    if style not in get_args(Style):
        raise Invalid("is no style of citations", field="style", value=style, expected=list(get_args(Style)))
    if not tables:
        raise Invalid("names no table", field="tables", value=[], expected="datastack/name@mat_version")
    selected = {str(entry.ref): entry for entry in map(registry.describe, tables)}
    if lineage:
        for entry in list(selected.values()):
            selected |= {str(each.ref): each for each in _ancestors(registry, entry) if str(each.ref) not in selected}
    return exports.get(style)(Contents(entries=tuple(selected.values())))


def _ancestors(registry: Registry, entry: Entry) -> Iterator[Entry]:
    """Those that are registered still, and that the person may see."""
    for ref in registry.lineage(str(entry.ref)).upstream:
        try:
            yield registry.describe(ref)
        except NotFound:
            continue
