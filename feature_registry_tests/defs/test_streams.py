from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from feature_registry.defs.streams import stream
from feature_registry.errors import Invalid

BIG = 2**63 - 1
FRAME = pl.DataFrame({"id": [BIG, None, 3], "name": ["a", None, "c"], "vector": [[1.0], None, []]})


@pytest.mark.parametrize(
    "made",
    [
        lambda: FRAME,
        FRAME.lazy,
        FRAME.to_arrow,
        lambda: pa.RecordBatchReader.from_stream(FRAME),
        lambda: duckdb.sql("select * from source"),
    ],
    ids=["frame", "lazy", "table", "reader", "duckdb"],
)
def test_all_that_is_accepted_gives_the_same_rows(made: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    duckdb.register("source", FRAME.to_arrow())
    reader = stream(made(), "shapes")
    assert isinstance(reader, pa.RecordBatchReader)
    assert pl.DataFrame(reader.read_all()).equals(FRAME)


@pytest.mark.parametrize("made", [lambda frame: frame, lambda frame: frame.lazy()], ids=["frame", "lazy"])
def test_no_rows_keep_their_schema(made: Callable[[pl.DataFrame], Any]) -> None:
    reader = stream(made(FRAME.clear()), "shapes")
    assert reader.schema.names == FRAME.columns
    assert reader.read_all().num_rows == 0


def test_a_lazy_frame_runs_only_when_it_is_read() -> None:
    def fail(frame: pl.DataFrame) -> pl.DataFrame:
        raise RuntimeError("ran")

    reader = stream(FRAME.lazy().map_batches(fail, schema=FRAME.schema), "shapes")
    with pytest.raises(Exception, match="ran"):
        reader.read_all()


@pytest.mark.parametrize("made", [None, pd.DataFrame({"id": [1]}), {"id": [1]}, "s3://bucket/key", [1]])
def test_anything_else_names_what_is_accepted(made: Any) -> None:
    with pytest.raises(Invalid) as refused:
        stream(made, "shapes")
    assert "shapes" in str(refused.value)
    assert "polars.LazyFrame" in refused.value.expected
    assert type(made).__qualname__ in refused.value.value
