"""A catalog that holds one of everything, and what people see of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from feature_registry.model import (
    CheckResult,
    Datastack,
    MaterializationVersion,
    Person,
    PlanRequest,
    Registration,
    Report,
    Search,
)
from feature_registry.registry import Registry

SAID = {"description": "Synapses.", "owner": "team", "license": "MIT", "tags": ["synapse"]}


def write(place: Path, *ids: int) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"id": ids, "size": [1.5] * len(ids)}).write_parquet(place / f"{ids[0]}.parquet")
    return place


def register(
    registry: Registry, place: Path, name: str = "synapses", mat_version: int | None = 7, **said: Any
) -> Report:
    fields = {"datastack": "d", "name": name, "mat_version": mat_version, "publish": True} | SAID | said
    return registry.register(Registration(location=place, **fields))


def fill(registry: Registry, data: Path) -> None:
    """Revisions, an unversioned table, a deprecated one, lineage, checks, a draft, an edit."""
    registry.record_datastack(Datastack(name="d", aligned_volume="v"))
    at = datetime(2024, 1, 1, tzinfo=UTC)
    registry.record_versions(MaterializationVersion(datastack="d", mat_version=each, time_stamp=at) for each in (7, 8))
    register(registry, write(data / "a", 1, 2))
    register(registry, write(data / "b", 3), "spines", derived_from=["d/synapses@7.0"], producer={"run_id": "run"})
    delta = data / "delta"
    pl.DataFrame({"id": [1, 2, 3]}).write_delta(delta)
    register(registry, delta, mat_version=None, name="cells")
    pl.DataFrame({"id": [4]}).write_delta(delta, mode="append")  # the registered snapshot is an older one
    report = register(registry, write(data / "c", 5))
    registry.record_checks(report.entry.version.id, [CheckResult(name="key", outcome="passed", blocking=True)])
    register(registry.acting(Person(name="bob", groups=("team",))), write(data / "e", 6), mat_version=8, tags=["other"])
    registry.deprecate("d/spines@7", "outdated", "d/synapses")
    register(registry, write(data / "f", 9), mat_version=8, publish=False)
    register(registry, write(data / "g", 10), mat_version=9)
    registry.unregister("d/synapses@9")
    registry.edit("d/synapses", {"license": "CC-BY-4.0"})


def state(registry: Registry) -> dict[str, Any]:
    """What people see of it."""
    entries = {str(each.ref): each for each in registry.contents().entries}
    return {
        "contents": registry.contents(),
        "described": [registry.describe(ref) for ref in ("d/synapses", "d/synapses@7", "d/spines@7", *entries)],
        "found": [
            # the two databases rank differently
            sorted(registry.search(Search(text=text)).entries, key=lambda entry: str(entry.ref))
            for text in ("", "synapse", "size", "team")
        ],
        "lineage": {ref: registry.lineage(ref) for ref in entries},
        "plans": {ref: registry.plan(PlanRequest(table=ref, dry_run=True)).files for ref in entries},
    }


def kinds(registry: Registry, table: str) -> list[str]:
    return [event.kind for event in registry.history(table)]
