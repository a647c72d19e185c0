"""The full-text index: one document a table. SQLite's FTS5 or PostgreSQL's tsvector, the same words in both."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from feature_registry.catalog.rows import insert_new
from feature_registry.catalog.schema import facets, words

# A hit in the name counts more than one in the columns: bm25's weights, in the order of the index's columns.
WEIGHTS = (10.0, 4.0, 2.0, 3.0, 1.0)
SQLITE = (
    "CREATE VIRTUAL TABLE documents USING fts5(name, description, columns, tags, owner,"
    " tokenize = \"unicode61 remove_diacritics 2\", prefix = '2 3')"
)

_COLUMNS = sa.select(facets.c.table_id, facets.c.value).where(
    facets.c.table_id.in_(sa.bindparam("tables", expanding=True)), facets.c.kind == "column"
)
_INSERT = {
    "sqlite": sa.text(
        "INSERT OR REPLACE INTO documents (rowid, name, description, columns, tags, owner)"
        " VALUES (:id, :name, :description, :columns, :tags, :owner)"
    ),
    "postgresql": sa.text(
        "INSERT INTO documents (rowid, words) VALUES (:id, setweight(to_tsvector('simple', :name), 'A')"
        " || setweight(to_tsvector('simple', :description || ' ' || :tags), 'B')"
        " || setweight(to_tsvector('simple', :columns), 'C') || setweight(to_tsvector('simple', :owner), 'D'))"
        " ON CONFLICT (rowid) DO UPDATE SET words = excluded.words"
    ),
}


def create(connection: sa.Connection) -> None:
    """What the migration makes; in SQLite, where a catalog's past is looked at."""
    connection.execute(sa.text(SQLITE))


def clear(connection: sa.Connection) -> None:
    connection.execute(sa.text("DELETE FROM documents"))


def index(connection: sa.Connection, tables: Mapping[int, dict[str, Any]]) -> None:
    """Replaces the documents of tables, which are given as JSON."""
    stored: dict[int, set[str]] = {}
    for row in connection.execute(_COLUMNS, {"tables": list(tables)}):
        stored.setdefault(row.table_id, set()).add(row.value)
    documents = {id: _document(body, stored.get(id, set())) for id, body in tables.items()}
    rows = [{"id": id, **document} for id, document in documents.items()]
    connection.execute(_INSERT[connection.dialect.name], rows)
    held = {word for document in documents.values() for text in document.values() for word in text.lower().split()}
    insert_new(connection, words, [{"word": word} for word in sorted(held)])


def _document(body: dict[str, Any], stored: set[str]) -> dict[str, str]:
    said = {name: column.get("description", "") for name, column in body.get("columns", {}).items()}
    owner = body.get("owner") or {}
    document = {
        "name": body["name"],
        "description": body.get("description", ""),
        "columns": " ".join(f"{name} {said.get(name, '')}" for name in sorted({*stored, *said})),
        "tags": " ".join(body.get("tags", ())),
        "owner": f"{owner.get('team') or ''} {owner.get('person') or ''}",
    }
    return {name: _folded(text) for name, text in document.items()}


def matches(connection: sa.Connection, text: str) -> sa.Subquery | None:
    """Tables (`rowid`) whose documents hold every word's beginning, with a `rank` that is best when smallest.

    None where the text has no word.
    """
    typed = _folded(text).split()
    if not typed:
        return None
    if connection.dialect.name == "sqlite":
        weights = ", ".join(map(str, WEIGHTS))
        query = " ".join(f'"{word}"*' for word in typed)
        chosen = f"SELECT rowid, bm25(documents, {weights}) AS rank FROM documents WHERE documents MATCH :words"  # noqa: S608
    else:
        query = " & ".join(f"{word}:*" for word in typed)
        chosen = (
            "SELECT rowid, -ts_rank(words, to_tsquery('simple', :words))::float8 AS rank"
            " FROM documents WHERE words @@ to_tsquery('simple', :words)"
        )
    statement = sa.text(chosen).bindparams(words=query)
    return statement.columns(rowid=sa.BigInteger, rank=sa.Float).subquery("matches")


def _folded(text: str) -> str:
    """Words between single spaces, without diacritics: the two databases would cut and fold them differently."""
    if not text.isascii():
        text = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return re.sub(r"[\W_]+", " ", text)
