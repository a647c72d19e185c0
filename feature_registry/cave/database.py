"""Arrow batches out of CAVE's frozen databases, and what the database says of the same rows.

A materialization version is a database of its own, `{datastack}__mat{mat_version}`, and all are on one server. A table
is looked at, read and counted in one transaction.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, ClassVar

import psycopg
import pyarrow as pa
from psycopg import conninfo
from pydantic import SecretStr

from feature_registry.cave import ColumnStatistics, SourceTable
from feature_registry.cave.geometry import Extent
from feature_registry.cave.selection import COLUMNS, GEOMETRY, SelectedColumn, Selection
from feature_registry.cave.session import Session
from feature_registry.errors import Invalid, NotFound, RegistryError, Unavailable

BATCHES_AHEAD = 3
CONNECT_SECONDS = 15
_PARENT = """
SELECT parent.datastack FROM analysisversion child
JOIN analysisversion parent ON parent.id = child.parent_version AND parent.version = child.version
WHERE child.datastack = $1 AND child.version = $2
"""


class FrozenDatabases:
    """The server of CAVE's databases; `url` is `postgresql://...` without a database's name."""

    _shared: ClassVar[dict[tuple[SecretStr, str, str], tuple[Session, str]]] = {}  # by server, database and `share`
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, url: SecretStr) -> None:
        defaults: dict[str, Any] = {"connect_timeout": str(CONNECT_SECONDS), "application_name": "feature-registry"}
        try:
            said = conninfo.conninfo_to_dict(url.get_secret_value())
            self._server = SecretStr(conninfo.make_conninfo(**defaults | said))
        except psycopg.ProgrammingError:
            message = "is no URL of a PostgreSQL server"
            raise Invalid(message, field="cave_database", expected="postgresql://user:password@host:port") from None

    def rows(
        self,
        table: SourceTable,
        *,
        datastack: str | None = None,
        keep_invalid: bool = False,
        share: str | None = None,
    ) -> FrozenRows:
        """The table, in a transaction of its own; `datastack` is the parent's if the version is virtual.

        All tables of a database that this process asks for with the same `share` (a run's id, say) are read in one
        snapshot, where the server exports any; it is held until another `share` comes or `close` is called. CAVE counts
        as valid what says so: rows whose `valid` is false or null are left out, and the column too, unless
        `keep_invalid`.
        """
        database = f"{datastack or table.datastack}__mat{table.mat_version}"
        snapshot = None if share is None else self._snapshot(database, share)
        session = Session(self._server, database, table.name, snapshot)
        try:
            return FrozenRows(session, _selection(session, table, keep_invalid), table.rows)
        except RegistryError:
            session.close()
            raise

    def parent(self, datastack: str, mat_version: int, aligned_volume: str) -> str | None:
        """The datastack in whose database a virtual version lies; None: it has its own.

        The live database says so, which is named after the aligned volume: CAVE drops the table from the frozen ones.
        """
        with contextlib.closing(Session(self._server, aligned_volume, "analysisversion")) as session:
            found = session.ask(_PARENT, (datastack, mat_version))
        return str(found[0][0]) if found else None

    def close(self) -> None:
        """Lets go of the snapshots that are shared."""
        with self._lock:
            self._release(None)

    def _snapshot(self, database: str, share: str) -> str | None:
        with self._lock:
            self._release(share)
            key = self._server, database, share
            if key in self._shared:
                holder, name = self._shared[key]
                if _alive(holder):
                    return name
                self._shared.pop(key)[0].close()
            holder = Session(self._server, database, "*")
            try:
                name = str(holder.ask("SELECT pg_export_snapshot()")[0][0])
            except RegistryError:  # poolers and some standbys export none: each table then has its own
                holder.close()
                return None
            self._shared[key] = holder, name
            return name

    def _release(self, share: str | None) -> None:
        """All but those of `share`. Who has begun to read in a snapshot needs its holder no more."""
        for key in [each for each in self._shared if each[0] == self._server and each[2] != share]:
            self._shared.pop(key)[0].close()


class FrozenRows:
    """A table of a frozen database, as `cave.Rows` says; `size` is what the server expects in bytes, uncompressed."""

    def __init__(self, session: Session, selection: Selection, known: int | None) -> None:
        self._session = session
        self._selection = selection
        plan = json.loads(session.ask(f"EXPLAIN (FORMAT JSON) {selection.statement}")[0][0])[0]["Plan"]
        self.expected: int | None = plan["Plan Rows"] if known is None else known
        self.size: int = self.expected * plan["Plan Width"]
        kinds = session.schema(selection.statement)
        fields = [column.fields(field.type) for column, field in zip(selection.columns, kinds, strict=True)]
        self._schema = pa.schema([field for of_column in fields for field in of_column])
        points = [each.name for each in selection.columns if each.type == GEOMETRY]
        self._postgis = bool(points) and bool(session.ask("SELECT to_regprocedure('st_x(geometry)') IS NOT NULL")[0][0])
        self._extents = {} if self._postgis else {name: Extent() for name in points}
        self._received: int | None = None
        self._ahead: _Ahead | None = None

    @cached_property
    def reader(self) -> pa.RecordBatchReader:
        """Received in a thread of its own, which does nothing else: so the server never waits while we decode."""
        self._ahead = _Ahead(self._batches(), self._session)
        return pa.RecordBatchReader.from_batches(self._schema, self._decoded(self._ahead))

    def statistics(self) -> list[ColumnStatistics]:
        """Counted by the database in the snapshot of the rows, of which all must have been read.

        Sums of integers are whole numbers of any size; those of floats depend on the order of addition, so they need a
        tolerance. The sum of booleans is how many are true. Text goes by its bytes, and NaN is left out. Coordinates
        are what PostGIS says; where the server has none, what is in the bytes that it sent, taken from them without the
        decoder.
        """
        if self._received is None:
            raise Invalid("was not read to the end", field="table", value=self._session.place)
        parts = self._selection.apart()
        answers = [self._count(part) for part in parts]
        if any(answer[0] != self._received for answer in answers) and len(parts) > 1:
            parts = [self._selection]  # the join leaves rows out, so a table alone says too much
            answers = [self._count(self._selection)]
        found = {
            column: (answer[0], values)
            for part, answer in zip(parts, answers, strict=True)
            for column, values in part.values(answer[1:], self._postgis)
        }
        said = (each.statistics(*found[each], self._extents.get(each.name)) for each in self._selection.columns)
        return [statistics for of_column in said for statistics in of_column]

    def close(self) -> None:
        """Early, too: the statement is cancelled."""
        if self._ahead is not None:
            self._ahead.close()
        self._session.close()

    def _count(self, selection: Selection) -> tuple[Any, ...]:
        return self._session.ask(selection.counting(self._postgis))[0]

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """As the server sends them."""
        with self._session.explained(), self._session.streamed(self._selection.statement) as batches:
            yield from batches

    def _decoded(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        received = 0
        for batch in batches:
            ids = batch.column("id") if "id" in batch.schema.names else None
            arrays = []
            for column, values in zip(self._selection.columns, batch.columns, strict=True):
                arrays += column.arrow(values, ids)
                if column.name in self._extents:
                    self._extents[column.name].add(values)
            received += batch.num_rows
            yield pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        self._received = received


class _Ahead:
    """Runs an iterator in a thread, a few items ahead of who takes them."""

    def __init__(self, items: Iterator[pa.RecordBatch], session: Session) -> None:
        self._items = items
        self._session = session
        self._queue: queue.Queue[Any] = queue.Queue(BATCHES_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._session.cancel()
            self._thread.join()
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._queue.put(Unavailable("is closed", field="table", value=self._session.place))  # for who still waits

    def _run(self) -> None:
        try:
            for item in self._items:
                self._put(item)
                if self._closed.is_set():
                    return
            self._put(None)
        except Exception as failed:
            self._put(failed)
        finally:
            self._items.close()  # type: ignore[attr-defined]

    def _put(self, item: Any) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return


def _alive(session: Session) -> bool:
    try:
        return bool(session.ask("SELECT true"))
    except RegistryError:
        return False


def _selection(session: Session, table: SourceTable, keep_invalid: bool) -> Selection:
    columns = _columns(session, "t", table.name)
    if not columns:
        raise NotFound("is not in the database", field="table", value=session.place)
    relations = {"t": table.name}
    if table.segmentation is not None and not table.view:
        bound = _columns(session, "s", f"{table.name}__{table.segmentation}")
        if {each.name for each in bound} - {each.name for each in columns}:  # else the database is merged
            relations["s"] = f"{table.name}__{table.segmentation}"
            columns += bound
    return Selection.of(relations, columns, keep_invalid)


def _columns(session: Session, alias: str, relation: str) -> list[SelectedColumn]:
    return [SelectedColumn(alias, *row) for row in session.ask(COLUMNS, (relation,))]
