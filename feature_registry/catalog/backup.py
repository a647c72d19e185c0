"""A backup: the whole catalog at one instant as an SQLite file, which is a catalog itself.

Its table `backup` says, of every other table, how many rows were copied and a sum of their hashes, which does not
depend on their order. They are compared before anything is restored.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from feature_registry.catalog import documents
from feature_registry.catalog.database import Database
from feature_registry.catalog.schema import VERSION_TABLE, events, feature_tables, metadata, subjects
from feature_registry.errors import Conflict, Invalid

BATCH = 1_000
EXPECTED = "a file that feature-registry backup wrote"
Sums = dict[str, tuple[int, str]]

_sums = sa.Table(
    "backup",
    sa.MetaData(),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("hashes", sa.String, nullable=False),
)


def backup(database: Database, path: Path) -> dict[str, int]:
    """Writes the file whole or not at all, and answers its rows a table. Raises `Conflict` if there is one already."""
    path = path.absolute()
    taken = Conflict("exists already", field="file", value=str(path), expected="the name of a new file")
    if path.exists():
        raise taken
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        sums = _write(database, draft)
        _sync(draft)
        try:
            path.hardlink_to(draft)  # a rename would replace what came there meanwhile
        except FileExistsError:
            raise taken from None
        _sync(path.parent)
    finally:
        for left in path.parent.glob(f"{glob.escape(draft.name)}*"):
            left.unlink()
    return _counts(sums)


def _write(database: Database, draft: Path) -> Sums:
    target = Database(f"sqlite:///{draft}")
    try:
        with database.read(snapshot=True) as source, target.write() as connection:
            sums = _copy(source, connection)
            _sums.create(connection)
            rows = [{"name": name, "rows": count, "hashes": hashes} for name, (count, hashes) in sums.items()]
            connection.execute(sa.insert(_sums), rows)
    finally:
        target.close()
    with contextlib.closing(sqlite3.connect(draft)) as file:
        file.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    return sums


def restore(database: Database, path: Path) -> dict[str, int]:
    """Fills an empty catalog from a backup, whichever database it is in, and answers its rows a table.

    Raises `Conflict` if the catalog holds something, `Invalid` for what is no whole, unaltered backup; then it changes
    nothing.
    """
    with _opened(path) as source:
        _verify(source, path)
        with database.write() as connection:
            for table in metadata.sorted_tables:
                if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).scalar():
                    raise Conflict(f"holds {table.name} already", field="database", expected="an empty catalog")
            return _counts(_copy(source, connection))


@contextmanager
def _opened(path: Path) -> Iterator[sa.Connection]:
    """The file, which is only read: nothing is made beside it."""
    if not path.is_file():
        raise Invalid("is no file", field="file", value=str(path), expected=EXPECTED)
    uri = f"file:{quote(str(path.absolute()))}?mode=ro"
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def _verify(source: sa.Connection, path: Path) -> None:
    try:
        found = source.execute(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE))).scalar()
        written = {row.name: (row.rows, row.hashes) for row in source.execute(sa.select(_sums))}
        if found != Database.newest():
            message = f"is of the catalog's version {found}"
            raise Invalid(message, field="file", value=str(path), expected=Database.newest())
        sums = _copy(source, None)
    except (sa.exc.DBAPIError, ValueError, TypeError) as wrong:
        cause = wrong.orig if isinstance(wrong, sa.exc.DBAPIError) else wrong
        raise Invalid(f"is no whole backup: {cause}", field="file", value=str(path), expected=EXPECTED) from wrong
    if sums != written:
        wrong_table = next(name for name in {**written, **sums} if written.get(name) != sums.get(name))
        message = f"was altered: its table {wrong_table} is not the one that was backed up"
        raise Invalid(message, field="file", value=str(path), expected=EXPECTED)


def _copy(source: sa.Connection, target: sa.Connection | None) -> Sums:
    """Without a target only the sums."""
    sums = {}
    for table in metadata.sorted_tables:
        count, total = 0, 0
        rows = source.execution_options(yield_per=BATCH).execute(sa.select(table))
        for batch in rows.mappings().partitions():
            values = [dict(row) for row in batch]
            count += len(values)
            total += sum(map(_hash, values))
            if target is not None:
                target.execute(sa.insert(table), values)
        sums[table.name] = (count, f"{total % 2**256:064x}")
    if target is not None:
        _follow_up(target)
    return sums


def _counts(sums: Sums) -> dict[str, int]:
    return {name: count for name, (count, _) in sums.items()}


def _hash(row: dict[str, object]) -> int:
    return int.from_bytes(hashlib.sha256(repr(list(row.values())).encode()).digest())


def _follow_up(target: sa.Connection) -> None:
    """What is not in the rows: the full-text index, and in PostgreSQL the numbers that come next."""
    described = target.execute(sa.select(feature_tables.c.id, feature_tables.c.body)).all()
    for start in range(0, len(described), BATCH):
        chosen = described[start : start + BATCH]
        documents.index(target, {row.id: row.body for row in chosen})
    if target.dialect.name == "postgresql":
        for column in (subjects.c.id, events.c.number, feature_tables.c.id):
            newest = sa.select(sa.func.max(column)).scalar_subquery()
            sequence = sa.func.pg_get_serial_sequence(column.table.name, column.name)
            target.execute(sa.select(sa.func.setval(sequence, sa.func.coalesce(newest, 1), newest.is_not(None))))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
