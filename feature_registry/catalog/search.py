"""Finds entries by text and filters, page by page. A page begins after the last row of the one before (keyset)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from feature_registry.catalog import entries, graph, texts
from feature_registry.catalog.documents import matches
from feature_registry.catalog.latest import Expired, expired
from feature_registry.catalog.schema import datastacks, facets, feature_tables, producers, versions
from feature_registry.errors import Invalid
from feature_registry.model import Found, Search

# Built once: SQLAlchemy takes longer for it than the database for a page.
_OTHER = versions.alias("other")
_BESIDE = sa.and_(_OTHER.c.table_id == versions.c.table_id, entries.numbered(_OTHER) == entries.numbered())
_MY_DRAFT = sa.and_(
    versions.c.status == "draft",
    versions.c.created_by == sa.bindparam("person"),
    ~sa.exists().where(_BESIDE, _OTHER.c.revision > versions.c.revision),
)
_NOBODY_SEES_ANOTHER = ~sa.exists().where(_BESIDE, _OTHER.c.current)


class Chosen(NamedTuple):
    """Tables with the versions of them that the person sees, and what orders them."""

    joined: sa.FromClause
    where: list[sa.ColumnElement[bool]]
    keys: list[Any]  # the last is the version's id
    corrected: dict[str, tuple[str, ...]]


def search(connection: sa.Connection, wanted: Search, person: str, now: datetime | None = None) -> Found:
    """A page of what the person may see: the current revision of each table, and own drafts; nothing whose retention
    was over at the instant `now`.
    """
    chosen = choose(connection, wanted, now)
    if chosen is None:
        return Found(entries=())
    keys = chosen.keys
    statement = sa.select(*(key.label(f"key{at}") for at, key in enumerate(keys)))
    statement = statement.select_from(chosen.joined).where(*chosen.where)
    if wanted.after is not None:
        statement = statement.where(_beyond(keys, _position(wanted.after, keys)))
    # The page first, then what it shows: most of an entry's bytes would be read to be thrown away.
    rows = connection.execute(statement.order_by(*keys).limit(wanted.limit + 1), {"person": person}).all()
    page = rows[: wanted.limit]
    last = list(page[-1]) if len(rows) > wanted.limit else None
    found = entries.by_ids(connection, [row[-1] for row in page], wanted.columns)
    return Found(entries=found, next=_token(last) if last else None, corrected=chosen.corrected)


def _beyond(keys: list[Any], position: list[Any]) -> sa.ColumnElement[bool]:
    """In two steps, for the last key is another table's: what the others say is a range of their table's index."""
    table, begin = sa.tuple_(*keys[:-1]), sa.tuple_(*position[:-1])
    return sa.and_(table >= begin, sa.or_(table > begin, keys[-1] > position[-1]))


def choose(connection: sa.Connection, wanted: Search, now: datetime | None) -> Chosen | None:
    """None where the text has no word in it."""
    texts.check(dict(wanted))
    table_id: sa.ColumnElement[int] = feature_tables.c.id
    if connection.dialect.name == "sqlite" and wanted.mat_version not in (None, "latest"):
        # So that it goes from the tables, in the order of the page, to their versions: it has no statistics, and would
        # read and sort all that is at the version for each page of it.
        table_id = table_id + 0
    joined: sa.FromClause = feature_tables.join(versions, versions.c.table_id == table_id)
    visible = _visible(wanted, expired(connection, now) if now else Expired({}))
    where = [visible, *_filters(connection, wanted)]
    if not wanted.text.strip():
        return Chosen(joined, where, [feature_tables.c.datastack, feature_tables.c.name, versions.c.id], {})
    hits = matches(connection, wanted.text)
    if hits is None:
        return None
    joined = joined.join(hits.found, hits.found.c.rowid == feature_tables.c.id)
    return Chosen(joined, where, [hits.found.c.rank, versions.c.id], hits.corrected)


def _visible(wanted: Search, hidden: Expired) -> sa.ColumnElement[bool]:
    """What may be seen of what was wanted."""
    return _wanted(wanted, hidden.face()) & ~hidden.holds() if hidden.before else _wanted(wanted, hidden.face())


def _wanted(wanted: Search, face: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    """The current revision; where there is none, or drafts are asked for, the person's newest draft."""
    if wanted.mat_version == "latest":
        return sa.and_(versions.c.id == face, versions.c.mat_version.is_not(None))
    if wanted.mat_version is None:
        alone: sa.ColumnElement[bool] = sa.true() if wanted.status == "draft" else feature_tables.c.face_id.is_(None)
        return sa.or_(versions.c.id == face, sa.and_(_MY_DRAFT, alone))
    number = None if wanted.mat_version == "unversioned" else wanted.mat_version
    alone = sa.true() if wanted.status == "draft" else _NOBODY_SEES_ANOTHER
    at = versions.c.mat_version.is_(None) if number is None else versions.c.mat_version == number
    return sa.and_(at, sa.or_(versions.c.current, sa.and_(_MY_DRAFT, alone)))


def _facet(kind: str, value: str | None) -> sa.ColumnElement[bool]:
    """Asked table by table: a facet may be most tables', and listing those would take longer than a page."""
    own = facets.c.table_id == feature_tables.c.id
    return sa.exists().where(own, facets.c.kind == kind, facets.c.value == value)


def _filters(connection: sa.Connection, wanted: Search) -> list[sa.ColumnElement[bool]]:
    given = {name: value for name, value in wanted if value is not None}
    chosen = [condition(given[name]) for name, condition in _CONDITIONS.items() if name in given]
    chosen += [_facet("tag", tag) for tag in wanted.tags]
    if wanted.any_tags:
        chosen.append(sa.or_(*(_facet("tag", tag) for tag in wanted.any_tags)))
    if wanted.model_before is not None:
        chosen.append(_made_by(producers.c.model.in_(_models_before(connection, wanted.model_before))))
    return chosen


def _models_before(connection: sa.Connection, model: str) -> list[str]:
    """Those of the same name with lower numbers behind it, which are counted and not spelled: 1.9 is before 1.10."""
    name, numbers = _numbered(model)
    if not numbers:
        raise Invalid("has no number", field="model_before", value=model, expected="such as segclr-2.1")
    held = connection.execute(sa.select(producers.c.model).where(producers.c.model.is_not(None)).distinct()).scalars()
    return [each for each in held if (found := _numbered(each))[0] == name and () < found[1] < numbers]


def _numbered(model: str) -> tuple[str, tuple[int, ...]]:
    numbers = re.search(r"\d+(?:\.\d+)*$", model, re.ASCII)
    if numbers is None:
        return model, ()
    return model[: numbers.start()], tuple(map(int, numbers[0].split(".")))


def _of_volume(volume: str) -> sa.ColumnElement[bool]:
    return feature_tables.c.datastack.in_(sa.select(datastacks.c.name).where(datastacks.c.aligned_volume == volume))


def _of_owner(owner: str) -> sa.ColumnElement[bool]:
    return sa.or_(feature_tables.c.team == owner, feature_tables.c.person == owner)


def _of_producer(producer: str) -> sa.ColumnElement[bool]:
    names = (producers.c.pipeline, producers.c.model, producers.c.code_version)
    return sa.or_(versions.c.run_id == producer, _made_by(sa.or_(*(name == producer for name in names))))


def _made_by(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return versions.c.producer_id.in_(sa.select(producers.c.id).where(condition))


def _said(field: str) -> Any:
    """A field of the metadata that has no column of its own: few ask for it."""
    return feature_tables.c.body[field]


def _showing(at: datetime) -> sa.ColumnElement[bool]:
    """An instant is its own end; a range is half open."""
    ends = sa.or_(versions.c.ends_at > at, versions.c.ends_at == versions.c.starts_at)
    return sa.and_(versions.c.starts_at <= at, ends)


_CONDITIONS: dict[str, Callable[[Any], sa.ColumnElement[bool]]] = {
    "datastack": lambda datastack: feature_tables.c.datastack == datastack,
    "aligned_volume": _of_volume,
    "name": lambda name: feature_tables.c.name == name,
    "column": lambda column: _facet("column", column),
    "owner": _of_owner,
    "license": lambda license: feature_tables.c.license == license,
    "format": lambda format: versions.c.format == format,
    "status": lambda status: versions.c.status == status,
    "unit": lambda unit: _facet("unit", unit),
    "kind": lambda kind: _facet("kind", kind),
    "key": lambda column: _facet("key", column),
    "partition_column": lambda column: _facet("partition", column),
    "hash_column": lambda column: sa.or_(_facet("hash", column), _facet("bucketed", column)),
    "producer": _of_producer,
    "code_version": lambda code: _made_by(producers.c.code_version == code),
    "config": lambda config: _made_by(producers.c.config == config),
    "model": lambda model: _made_by(producers.c.model == model),
    "superseded_by": lambda table: _said("superseded_by").as_string() == table,
    "location": entries.at_or_below,
    "snapshot": lambda snapshot: versions.c.snapshot == snapshot,
    "layout": lambda layout: _facet("layout", layout),
    "usage_constraints": lambda words: _said("usage_constraints").as_string().icontains(words, autoescape=True),
    "citation": lambda words: _said("citation").as_string().icontains(words, autoescape=True),
    "invalidation_radius": lambda radius: _said("invalidation_radius").as_float() <= radius,
    "retention_days": lambda days: feature_tables.c.body["retention"]["days"].as_integer() <= days,
    "created_by": lambda person: versions.c.created_by == person,
    "references": lambda table: _facet("reference", table),
    "derived_from": graph.derived_from,
    "mutability": lambda mutability: feature_tables.c.mutability == mutability,
    "durability": lambda durability: feature_tables.c.durability == durability,
    "at": _showing,
}


def _token(position: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _position(after: str, keys: list[Any]) -> list[Any]:
    try:
        position = json.loads(base64.urlsafe_b64decode(after))
        expected = [float if isinstance(key.type, sa.Float) else str for key in keys]
        fits = isinstance(position, list) and list(map(type, position)) == expected
    except ValueError:
        fits = False
    if not fits:
        raise Invalid("is no page's end", field="after", value=after, expected="the `next` of the page before")
    return [sa.literal(value, key.type) for value, key in zip(position, keys, strict=True)]
