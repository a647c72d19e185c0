"""A version source that says what a test told it; its rows are in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import polars as pl
import pyarrow as pa

from feature_registry.cave import ColumnStatistics, SourceTable
from feature_registry.errors import NotFound
from feature_registry.model import Datastack, MaterializationVersion

AT = datetime(2025, 1, 1, tzinfo=UTC)
Versions = dict[int, MaterializationVersion]


@dataclass
class Told:
    """datastack -> number -> version, (datastack, number, table) -> rows, and what goes wrong with a table's rows."""

    versions: dict[str, Versions] = field(default_factory=dict)
    frames: dict[tuple[str, int, str], pl.DataFrame] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)  # of a table, or of a datastack
    rows: dict[str, int] = field(default_factory=dict)  # that a table is said to have
    seconds: float = 0.0  # that a dump takes
    opened: int = 0
    at_once: int = 0
    most: int = 0
    lock: Any = field(default_factory=threading.Lock)

    def add(self, datastack: str, number: int, tables: dict[str, pl.DataFrame] | None = None, **said: Any) -> None:
        """A version with its tables; `tables` of a virtual one may be names only, with rows of its parent."""
        listed = None if tables is None else tuple(tables)
        version = MaterializationVersion(
            datastack=datastack, mat_version=number, tables=listed, **{"time_stamp": AT} | said
        )
        self.versions.setdefault(datastack, {})[number] = version
        self.frames |= {(datastack, number, name): frame for name, frame in (tables or {}).items()}


class Source:
    """The version source `feature_registry_tests.defs.source:Source`."""

    told: ClassVar[Told] = Told()

    def datastacks(self) -> list[Datastack]:
        return [Datastack(name=name, aligned_volume="minnie65_phase3") for name in self.told.versions]

    def versions(self, datastack: str) -> list[MaterializationVersion]:
        self._fail(datastack)
        return list(self.told.versions[datastack].values())

    def table(self, datastack: str, mat_version: int, name: str) -> SourceTable:
        if (datastack, mat_version, name) not in self.told.frames:
            raise NotFound("is not in the database", field="table", value=name)
        said = self.told.metadata.get(name, {})
        rows = self.told.rows.get(name, len(self.told.frames[datastack, mat_version, name]))
        return SourceTable(datastack, mat_version, name, metadata=said, rows=rows)

    def rows(self, table: SourceTable, share: str | None = None) -> Rows:
        return Rows(self.told, self.told.frames[table.datastack, table.mat_version, table.name], table.name)

    def _fail(self, name: str) -> None:
        if wrong := self.told.errors.get(name):
            raise wrong


class Rows:
    def __init__(self, told: Told, frame: pl.DataFrame, name: str) -> None:
        self._told, self._frame, self._name = told, frame, name
        self.expected = len(frame)
        self.closed = False
        with told.lock:
            told.opened += 1
            told.at_once += 1
            told.most = max(told.most, told.at_once)
        table = frame.to_arrow()
        self.reader = pa.RecordBatchReader.from_batches(table.schema, self._batches(table))

    def _batches(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        half = len(table) // 2
        yield from table.slice(0, half).to_batches()
        time.sleep(self._told.seconds)
        if wrong := self._told.errors.get(self._name):
            raise wrong
        yield from table.slice(half).to_batches()

    def statistics(self) -> list[ColumnStatistics]:
        said = []
        for series in self._frame:
            values = [value for value in series.to_list() if value is not None]
            total = sum(values) if series.dtype.is_numeric() else None
            bounds = (min(values), max(values)) if values else (None, None)
            said.append(ColumnStatistics(series.name, len(series), series.null_count(), *bounds, total))
        return said

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with self._told.lock:
                self._told.at_once -= 1
