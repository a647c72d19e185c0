"""How values are stored: times as numbers, ids and hashes as bytes, JSON compressed. What they were stays readable for
ever: a dictionary that something was compressed with is never changed, only followed by a new one.
"""

from __future__ import annotations

import re
import uuid
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import BigInteger, DateTime, Dialect, LargeBinary, TypeDecorator
from sqlalchemy.types import TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What nearly every registration says; deflate finds it best at the end.
_DICTIONARY = (
    b'"read_permission":null"superseded_by":null"license":"CC-BY-4.0""tags":["usage_constraints":""citation":""'
    b'"retention":{"days":null,"note":""},"invalidation_radius":null"mutability":"static""durability":"reproducible"'
    b'"redistribution":"allowed""owner":{"team":"","person":null},"key":["id"],"references":{"columns":{"'
    b'":{"type":null,"description":"","unit":null,"kind":{"kind":"plain"},"kind":{"kind":"id"},"kind":{"kind":'
    b'"segmentation_node","level":"root_id"},"kind":{"kind":"split_point","level":"supervoxel_id"'
    b'"derived_from":[],"skipped""warned""failed"" is registered nowhere else"" duplicates, "" nulls"" rows"'
    b'"as declared","details":{},"at":null},{"name":"references","outcome":"passed","blocking":true,"message":"'
    b'","details":{},"at":null},{"name":"location","outcome":"passed","blocking":false,"message":"'
    b'","details":{},"at":null},{"name":"key","outcome":"passed","blocking":true,"message":"'
    b'","details":{},"at":null},{"name":"mat_version","outcome":"passed","blocking":true,"message":"'
    b'{"version":{"id":"","datastack":"minnie65_public","name":"","mat_version":1,"revision":0,"inspection":{"location"'
    b':"file:///s3://gs://","format":"delta","snapshot":"0","format":"parquet","snapshot":null,"partition_columns":[],'
    b'"rows":,"bytes":,"files":1,"logical_types":{},"fingerprint":"sha256:","content":"sha256:","content":null,'
    b'"layouts":[]},"layouts":[],"producer":{"pipeline":null,"pipeline":"dagster:","code_version":null,"model":null,'
    b'"config":null,"run_id":null},"derived_from":["@"],"snapshot_time":null,"time_range":null,"corrects":null,'
    b'"created_at":"2026-01-01T00:00:00.000000Z","created_by":""},"schema":"","checks":[{"name":"exists","outcome":'
    b'"passed","blocking":true,"message":"","details":{},"at":null},{"name":"format","outcome":"passed","blocking":'
    b'false,"message":"","details":{},"at":null},{"name":"schema","outcome":"passed","blocking":true,"message":"'
)
_PLAIN, _DEFLATED = b"\0", b"\1"


def packed(content: bytes, dictionary: bytes = _DICTIONARY) -> bytes:
    """Deflated where that is shorter; it could be repeated of the dictionary, too."""
    deflating = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=dictionary)
    deflated = deflating.compress(content) + deflating.flush()
    return _DEFLATED + deflated if len(deflated) < len(content) else _PLAIN + content


def unpacked(stored: bytes, dictionary: bytes = _DICTIONARY) -> bytes:
    """Raises `ValueError` for what is not whole."""
    if stored[:1] == _PLAIN:
        return stored[1:]
    inflating = zlib.decompressobj(-15, zdict=dictionary)
    try:
        content = inflating.decompress(stored[1:])
    except zlib.error as wrong:
        raise ValueError(str(wrong)) from wrong
    if not inflating.eof or stored[:1] != _DEFLATED:
        raise ValueError("a compressed value is not whole")
    return content


class Packed(TypeDecorator[Any]):
    """JSON, deflated. Bytes are taken as they are stored, so that what is copied need not be deflated anew."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:
        return value if value is None or isinstance(value, bytes) else packed(to_json(value))

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:
        return None if value is None else from_json(unpacked(value))


class Instant(TypeDecorator[datetime]):
    """An aware UTC time; SQLite keeps microseconds since 1970."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None or isinstance(value, datetime):
            return None if value is None else value.astimezone(UTC)
        return _EPOCH + timedelta(microseconds=value)


class Id(TypeDecorator[str]):
    """A name that is mostly a UUID, which takes 16 bytes; another text takes more, so that the two differ."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        if value is None:
            return None
        return uuid.UUID(value).bytes if _UUID.fullmatch(value) else value.encode().ljust(17, b"\0")

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        return str(uuid.UUID(bytes=value)) if len(value) == 16 else value.rstrip(b"\0").decode()


class Digest(TypeDecorator[str]):
    """A hash in hexadecimal digits."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else bytes.fromhex(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else value.hex()
