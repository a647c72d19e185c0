"""Finds entries by text and filters, page by page. A page begins after the last row of the one before (keyset)."""

from __future__ import annotations

import base64
import json
from typing import Any

import sqlalchemy as sa

from feature_registry.catalog.documents import matches
from feature_registry.catalog.entries import JOINED, SELECTED, entry_of
from feature_registry.catalog.schema import datastacks, facets, feature_tables, lineage, versions
from feature_registry.errors import Invalid
from feature_registry.model import Found, Search


def search(connection: sa.Connection, wanted: Search, person: str) -> Found:
    """A page of what the person may see: the current revision of each table, and own drafts."""
    joined: sa.FromClause = JOINED
    keys: list[Any] = [feature_tables.c.datastack, feature_tables.c.name, versions.c.id]
    hits = matches(connection, wanted.text)
    if hits is not None:
        joined = joined.join(hits, hits.c.rowid == feature_tables.c.id)
        keys = [hits.c.rank, versions.c.id]
    elif wanted.text.strip():
        return Found(entries=())
    statement = sa.select(*SELECTED, *(key.label(f"key{at}") for at, key in enumerate(keys))).select_from(joined)
    statement = statement.where(_visible(wanted, person), *_filters(wanted))
    if wanted.after is not None:
        statement = statement.where(sa.tuple_(*keys) > sa.tuple_(*_position(wanted.after, keys)))
    rows = connection.execute(statement.order_by(*keys).limit(wanted.limit + 1)).all()
    page = rows[: wanted.limit]
    more = len(rows) > wanted.limit
    last = [getattr(page[-1], f"key{at}") for at in range(len(keys))] if more else None
    return Found(entries=tuple(map(entry_of, page)), next=_token(last) if last else None)


def _visible(wanted: Search, person: str) -> sa.ColumnElement[bool]:
    """The current revision; where there is none, or drafts are asked for, the person's newest draft."""
    other = versions.alias("other")
    beside = sa.and_(
        other.c.table_id == versions.c.table_id, other.c.mat_version.is_not_distinct_from(versions.c.mat_version)
    )
    draft = sa.and_(
        versions.c.status == "draft",
        versions.c.created_by == person,
        ~sa.exists().where(beside, other.c.revision > versions.c.revision),
    )
    if wanted.mat_version == "latest":
        return sa.and_(versions.c.id == feature_tables.c.face_id, versions.c.mat_version.is_not(None))
    if wanted.mat_version is None:
        alone: sa.ColumnElement[bool] = sa.true() if wanted.status == "draft" else feature_tables.c.face_id.is_(None)
        return sa.or_(versions.c.id == feature_tables.c.face_id, sa.and_(draft, alone))
    number = None if wanted.mat_version == "unversioned" else wanted.mat_version
    alone = sa.true() if wanted.status == "draft" else ~sa.exists().where(beside, other.c.current)
    at = versions.c.mat_version.is_not_distinct_from(number)
    return sa.and_(at, sa.or_(versions.c.current, sa.and_(draft, alone)))


def _filters(wanted: Search) -> list[sa.ColumnElement[bool]]:
    table, version = feature_tables.c, versions.c
    volume = sa.select(datastacks.c.name).where(datastacks.c.aligned_volume == wanted.aligned_volume)
    parents = sa.select(lineage.c.version_id).where(lineage.c.parent_table == wanted.derived_from)
    begins, ends = version.starts_at <= wanted.at, version.ends_at > wanted.at
    filters: dict[str, sa.ColumnElement[bool]] = {
        "datastack": table.datastack == wanted.datastack,
        "aligned_volume": table.datastack.in_(volume),
        "name": table.name == wanted.name,
        "column": _facet("column", wanted.column),
        "owner": sa.or_(table.team == wanted.owner, table.person == wanted.owner),
        "license": table.license == wanted.license,
        "format": version.format == wanted.format,
        "status": version.status == wanted.status,
        "producer": sa.or_(version.pipeline == wanted.producer, version.model == wanted.producer),
        "references": _facet("reference", wanted.references),
        "derived_from": version.id.in_(parents),
        "mutability": table.mutability == wanted.mutability,
        "durability": table.durability == wanted.durability,
        # An instant is its own end; a range is half open.
        "at": sa.and_(begins, sa.or_(ends, version.ends_at == version.starts_at)),
    }
    chosen = [condition for name, condition in filters.items() if getattr(wanted, name) is not None]
    return chosen + [_facet("tag", tag) for tag in wanted.tags]


def _facet(kind: str, value: str | None) -> sa.ColumnElement[bool]:
    return feature_tables.c.id.in_(sa.select(facets.c.table_id).where(facets.c.kind == kind, facets.c.value == value))


def _token(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _position(after: str, keys: list[Any]) -> list[Any]:
    try:
        position = json.loads(base64.urlsafe_b64decode(after))
    except ValueError:
        position = None
    if not isinstance(position, list) or len(position) != len(keys):
        raise Invalid("is no page's end", field="after", value=after, expected="the `next` of the page before")
    return [sa.literal(value, key.type) for value, key in zip(position, keys, strict=True)]
