"""Opens the database, brings it up to date, and hands out transactions."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic_core import from_json
from sqlalchemy.exc import DataError, OperationalError

from feature_registry.catalog.derivation import derive_anew
from feature_registry.catalog.schema import VERSION_TABLE
from feature_registry.errors import Invalid, Unavailable, needed

MIGRATIONS = Path(__file__).parent / "migrations"
# PostgreSQL's advisory locks: a number of ours alone for all writers, and pairs of one and what is written about.
ADVISORY_LOCK = 7_236_001
ABOUT = ADVISORY_LOCK + 1
NUMBERING = ADVISORY_LOCK + 2


class Database:
    """A catalog's database: SQLite (WAL) or PostgreSQL, by its SQLAlchemy URL."""

    def __init__(self, url: str) -> None:
        try:
            address = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise Invalid(
                "is no database URL", field="database", value="(not shown)", expected="sqlite:///path"
            ) from None
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        self.sqlite = address.get_backend_name() == "sqlite"
        if self.sqlite and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        if address.drivername == "postgresql+psycopg":
            needed("psycopg", "postgres")
        options: dict[str, Any] = {} if self.sqlite else {"pool_size": 20}
        # Entries are mostly JSON, and pydantic's reader takes half the time of Python's.
        self.engine = sa.create_engine(address, json_deserializer=from_json, **options)
        if self.sqlite:
            _prepare_sqlite(self.engine)
        self._migrate()

    @contextmanager
    def read(self, snapshot: bool = False) -> Iterator[sa.Connection]:
        """A connection; with `snapshot`, all that it reads is of one instant, which SQLite's always is."""
        engine = self.engine
        if not self.sqlite:
            # Each statement sees what is committed, transaction or not; its begin and its end are questions, too.
            engine = engine.execution_options(isolation_level="REPEATABLE READ" if snapshot else "AUTOCOMMIT")
        with _translated(), engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, about: str | None = None, lasting: bool = True) -> Iterator[sa.Connection]:
        """A transaction that excludes every other writer, so that what it read stays true until it commits; in
        PostgreSQL, one `about` something lets those about other things work beside it. One that is not `lasting`
        survives a killed process, but in SQLite perhaps not a power cut.
        """
        immediate = self.engine.execution_options(immediate=True, lasting=lasting)
        with _translated(), immediate.connect() as connection, connection.begin():
            if not self.sqlite:
                connection.execute(_ALL if about is None else _ONE, {"about": about})
            yield connection

    @contextmanager
    def alone(self, work: str) -> Iterator[bool]:
        """Whether nobody else does this work, in any process that shares the database; it does not wait."""
        if not self.sqlite:
            with self.engine.connect() as connection, connection.begin():
                lock = sa.func.pg_try_advisory_xact_lock(ADVISORY_LOCK, sa.func.hashtext(work))
                yield bool(connection.execute(sa.select(lock)).scalar())
            return
        import fcntl

        with Path(f"{self.engine.url.database}.{work}").open("w") as lock_file:
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True  # the system frees it with the file, also when this process is killed

    def close(self) -> None:
        self.engine.dispose()

    @staticmethod
    def newest() -> str:
        """The name of the last migration."""
        return max(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))

    def _migrate(self) -> None:
        before = self._revision()
        if before == self.newest():
            return
        command, config = needed("alembic.command", "server"), needed("alembic.config", "server").Config()
        with self.write() as connection:
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if before is not None:
                derive_anew(connection)

    def _revision(self) -> str | None:
        with self.read() as connection:
            if not sa.inspect(connection).has_table(VERSION_TABLE):
                return None
            return connection.execute(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))).scalar()


_ALL = sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK))
_ONE = sa.select(
    sa.func.pg_advisory_xact_lock_shared(ADVISORY_LOCK),
    sa.func.pg_advisory_xact_lock(ABOUT, sa.func.hashtext(sa.bindparam("about", type_=sa.Text))),
)
_NUMBERING = sa.select(sa.func.pg_advisory_xact_lock(NUMBERING))


def lock_numbers(connection: sa.Connection) -> None:
    """Until the transaction ends nobody else numbers events: a reader who follows the numbers must miss none. Taken as
    late as can be, for whoever writes about another thing waits here.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_NUMBERING)


@contextmanager
def _translated() -> Iterator[None]:
    """The database's errors as the registry's; a full disk and a server that is gone are the same to the caller."""
    try:
        yield
    except OperationalError as failure:
        raise Unavailable(f"the catalog's database does not do it: {failure.orig}") from failure
    except DataError as failure:
        raise Invalid(f"holds what the catalog's database cannot: {failure.orig}") from failure


def _prepare_sqlite(engine: sa.Engine) -> None:
    @sa.event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late; ours is below
        # Mapped into memory, a page of a list is read in five sixths of the time.
        for pragma in ("busy_timeout=30000", "foreign_keys=ON", "mmap_size=1073741824"):
            connection.execute(f"PRAGMA {pragma}")
        # The mode is the file's and stays; while somebody else switches a new file, nobody needs to.
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode=WAL")

    @sa.event.listens_for(engine, "begin")
    def began(connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("immediate"):
            connection.exec_driver_sql("BEGIN")
            return
        # FULL waits for the disk at each commit: once its report is given, a registration, which takes longer than
        # that, outlives a power cut. The charge of a link is written in a tenth of that time, so it does not wait.
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options['lasting'] else 'NORMAL'}")
        # A deferred transaction that turns into a writer can fail at once where an immediate one waits.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
