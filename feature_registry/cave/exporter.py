"""CAVE's own Delta exporter: starts a job, follows it, and says what lies where when it is complete.

From CAVEconnectome/MaterializationEngine, `workflows/deltalake_export.py`, `blueprints/deltalake/api.py` and
`WriteDeltalakeResource` in `blueprints/materialize/api.py`, and its wizard's JavaScript:

- A spec is one Delta table in a folder of its `name`, with `partition_by`, `partition_strategy` (percentile_range,
  uniform_range or hash), `n_partitions` (a number or "auto"), `zorder_columns`, `bloom_filter_columns`,
  `source_geometry_column`, `source_table`, `bounds`; any other field is refused.
- Rows are appended in place, batch after batch and for all specs together, then each table is z-ordered and vacuumed at
  once: files that were seen before the job is complete are gone afterwards. A second job appends to what is there if
  it has as many rows as the table, which doubles it, and fails if it has not.
- The number of a row's range or bucket is an int32 column `{partition_by}_partition`; `hash` is Polars' hash, modulo
  `n_partitions`, which changes with the library.
- `created`, `deleted` and `superceded_id` are left out, `valid` and rows that are not valid stay. A geometry column is
  decoded, in all specs of the job, if it is the `source_geometry_column` of any: to int32 `_x`, `_y`, `_z` and an int64
  `_morton`. All others stay WKB bytes.
- The boundaries of a percentile range come from `source_table`, where the column must be; by default the annotation
  table, which has no root ids unless the database is merged.
- A job is not known (404) until a worker begins it, and is forgotten after a day.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from feature_registry.cave import SourceTable
from feature_registry.cave.exported import exported
from feature_registry.errors import Denied, Invalid, NotFound, RegistryError, Unavailable
from feature_registry.location import Location
from feature_registry.model import Layout
from feature_registry.settings import Settings

SHORTEST, LONGEST = 1.0, 60.0  # seconds between two questions
OUTAGE = 600.0  # seconds for which CAVE may not answer
STANDSTILL = 6 * 3600.0  # seconds for which a job may not get any further; z-ordering a large table says nothing


@dataclass(frozen=True, slots=True)
class Progress:
    """What CAVE says of a job. `total` is the number of rows of the table in CAVE's records."""

    status: str
    phase: str | None = None
    rows: int | None = None
    total: int | None = None
    error: str | None = None


class Exporter:
    """Exports of one server of CAVE, the one that has the datastack."""

    def __init__(
        self,
        settings: Settings,
        server: str,
        pause: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        token = settings.cave_token.get_secret_value() if settings.cave_token else None
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._settings, self._server, self._pause = settings, server.rstrip("/"), pause
        self._client = httpx.Client(base_url=self._server, headers=headers, timeout=60, transport=transport)

    def location(self, table: SourceTable) -> Location:
        """The folder of the exports of a table, one a spec."""
        root = self._settings.cave_exports
        if root is None:
            expected = "where CAVE's exporter writes, such as gs://bucket/deltalake_exports"
            raise Invalid("is not set", field="cave_exports", expected=expected)
        return Location(root).joined(f"{table.datastack}/v{table.mat_version}/{table.name}")

    def start(self, table: SourceTable, layouts: Sequence[Layout]) -> str:
        """The new job's id. Without layouts, CAVE makes one of each index. Call it only where nothing lies at
        `location`, and keep the id: without it, nobody knows when the export is complete.
        """
        merged = not layouts or table.segmentation is None or self._merged(table)
        specs = [_spec(each, table, merged) for each in layouts]
        said = self._ask("POST", _export(table), json={"output_specs": specs} if specs else {})
        job = said.get("job_id")
        if not isinstance(job, str) or not job:
            raise self._nonsense("job_id", job)
        return job

    def progress(self, table: SourceTable, job: str | None) -> Progress:
        """Raises `NotFound` for a job that CAVE does not know, or not yet. Without a job: of the table's last one,
        where CAVE keeps it.
        """
        said = self._ask("GET", _export(table), params={"job_id": job} if job else None)
        rows, total = said.get("rows_processed"), said.get("total_rows")
        if not isinstance(said.get("status"), str):
            raise self._nonsense("status", said.get("status"))
        for field, value in (("rows_processed", rows), ("total_rows", total)):
            if not (value is None or type(value) is int):
                raise self._nonsense(field, value)
        error = None if said.get("error") is None else self._shown(str(said["error"]))
        return Progress(said["status"], said.get("phase"), rows, total, error)

    def follow(self, table: SourceTable, job: str | None, told: Callable[[Progress], None]) -> Progress:
        """Returns when the job is complete; `told` hears of every step. Raises `Unavailable` with CAVE's message if it
        failed or stands still, `NotFound` if nobody began it.
        """
        seen, delay, still, silent = Progress("queued"), SHORTEST, 0.0, 0.0
        while True:
            failure: RegistryError | None = None
            now = seen
            try:
                now = self.progress(table, job)
            except (NotFound, Unavailable) as wrong:
                failure = wrong
            if now != seen:
                seen, delay, still = now, SHORTEST, 0.0
                told(now)
            if now.status == "complete":
                return now
            if now.status == "failed":
                raise Unavailable(f"CAVE's export failed: {now.error or 'it does not say why'}", **_which(table, job))
            silent = silent if isinstance(failure, Unavailable) else 0.0
            if silent > OUTAGE or still > STANDSTILL:
                raise failure or Unavailable(f"stands still in the phase {now.phase}", **_which(table, job))
            self._pause(delay)
            silent, still, delay = silent + delay, still + delay, min(delay * 2, LONGEST)

    def _merged(self, table: SourceTable) -> bool:
        path = f"/materialize/api/v3/datastack/{quote(table.datastack, '')}/version/{table.mat_version}"
        return bool(self._ask("GET", path).get("is_merged", False))

    def _ask(self, method: str, path: str, **said: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **said)
        except httpx.HTTPError as failure:  # a job may have begun that nobody will ask for: it is not asked for twice
            raise Unavailable(f"does not answer: {type(failure).__name__}", **self._place) from None
        if answer.status_code != 200:
            raise self._refused(answer)
        try:
            body = answer.json()
        except ValueError:
            raise self._nonsense("body", answer.text[:100]) from None
        if not isinstance(body, dict):
            raise self._nonsense("body", answer.text[:100])
        return body

    def _refused(self, answer: httpx.Response) -> RegistryError:
        code = answer.status_code
        if code in (401, 403) or answer.is_redirect:
            return Denied(f"refuses the token with status {code}", **self._place, expected="an admin's cave_token")
        kind = {404: NotFound, 400: Invalid, 422: Invalid}.get(code, Unavailable)
        return kind(f"answers {code}: {self._shown(answer.text[:300])}", **self._place)

    def _nonsense(self, field: str, value: Any) -> Unavailable:
        return Unavailable(f"answers nonsense: {field} is {self._shown(repr(value))}", **self._place)

    def _shown(self, text: str) -> str:
        """Without what must not be seen: an exception's text may hold the URL of a database."""
        token = self._settings.cave_token.get_secret_value() if self._settings.cave_token else ""
        text = re.sub(r"//[^/@\s]*@", "//***@", text)
        return text.replace(token, "***") if token else text

    @property
    def _place(self) -> dict[str, Any]:
        return {"field": "cave_server", "value": self._server}


def _spec(layout: Layout, table: SourceTable, merged: bool) -> dict[str, Any]:
    """What asks for the layout, and for a point that it is about as voxels."""
    layout = exported([layout])[0]
    spec: dict[str, Any] = {"name": layout.name, "n_partitions": "auto", "zorder_columns": list(layout.sort_by)}
    column = layout.sort_by[0] if layout.sort_by else None
    if layout.curve:
        point = (column or "").removesuffix("_x")
        spec |= {"partition_by": f"{point}_morton", "partition_strategy": "uniform_range"}
        return spec | {"source_geometry_column": point}
    bound = re.fullmatch(r"(\w+)_(root|supervoxel)_id", column or "")
    if bound and table.segmentation and not table.view:
        spec["source_geometry_column"] = f"{bound[1]}_position"
        if not merged:
            spec["source_table"] = f"{table.name}__{table.segmentation}"
    if layout.hash_buckets:
        spread = layout.hash_buckets[0]
        return spec | {"partition_by": spread.column, "partition_strategy": "hash", "n_partitions": spread.buckets}
    return spec | ({"partition_by": column, "partition_strategy": "percentile_range"} if column else {})


def _export(table: SourceTable) -> str:
    datastack, name = quote(table.datastack, ""), quote(table.name, "")
    run = "/materialize/api/v2/materialize/run/write_deltalake"
    return f"{run}/datastack/{datastack}/version/{table.mat_version}/table_name/{name}/"


def _which(table: SourceTable, job: str | None) -> dict[str, Any]:
    return {"field": "export", "value": f"{table.datastack}/{table.name}@{table.mat_version}, job {job}"}
