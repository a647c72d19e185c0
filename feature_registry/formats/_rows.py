"""The rows of data files that we wrote: read back as a stream, and counted and hashed in whatever order they stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from feature_registry.formats._sorting import MEMORY, held_schema, into_duckdb, to_duckdb
from feature_registry.location import Location

if TYPE_CHECKING:
    from feature_registry.storage import Store

ROWS_PER_BATCH = 65_536


def read_rows(store: Store, files: Sequence[Location], columns: Sequence[str]) -> pa.RecordBatchReader:
    """One file after the other, all of which have these columns in one type. `files` are not empty."""
    system, to_path = store.filesystem()
    stored = pq.read_schema(to_path(files[0]), filesystem=system)
    schema = pa.schema([stored.field(name) for name in columns])

    def batches() -> Iterator[pa.RecordBatch]:
        for file in files:
            with pq.ParquetFile(to_path(file), filesystem=system) as opened:
                for batch in opened.iter_batches(ROWS_PER_BATCH):
                    yield batch.select(columns).replace_schema_metadata()

    return pa.RecordBatchReader.from_batches(schema.remove_metadata(), batches())


def row_hash(reader: pa.RecordBatchReader) -> tuple[int, int]:
    """How many rows there are, and the sum of their hashes, which does not depend on their order."""
    schema = held_schema(reader.schema)
    batches = (into_duckdb(batch, schema) for batch in reader)
    source = to_duckdb(pa.RecordBatchReader.from_batches(schema, batches))  # noqa: F841  DuckDB finds it by its name
    columns = ", ".join(schema.names)
    with duckdb.connect(config={"memory_limit": MEMORY}) as connection:
        found = connection.sql(f"select count(*), coalesce(sum(hash({columns})::hugeint), 0) from source")  # noqa: S608
        rows, total = found.fetchall()[0]
    return int(rows), int(total)
