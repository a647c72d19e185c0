"""The specs of all shipped assets, as a snapshot: what changes in the UI and in the catalog is seen in review.

`UPDATE_SNAPSHOTS=1 pytest feature_registry_tests/defs/test_specs.py` writes it anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import dagster as dg

from feature_registry.defs.build import build_defs

SNAPSHOT = Path(__file__).with_name("specs.json")


def column(seen: dg.TableColumn) -> dict[str, Any]:
    said = {"type": seen.type, "description": seen.description, "tags": dict(seen.tags)}
    return said | {"nullable": seen.constraints.nullable, "unique": seen.constraints.unique}


def shown(asset: dg.AssetsDefinition) -> dict[str, Any]:
    [spec] = asset.specs
    schema = spec.metadata.get("dagster/column_schema", dg.TableSchema([]))
    lineage = spec.metadata.get("dagster/column_lineage", dg.TableColumnLineage({})).deps_by_column
    return {
        "description": spec.description,
        "group": spec.group_name,
        "owners": list(spec.owners),
        "kinds": sorted(spec.kinds),
        "tags": sorted(tag for tag in spec.tags if not tag.startswith("dagster/")),
        "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
        "partitions": getattr(spec.partitions_def, "name", None),
        "automation": str(spec.automation_condition) if spec.automation_condition else None,
        "checks": {check.name: {"blocking": check.blocking, "says": check.description} for check in asset.check_specs},
        "columns": {each.name: column(each) for each in schema.columns},
        "lineage": {
            name: [f"{dep.asset_key.to_user_string()}.{dep.column_name}" for dep in deps]
            for name, deps in lineage.items()
        },
        "said": {name: value for name, value in spec.metadata.items() if name.startswith("feature_registry/")},
    }


def test_every_asset_spec_is_as_in_the_snapshot() -> None:
    assets = build_defs().assets or []
    seen = {each.key.to_user_string(): shown(each) for each in assets if isinstance(each, dg.AssetsDefinition)}
    text = json.dumps(seen, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text)
    assert seen
    assert text == SNAPSHOT.read_text()
