from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest

from feature_registry.errors import Invalid
from feature_registry.model.logical_types import polars_type


@pytest.mark.parametrize(
    "kind",
    [
        pa.int8(), pa.int64(), pa.uint8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(),
        pa.string(),
        pa.date32(), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("ms", "America/New_York"),
        pa.timestamp("s"), pa.list_(pa.float32(), 64), pa.list_(pa.field("element", pa.uint8(), nullable=False), 2),
    ],
    ids=str,
)  # fmt: skip
def test_names_are_arrows(kind: pa.DataType) -> None:
    empty = pl.from_arrow(pa.array([], kind))
    assert isinstance(empty, pl.Series)
    assert polars_type(str(kind)) == empty.dtype


@pytest.mark.parametrize(
    "name", ["", "unit64", "uint64 ", "list<item: int8>", "timestamp[us", "fixed_size_list<x: y>[2]"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        polars_type(name)
    assert caught.value.field == "logical_types"
