"""Hash buckets: which values of a partition column can hold rows with given values of the hashed column.

`bucket` is Iceberg's bucket[N], as in `model.hashing`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from feature_registry.model import HashBuckets
from feature_registry.model.hashing import murmur3, murmur3_of_longs

_EPOCH = datetime(1970, 1, 1)


def allowed(declared: HashBuckets, values: list[Any]) -> set[int] | None:
    """The buckets of the values; None: they may be anywhere."""
    if declared.transform == "opaque":
        return None
    if declared.transform == "modulo":
        # Languages disagree on the remainder of a negative number.
        if not all(type(value) is int and value >= 0 for value in values):
            return None
        return {value % declared.buckets for value in values}
    if all(isinstance(value, str) for value in values):
        hashes = [murmur3(value.encode()) for value in values]
        return {(found & 0x7FFFFFFF) % declared.buckets for found in hashes}
    numbers = [_number(value) for value in values]
    if any(number is None or not -(2**63) <= number < 2**63 for number in numbers):
        return None
    found = murmur3_of_longs(np.array(numbers, np.int64)) & np.uint32(0x7FFFFFFF)
    return set(np.unique(found % np.uint32(declared.buckets)).tolist())


def _number(value: Any) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, datetime):
        local = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return (local - _EPOCH) // timedelta(microseconds=1)
    return (value - _EPOCH.date()).days if isinstance(value, date) else None
