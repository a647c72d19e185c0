"""Dumps through CAVE's own exporter: CAVE writes, and what it wrote is registered once its job is complete.

A job's id is kept as a tag of the run that started it. So a step that died finds the job again, and no second job is
started while the first one's output, which it would append to, is there. If a run dies before it could keep the id, the
number of rows tells that two jobs wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from feature_registry import formats
from feature_registry.cave import SourceTable
from feature_registry.cave.exported import exported, found, meanings
from feature_registry.cave.exporter import Exporter, Progress
from feature_registry.cave.server import Cave
from feature_registry.errors import Conflict, NotFound
from feature_registry.location import Location
from feature_registry.model import Layout, Written
from feature_registry.registry import Registry


def dump(
    context: dg.AssetExecutionContext,
    registry: Registry,
    table: SourceTable,
    layouts: Sequence[Layout],
    describe: Callable[[list[str]], dict[str, Any]],
) -> Written:
    """Waits for a complete export of the table in these layouts; without any, CAVE chooses them. `describe` answers the
    table's metadata by the names of its columns. Raises `Conflict` if there are files that no known job has written.
    """
    exporter = Exporter(registry.settings, Cave(registry.settings).server(table.datastack))
    place, key = exporter.location(table), f"cave_export/{table.datastack}.{table.name}.{table.mat_version}"
    job = _begun(context.instance, exporter, table, key)
    if job is None:
        if next(registry.store(place).list(place), None) is not None:
            message = "holds files of an export that failed, or that CAVE has forgotten"
            expected = "nothing there; or a registration by hand, of what is known to be complete"
            raise Conflict(message, field="location", value=str(place), expected=expected)
        job = exporter.start(table, layouts)
        context.instance.add_run_tags(context.run.run_id, {key: job})
    context.log.info(f"job {job} of CAVE's exporter writes {place}")
    done = exporter.follow(table, job, lambda seen: context.log.info(_told(seen)))
    folders = [each.name for each in layouts] or _folders(registry, place)
    types = _types(registry, place.joined(folders[0]), alone=len(folders) == 1)
    metadata = describe(list(types))
    return Written(
        location=place if len(folders) > 1 else place.joined(folders[0]),
        format="delta",
        rows=done.total,
        layouts=exported(layouts) or tuple(found(folder, types) for folder in folders),
        metadata={**metadata, "columns": {**meanings(types), **metadata.get("columns", {})}},
    )


def _folders(registry: Registry, place: Location) -> list[str]:
    """Those of a complete job, which nothing else writes to."""
    names = sorted({place.relative(each.location).partition("/")[0] for each in registry.store(place).list(place)})
    if not names:
        raise NotFound(
            "holds nothing, though CAVE says that its export is complete", field="location", value=str(place)
        )
    return names


def _types(registry: Registry, folder: Location, alone: bool) -> dict[str, str]:
    """Without the partition column, where there are other layouts, which do not have it."""
    seen = formats.get("delta").inspect(registry.store(folder), folder).inspection
    return {each.name: each.type for each in seen.fields if alone or each.name not in seen.partition_columns}


def _begun(instance: dg.DagsterInstance, exporter: Exporter, table: SourceTable, key: str) -> str | None:
    """The job of an earlier step, if it is on its way or complete."""
    for _, jobs in instance.get_run_tags(tag_keys=[key]):
        for job in sorted(jobs):
            try:
                if exporter.progress(table, job).status != "failed":
                    return job
            except NotFound:
                continue
    return None


def _told(seen: Progress) -> str:
    rows = "" if seen.rows is None else f", {seen.rows:,} of {seen.total or 0:,} rows"
    return f"CAVE is {seen.status}{f' ({seen.phase})' if seen.phase else ''}{rows}"
