"""A stand-in for CAVE's exporter: jobs that write Delta tables as CAVE does, appending in place, in threads.

`routes()` go into any Starlette application. See `cave/exporter.py` for what CAVE does, and where that is from.
"""

from __future__ import annotations

import functools
import operator
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from feature_registry.cave import BOOKKEEPING
from feature_registry.cave.geometry import AXES, voxels

RUN = "/materialize/api/v2/materialize/run/write_deltalake"
FIELDS = {
    "name", "partition_by", "partition_strategy", "n_partitions", "zorder_columns", "bloom_filter_columns",
    "bloom_filter_fpp", "source_geometry_column", "source_table", "bounds", "target_file_size_mb",
}  # fmt: skip
POINTS = ("ctr_pt_position", "post_pt_position", "pre_pt_position", "pt_position")  # the first one has its own spec
RANGES = 4  # where CAVE would see how many it needs


@dataclass
class Exports:
    """The jobs. `table` answers the rows of a table as the database holds them, geometry as EWKB, or None.

    `seconds` is what a step takes, `fault` the message with which a job fails after its first batch.
    """

    root: Path
    table: Callable[[str, int, str], pa.Table | None]
    rows_per_batch: int = 100_000
    seconds: float = 0.0
    fault: str | None = None
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        path = f"{RUN}/datastack/{{datastack}}/version/{{version:int}}/table_name/{{name}}/"
        return [Route(path, self._post, methods=["POST"]), Route(path, self._get, methods=["GET"])]

    async def _post(self, request: Request) -> JSONResponse:
        specs = (await request.json()).get("output_specs")
        unknown = sorted({name for spec in specs or () for name in spec} - FIELDS)
        if unknown:
            return JSONResponse({"message": f"invalid output_specs entry: unexpected argument {unknown[0]!r}"}, 400)
        job, which = uuid.uuid4().hex, request.path_params
        threading.Thread(target=self.run, args=(job,), kwargs={**which, "specs": specs}, daemon=True).start()
        message = f"Delta Lake export enqueued for {which['name']} v{which['version']}"
        return JSONResponse({"message": message, "job_id": job})

    async def _get(self, request: Request) -> JSONResponse:
        known = self.jobs.get(request.query_params.get("job_id", ""))
        if known is None:
            return JSONResponse({"message": f"No export progress found for {request.path_params['name']}"}, 404)
        return JSONResponse(known)

    def run(self, job: str, datastack: str, version: int, name: str, specs: list[dict[str, Any]] | None) -> None:
        """The job itself."""
        rows, total = 0, None
        try:
            table = self.table(datastack, version, name)
            if table is None:
                raise ValueError(f"No MaterializedMetadata entry for table {name!r} in {datastack}__mat{version}")
            specs = specs or _indexed(table.column_names)
            total, folder = len(table), self.root / datastack / f"v{version}" / name
            _check_unwritten(folder, specs, total)
            frame = _decoded(table, specs)
            specs = [{**spec, "bounds": _bounds(frame, spec)} if "partition_by" in spec else spec for spec in specs]
            for batch in frame.iter_slices(self.rows_per_batch):
                _append(folder, specs, batch)
                rows += len(batch)
                self._tell(job, "streaming", rows, total)
                if self.fault:
                    raise RuntimeError(self.fault)
            for spec in specs:
                self._tell(job, f"z_order {spec['name']}", rows, total)
                _optimize(folder / spec["name"], spec)
        except Exception as failure:
            self._tell(job, "failed", rows, total, str(failure))
        else:
            self._tell(job, "complete", rows, total)

    def _tell(self, job: str, phase: str, rows: int, total: int | None, error: str | None = None) -> None:
        self.jobs[job] = {
            "status": phase if phase in ("complete", "failed") else "exporting",
            "phase": phase,
            "rows_processed": rows,
            "total_rows": total,
            "percent_complete": round(100 * rows / total, 2) if total else None,
            "error": error,
        }
        time.sleep(self.seconds)


def _indexed(names: list[str]) -> list[dict[str, Any]]:
    """What CAVE exports unasked: a spec of each index, but of one point only."""
    ranges = {"partition_strategy": "percentile_range", "n_partitions": "auto"}
    keys = [name for name in names if name == "id" or name.endswith("_root_id")]
    specs = [{"name": key, "partition_by": key, "zorder_columns": [key], **ranges} for key in keys]
    for point in [each for each in POINTS if each in names][:1]:
        code, axes = f"{point}_morton", [f"{point}_{axis}" for axis in AXES]
        morton = {"name": code, "partition_by": code, "zorder_columns": axes, "source_geometry_column": point}
        specs.append({**ranges, **morton, "partition_strategy": "uniform_range"})
    return specs


def _check_unwritten(folder: Path, specs: list[dict[str, Any]], total: int) -> None:
    for spec in specs:
        place = folder / spec["name"]
        rows = DeltaTable(place).count() if place.exists() else total
        if rows != total:
            raise RuntimeError(f"{place} already exists but has {rows} rows (expected {total}); delete it")


def _decoded(table: pa.Table, specs: list[dict[str, Any]]) -> pl.DataFrame:
    """Without what is dropped; the geometry that a spec names is decoded for all of them."""
    points = {spec["source_geometry_column"] for spec in specs if spec.get("source_geometry_column")}
    columns: dict[str, Any] = {}
    for name in table.column_names:
        if name in points:
            axes = voxels(table[name].combine_chunks(), name)
            columns |= {f"{name}_{axis}": values for axis, values in zip(AXES, axes, strict=True)}
            columns[f"{name}_morton"] = _morton(*(pl.Series(axis).cast(pl.Int64) for axis in axes))
        elif name not in BOOKKEEPING:
            columns[name] = table[name]
    return pl.DataFrame(columns)


def _morton(*axes: pl.Series) -> pl.Series:
    """The lowest 21 bits of each axis, interleaved."""
    bits = ((axis // 2**bit % 2) * 2 ** (3 * bit + place) for place, axis in enumerate(axes) for bit in range(21))
    code: pl.Series = functools.reduce(operator.add, bits)
    return code


def _append(folder: Path, specs: list[dict[str, Any]], batch: pl.DataFrame) -> None:
    for spec in specs:
        column = spec.get("partition_by")
        numbered = batch if column is None else batch.with_columns(_partition(batch[column], spec))
        by = None if column is None else [f"{column}_partition"]
        write_deltalake(folder / spec["name"], numbered.to_arrow(), mode="append", partition_by=by)


def _partition(column: pl.Series, spec: dict[str, Any]) -> pl.Series:
    """The number of each value's hash or range; the ranges are resolved before the first batch."""
    number: pl.Series = pl.Series(spec["bounds"], dtype=column.dtype).search_sorted(column)
    if spec["partition_strategy"] == "hash":
        number = column.hash() % spec["n_partitions"]
    return number.cast(pl.Int32).alias(f"{column.name}_partition")


def _bounds(frame: pl.DataFrame, spec: dict[str, Any]) -> list[int]:
    number = RANGES if spec["n_partitions"] == "auto" else spec["n_partitions"]
    values = frame[spec["partition_by"]].sort()
    return [values[len(values) * cut // number] for cut in range(1, number)]


def _optimize(place: Path, spec: dict[str, Any]) -> None:
    table = DeltaTable(place)
    if spec["zorder_columns"]:
        table.optimize.z_order(spec["zorder_columns"])
    else:
        table.optimize.compact()
    table.vacuum(dry_run=False, retention_hours=0, enforce_retention_duration=False, full=True)
