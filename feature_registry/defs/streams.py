"""What feature functions return, as a stream of Arrow record batches; a lazy frame runs while it is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from feature_registry.errors import Invalid
from feature_registry.model import Metadata, Written

ACCEPTED = (
    "polars.LazyFrame, polars.DataFrame, pyarrow.Table, pyarrow.RecordBatchReader or what has one as its `reader`, a "
    "DuckDB relation or Written(location)"
)
ROWS_PER_BATCH = 131_072


def stream(value: Any, table: str) -> pa.RecordBatchReader:
    """The rows of a feature function's result; `table` names it in the error."""
    if isinstance(value, pl.LazyFrame):
        return _of_lazy_frame(value)
    if isinstance(value, pa.RecordBatchReader):
        return value
    if _is_duckdb(value):
        reader: pa.RecordBatchReader = value.to_arrow_reader(ROWS_PER_BATCH)  # its Arrow stream would hold all rows
        return reader
    if is_rows(value):
        return value.reader
    # Not all that exports an Arrow stream is welcome: pandas turns an id column with a gap into floats.
    if isinstance(value, (pl.DataFrame, pa.Table)):
        return pa.RecordBatchReader.from_stream(value)
    kind = type(value)
    raise Invalid(
        "is nothing that can be written as a table",
        field=f"result of {table}",
        value=f"{kind.__module__}.{kind.__qualname__}",
        expected=ACCEPTED,
    )


def is_rows(value: Any) -> bool:
    """Whether it brings its stream along, as `cave.Rows` does. It may say metadata, too, and want to be closed."""
    return isinstance(getattr(value, "reader", None), pa.RecordBatchReader)


def metadata_of(value: Any) -> dict[str, Any]:
    """The fields of `Metadata` that were found out while the table was made, in an attribute `metadata`."""
    said = getattr(value, "metadata", None) if is_rows(value) or isinstance(value, Written) else None
    if said:
        Metadata.checked(said)
    return dict(said or {})


def close(value: Any) -> None:
    """May be called more than once."""
    if is_rows(value) and hasattr(value, "close"):
        value.close()


def _of_lazy_frame(frame: pl.LazyFrame) -> pa.RecordBatchReader:
    schema = pl.DataFrame(schema=frame.collect_schema()).to_arrow().schema

    def batches() -> Iterator[pa.RecordBatch]:
        for chunk in frame.collect_batches(chunk_size=ROWS_PER_BATCH, maintain_order=True, engine="streaming"):
            yield from chunk.to_arrow().cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _is_duckdb(value: Any) -> bool:
    return type(value).__name__ == "DuckDBPyRelation" and hasattr(value, "to_arrow_reader")
