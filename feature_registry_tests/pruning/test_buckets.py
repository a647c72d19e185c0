from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_registry.errors import Invalid
from feature_registry.model import HashBuckets
from feature_registry.pruning.buckets import allowed, bucket_numbers, check_hashed

KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**63 - 1),
    pa.int8(): st.integers(-(2**7), 2**7 - 1),
    pa.string(): st.text(),
    pa.large_string(): st.text(),
    pa.string_view(): st.text(),
}


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("transform", ["bucket", "modulo"])
@given(data=st.data(), buckets=st.integers(1, 2**31 - 1))
def test_a_row_is_in_the_bucket_where_it_is_looked_for(
    data: st.DataObject, buckets: int, transform: str, kind: pa.DataType
) -> None:
    declared = HashBuckets.model_validate(
        {"column": "id", "partition_column": "bucket", "transform": transform, "buckets": buckets}
    )
    if transform == "modulo" and not pa.types.is_integer(kind):
        with pytest.raises(Invalid):
            check_hashed(declared, pa.schema({"id": kind}))
        return
    check_hashed(declared, pa.schema({"id": kind}))
    values = data.draw(st.lists(st.none() | KINDS[kind]))
    found = bucket_numbers(declared, pa.array(values, kind))
    assert found.type == pa.int64()
    for value, number in zip(values, found.to_pylist(), strict=True):
        if value is None:
            assert number is None
        else:
            assert 0 <= number < buckets
            assert allowed(declared, [value]) in ({number}, None)
