"""Links: a bearer secret for one file of one grant, and the byte ranges that are asked through it.

A link's token is `GRANT.NUMBER.MAC`. The MAC makes it stateless: no list of granted files is kept to check it against.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from hashlib import blake2b
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from feature_registry.errors import Denied, Invalid

_NULL = "__HIVE_DEFAULT_PARTITION__"
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class Signer:
    """Makes and checks the tokens of links."""

    def __init__(self, key: bytes) -> None:
        self._keyed = blake2b(digest_size=16, key=hmac.digest(key, b"links", "sha256"))

    def token(self, grant_id: str, number: int) -> str:
        body = f"{grant_id}.{number}"
        return f"{body}.{self._mac(body)}"

    def check(self, token: str) -> tuple[str, int]:
        """The grant and the file's number. Raises `Denied`, and never says which part is wrong."""
        body, _, mac = token.rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac(body).encode()):
            raise Denied("is no link of this registry", field="link", value="(not shown)")
        grant_id, _, number = body.partition(".")
        return grant_id, int(number)

    def _mac(self, body: str) -> str:
        # BLAKE2's own keyed mode (RFC 7693): a plan makes 10,000 of these, and an HMAC takes three times as long.
        mac = self._keyed.copy()
        mac.update(body.encode())
        return mac.hexdigest()


class RangeNotSatisfiable(Invalid):
    """The range begins behind the file's end, or is none that a store serves; HTTP's 416."""


def asked_bytes(byte_range: str | None, size: int) -> int:
    """How many bytes a store sends for the value of a `Range` header; all of the file without one."""
    if byte_range is None:
        return size
    found = _RANGE.fullmatch(byte_range.strip())
    first, last = found.groups() if found else ("", "")
    if not first and not last:
        raise RangeNotSatisfiable("is not one byte range", field="range", value=byte_range, expected="bytes=0-99")
    if not first:
        count = min(int(last), size)
    else:
        count = min(int(last), size - 1) - int(first) + 1 if last else size - int(first)
    if count <= 0:
        raise RangeNotSatisfiable("lies outside the file", field="range", value=byte_range, expected=f"0-{size - 1}")
    return count


def suffixes(layouts: Iterable[tuple[np.ndarray, pa.Table]]) -> list[str]:
    """The end of each file's link: its partition values as `name=value/`, for engines that read them from the path,
    and its number as a Parquet file's name. Each layout is its files' numbers and their rows of the manifest, which
    all together are the whole manifest: engines want the same partition columns in all paths of a read.
    """
    ends: dict[int, str] = {}
    for numbers, files in layouts:
        named = [name for name in files.column_names if name.startswith("partition.")]
        texts = [""] * len(files)
        for name in named:
            column = quote(name.removeprefix("partition."), safe="")
            values = (_NULL if value is None else quote(value, safe="") for value in files[name].to_pylist())
            texts = [f"{text}{column}={value}/" for text, value in zip(texts, values, strict=True)]
        ends.update((number, f"{text}{number}.parquet") for number, text in zip(numbers.tolist(), texts, strict=True))
    return [ends[number] for number in range(len(ends))]
