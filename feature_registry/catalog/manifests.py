"""Manifests: Arrow streams, of which nearly all begin with a schema that many share, and are small and alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from feature_registry.catalog.schema import manifest_forms, manifests
from feature_registry.catalog.types import packed, unpacked

ManifestPart = Literal["files", "groups"]
LARGE = 2**16  # bytes beyond which one is no more like another, and compressed by who made it


def keep_manifests(connection: sa.Connection, version_id: str, contents: Mapping[ManifestPart, bytes]) -> None:
    rows = [{"version_id": version_id, "part": part} | _stored(connection, each) for part, each in contents.items()]
    connection.execute(sa.insert(manifests), rows)


def replace_manifest(connection: sa.Connection, version_id: str, content: bytes) -> None:
    """That of the files."""
    change = sa.update(manifests).where(_of(version_id, "files")).values(_stored(connection, content))
    connection.execute(change)


def manifest(connection: sa.Connection, version_id: str, part: ManifestPart = "files") -> bytes | None:
    joined = manifests.join(manifest_forms, manifest_forms.c.id == manifests.c.form_id)
    chosen = sa.select(manifests.c.content, manifest_forms.c.head, manifest_forms.c.example).select_from(joined)
    row = connection.execute(chosen.where(_of(version_id, part))).one_or_none()
    return None if row is None else bytes(row.head + unpacked(row.content, row.example))


def _of(version_id: str, part: ManifestPart) -> sa.ColumnElement[bool]:
    return sa.and_(manifests.c.version_id == version_id, manifests.c.part == part)


def _stored(connection: sa.Connection, content: bytes) -> dict[str, Any]:
    head, rest = _parts(content)
    form = hashlib.sha256(head).hexdigest()[:32]
    chosen = sa.select(manifest_forms.c.example).where(manifest_forms.c.id == form)
    example = connection.execute(chosen).scalar()
    if example is None:  # of two that come at once, the first one's is the example
        row = {"id": form, "head": head, "example": rest if len(rest) < LARGE else b""}
        dialect: Any = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(manifest_forms).on_conflict_do_nothing(), row)
        example = connection.execute(chosen).scalar_one()
    return {"form_id": form, "content": packed(rest, example) if len(rest) < LARGE else b"\0" + rest}


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """The first message of an Arrow stream, which is the schema, and the rest."""
    size = 8 + int.from_bytes(content[4:8], "little") if content[:4] == b"\xff\xff\xff\xff" else 0
    return content[:size], content[size:]
