"""Hash buckets: in which of them a row is written, and which of them can hold rows with given values.

`bucket` is Iceberg's bucket[N]: 32-bit murmur3 (x86, seed 0) of the value as 8 little-endian bytes for integers, dates
(days) and time stamps (microseconds), of the UTF-8 bytes for strings; then `(hash & 0x7FFFFFFF) % N`. Source: Apache
Iceberg's table specification, section "Bucket Transform Details" and Appendix B.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_registry.errors import Invalid
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


def check_hashed(declared: HashBuckets, schema: pa.Schema) -> None:
    """Raises `Invalid` unless the buckets of the column can be computed, and have a column to go to."""
    index = schema.get_field_index(declared.column)
    if index < 0:
        raise Invalid("is no column", field="hash_buckets", value=declared.column, expected=schema.names)
    kind = schema.field(index).type
    if not (pa.types.is_integer(kind) or (declared.transform == "bucket" and _is_text(kind))):
        expected = "integers" + ", or strings in buckets" * (declared.transform == "bucket")
        raise Invalid(f"is of type {kind}", field="hash_buckets", value=declared.column, expected=expected)
    if declared.partition_column.lower() in map(str.lower, schema.names):
        expected = "a name that no column has"
        raise Invalid("is a column already", field="hash_buckets", value=declared.partition_column, expected=expected)


def bucket_numbers(declared: HashBuckets, values: pa.Array) -> pa.Array:
    """int64; null for null."""
    if _is_text(values.type):
        encoded = values.cast(pa.string()).dictionary_encode()
        hashes = np.array([murmur3(text.as_buffer().to_pybytes()) for text in encoded.dictionary], np.uint32)
        found = pa.array((hashes & np.uint32(0x7FFFFFFF)).astype(np.int64) % declared.buckets)
        return found.take(encoded.indices)
    numbers = values.fill_null(0).to_numpy(zero_copy_only=False)
    if declared.transform == "bucket":
        numbers = murmur3_of_longs(numbers.astype(np.int64)) & np.uint32(0x7FFFFFFF)
    wide = np.uint64 if numbers.dtype == np.uint64 else np.int64
    found = (numbers.astype(wide) % wide(declared.buckets)).astype(np.int64)
    return pa.array(found, mask=values.is_null().to_numpy(zero_copy_only=False))


def _is_text(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


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
