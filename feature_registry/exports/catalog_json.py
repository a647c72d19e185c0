"""The catalog as JSON: every published table's newest version, without what only the registry needs to read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from feature_registry.model import Entry


def export(entries: Sequence[Entry]) -> str:
    tables = [_table(entry) for entry in sorted(entries, key=lambda entry: str(entry.ref))]
    return json.dumps({"tables": tables}, indent=1, sort_keys=True, ensure_ascii=False)


def _table(entry: Entry) -> dict[str, Any]:
    hidden = {"inspection": {"arrow_schema"}}
    said = entry.table.model_dump(mode="json", exclude_defaults=True)
    version = entry.version.model_dump(mode="json", exclude=hidden)
    return {"ref": str(entry.ref), "table": said, "version": version}
