"""A transaction in one of CAVE's databases: READ ONLY, of one snapshot. Its errors say nothing of the server's URL."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
from psycopg import conninfo, sql
from pydantic import SecretStr

from feature_registry.errors import Denied, Invalid, NotFound, RegistryError, Unavailable

BATCH_BYTES = 8_000_000  # of a batch as it is received, so that wide rows need no more memory: some 64,000 synapses
SETTINGS = {
    "jit": "off",  # it costs a second where there are many columns
    "max_parallel_workers_per_gather": "4",
    "statement_timeout": "0",  # the role's are meant for people's queries
    "idle_in_transaction_session_timeout": "0",
}
_GONE = ("3D000", "3F000", "42P01")
_REFUSED = ("28", "42501")
_WRONG = ("22", "42")


class Session:
    """`database` and `table` are what errors name."""

    def __init__(self, server: SecretStr, database: str, table: str, snapshot: str | None = None) -> None:
        self.place = f"{database}.{table}"
        address = conninfo.make_conninfo(server.get_secret_value(), dbname=database)
        with self.explained():
            self._connection = adbc.connect(address)
        try:
            self._run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if snapshot is not None:
                self._run(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot).as_string(None))
            for name, value in SETTINGS.items():
                self._run(sql.SQL("SET LOCAL {} = {}").format(sql.Identifier(name), value).as_string(None))
        except RegistryError:
            self.close()
            raise

    def ask(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self.explained(), self._cursor(use_copy=False) as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall())

    def schema(self, statement: str) -> pa.Schema:
        """What `streamed` will answer, without running it."""
        with self.explained(), self._cursor() as cursor:
            return cursor.adbc_execute_schema(statement)

    @contextlib.contextmanager
    def streamed(self, statement: str) -> Iterator[pa.RecordBatchReader]:
        """The answer as it comes over the socket, in COPY's binary form."""
        options = {"adbc.postgresql.batch_size_hint_bytes": BATCH_BYTES}
        with self._connection.cursor(adbc_stmt_kwargs=options) as cursor:
            cursor.execute(statement)
            with cursor.fetch_record_batch() as batches:
                yield batches

    def cancel(self) -> None:
        """Ends the statement that runs, from another thread."""
        with contextlib.suppress(adbc.Error):
            self._connection.adbc_cancel()

    def close(self) -> None:
        with contextlib.suppress(adbc.Error):  # of a connection that is lost
            self._connection.close()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """The driver's errors in our words; theirs hold statements and addresses."""
        try:
            yield
        except (adbc.Error, pa.ArrowException, OSError) as wrong:
            raise self._explanation(wrong) from None
        except OverflowError:
            message = "holds a time that cannot be kept: infinite, or not within the years 1 to 9999"
            raise Invalid(message, field="table", value=self.place) from None

    def _explanation(self, wrong: BaseException) -> RegistryError:
        state = getattr(wrong, "sqlstate", None) or ""
        found = re.search(r"(?:ERROR|FATAL): +(.*)", str(wrong))
        sentence = found[1] if found else ""
        if not state:  # libpq says none while it connects
            state = _state_of_refusal(sentence)
        kinds = {_GONE: NotFound, _REFUSED: Denied, _WRONG: Invalid}
        kind = next((kind for states, kind in kinds.items() if state.startswith(states)), Unavailable)
        told = f": {sentence}" if sentence and not state.startswith("28") else ""  # else it may name hosts and users
        return kind(f"cannot be read (SQLSTATE {state or 'unknown'}){told}", field="table", value=self.place)

    def _cursor(self, **options: Any) -> Any:
        settings = {f"adbc.postgresql.{name}": value for name, value in options.items()}
        return self._connection.cursor(adbc_stmt_kwargs=settings)

    def _run(self, statement: str) -> None:
        with self.explained(), self._cursor() as cursor:
            cursor.execute(statement)


def _state_of_refusal(sentence: str) -> str:
    """The SQLSTATE that a server's refusal of a connection means; "": none that we know."""
    if re.search("^database .* does not exist", sentence):
        return "3D000"
    if re.search("authentication|pg_hba|^role .* (does not exist|is not permitted)", sentence):
        return "28000"
    return "42501" if sentence.startswith("permission denied") else ""
