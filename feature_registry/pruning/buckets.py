"""Hash buckets: which values of a partition column can hold rows with given values of the hashed column.

`bucket` is Iceberg's bucket[N]: 32-bit murmur3 (x86, seed 0) of the value as 8 little-endian bytes for integers, dates
(days) and time stamps (microseconds), of the UTF-8 bytes for strings; then `(hash & 0x7FFFFFFF) % N`. Source: Apache
Iceberg's table specification, section "Bucket Transform Details" and Appendix B.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from feature_registry.model import HashBuckets

Words = npt.NDArray[np.uint32]
_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
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


def murmur3_of_longs(values: npt.NDArray[np.int64]) -> Words:
    words = values.astype("<i8").view("<u4").reshape(-1, 2)
    hashes = np.zeros(len(values), np.uint32)
    for column in (0, 1):
        hashes = _mixed(hashes, words[:, column])
    return _finished(hashes, 8)


def murmur3(data: bytes) -> int:
    """One hash, as an unsigned number."""
    whole = len(data) // 4 * 4
    hashes = np.zeros(1, np.uint32)
    for word in np.frombuffer(data[:whole], "<u4"):
        hashes = _mixed(hashes, np.array([word], np.uint32))
    tail = int.from_bytes(data[whole:], "little")
    if tail:
        hashes ^= _scrambled(np.array([tail], np.uint32))
    return int(_finished(hashes, len(data))[0])


def _scrambled(words: Words) -> Words:
    return _rotated(words * _C1, 15) * _C2


def _mixed(hashes: Words, words: Words) -> Words:
    return _rotated(hashes ^ _scrambled(words), 13) * np.uint32(5) + np.uint32(0xE6546B64)


def _finished(hashes: Words, length: int) -> Words:
    hashes = hashes ^ np.uint32(length)
    hashes = (hashes ^ (hashes >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return hashes ^ (hashes >> np.uint32(16))


def _rotated(words: Words, bits: int) -> Words:
    return (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))


def _number(value: Any) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, datetime):
        local = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return (local - _EPOCH) // timedelta(microseconds=1)
    return (value - _EPOCH.date()).days if isinstance(value, date) else None
