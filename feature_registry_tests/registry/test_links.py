from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_registry.errors import Denied
from feature_registry.registry.links import RangeNotSatisfiable, Signer, asked_bytes, suffixes

SIGNER = Signer(b"key")


@given(st.integers(0, 10**6))
def test_a_token_names_its_grant_and_file(number: int) -> None:
    assert SIGNER.check(SIGNER.token("abc", number)) == ("abc", number)


@pytest.mark.parametrize(
    "token",
    [
        SIGNER.token("abc", 1).replace(".1.", ".2."),
        SIGNER.token("abc", 1).replace("abc", "abd"),
        SIGNER.token("abc", 1)[:-1],
        Signer(b"other").token("abc", 1),
        "abc.1",
        "",
        "é.1.x",
    ],
)
def test_an_altered_token_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(Denied) as raised:
        SIGNER.check(token)
    assert not token or token not in str(raised.value)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_what_is_charged_is_what_a_slice_holds(content: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(content) - 1))
    last = data.draw(st.integers(first, len(content) + 10))
    suffix = data.draw(st.integers(1, len(content) + 10))
    size = len(content)
    assert asked_bytes(f"bytes={first}-{last}", size) == len(content[first : last + 1])
    assert asked_bytes(f"bytes={first}-", size) == len(content[first:])
    assert asked_bytes(f"bytes=-{suffix}", size) == len(content[-suffix:])
    assert asked_bytes(None, size) == size


@pytest.mark.parametrize("wrong", ["bytes=", "bytes=-", "bytes=9-1", "bytes=10-", "bytes=-0", "bytes=0-1,3-4", "0-1"])
def test_a_range_that_no_store_serves_is_refused(wrong: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        asked_bytes(wrong, 10)


def test_a_links_end_carries_the_partition_values() -> None:
    manifest = pa.table({"path": ["a", "b"], "partition.k": ["x/ y", None], "partition.é": ["1", "2"]})
    other = pa.table({"path": ["c"]})
    assert suffixes([(np.array([0, 2]), manifest), (np.array([1]), other)]) == [
        "k=x%2F%20y/%C3%A9=1/0.parquet",
        "1.parquet",
        "k=__HIVE_DEFAULT_PARTITION__/%C3%A9=2/2.parquet",
    ]
