"""Manifests: Arrow streams, of which nearly all begin with a schema that many share, and are small and alike."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa

from feature_registry.catalog.rows import insert_new
from feature_registry.catalog.schema import manifest_forms, manifests
from feature_registry.catalog.types import packed, unpacked

ManifestPart = Literal["files", "groups"]
LARGE = 2**16  # bytes beyond which one is no more like another, and compressed by who made it


def keep_manifests(connection: sa.Connection, version_id: str, contents: Mapping[ManifestPart, bytes]) -> None:
    keep_all(connection, {version_id: contents})


def keep_all(connection: sa.Connection, contents: Mapping[str, Mapping[ManifestPart, bytes]]) -> None:
    """Those of several versions, by their ids."""
    examples: dict[str, bytes] = {}
    rows = [
        {"version_id": version_id, "part": part} | _stored(connection, content, examples)
        for version_id, parts in contents.items()
        for part, content in parts.items()
    ]
    connection.execute(sa.insert(manifests), rows)


def replace_manifest(connection: sa.Connection, version_id: str, content: bytes) -> None:
    """That of the files."""
    change = sa.update(manifests).where(_of(version_id, "files")).values(_stored(connection, content, {}))
    connection.execute(change)


def manifest(connection: sa.Connection, version_id: str, part: ManifestPart = "files") -> bytes | None:
    joined = manifests.join(manifest_forms, manifest_forms.c.id == manifests.c.form_id)
    chosen = sa.select(manifests.c.content, manifest_forms.c.head, manifest_forms.c.example).select_from(joined)
    row = connection.execute(chosen.where(_of(version_id, part))).one_or_none()
    return None if row is None else bytes(row.head + unpacked(row.content, row.example))


def _of(version_id: str, part: ManifestPart) -> sa.ColumnElement[bool]:
    return sa.and_(manifests.c.version_id == version_id, manifests.c.part == part)


def _stored(connection: sa.Connection, content: bytes, examples: dict[str, bytes]) -> dict[str, Any]:
    head, rest = _parts(content)
    form = hashlib.sha256(head).hexdigest()[:32]
    if form not in examples:
        examples[form] = _example(connection, form, head, rest)
    return {"form_id": form, "content": packed(rest, examples[form]) if len(rest) < LARGE else b"\0" + rest}


def _example(connection: sa.Connection, form: str, head: bytes, rest: bytes) -> bytes:
    """Of two that come at once, the first one's."""
    found: bytes | None = connection.execute(_EXAMPLE, {"form": form}).scalar()
    if found is not None:
        return found
    row = {"id": form, "head": head, "example": rest if len(rest) < LARGE else b""}
    insert_new(connection, manifest_forms, [row])
    return _example(connection, form, head, rest)


_EXAMPLE = sa.select(manifest_forms.c.example).where(manifest_forms.c.id == sa.bindparam("form"))


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """The first message of an Arrow stream, which is the schema, and the rest."""
    size = 8 + int.from_bytes(content[4:8], "little") if content[:4] == b"\xff\xff\xff\xff" else 0
    return content[:size], content[size:]
