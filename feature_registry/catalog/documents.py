"""The full-text index: one document a table. SQLite's FTS5 or PostgreSQL's tsvector, the same words in both."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from rapidfuzz import process
from rapidfuzz.distance import OSA

from feature_registry.catalog.rows import insert_new
from feature_registry.catalog.schema import facets, words

# A hit in the name counts more than one in the columns: bm25's weights, in the order of the index's columns.
WEIGHTS = (10.0, 4.0, 2.0, 3.0, 1.0)
SHORTEST_CORRECTED, LONG = 4, 8  # letters: of one for a letter wrong, missing, or swapped with the next; of one for two
MOST_TAKEN = 5  # words for a mistyped one
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
# What has not the very words comes after all that has them.
_BEHIND = "1e6"
_MATCHES = {
    "sqlite": f"SELECT rowid, bm25(documents, {', '.join(map(str, WEIGHTS))}) + CASE WHEN rowid IN"  # noqa: S608
    f" (SELECT rowid FROM documents WHERE documents MATCH :exact) THEN 0 ELSE {_BEHIND} END AS rank"
    " FROM documents WHERE documents MATCH :begun",
    "postgresql": "SELECT rowid, CASE WHEN words @@ to_tsquery('simple', :exact) THEN 0"  # noqa: S608
    f" ELSE {_BEHIND} END - ts_rank(words, to_tsquery('simple', :begun))::float8 AS rank"
    " FROM documents WHERE words @@ to_tsquery('simple', :begun)",
}
_SEEN = " JOIN feature_tables ON feature_tables.id = documents.rowid WHERE face_id IS NOT NULL AND "
_HELD = {
    "sqlite": sa.text(f"SELECT 1 FROM documents{_SEEN} documents MATCH :query LIMIT 1"),  # noqa: S608
    "postgresql": sa.text(f"SELECT 1 FROM documents{_SEEN} words @@ to_tsquery('simple', :query) LIMIT 1"),  # noqa: S608
}
_ALL = {"sqlite": " AND ", "postgresql": " & "}


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


class Matches(NamedTuple):
    """Tables (`rowid`) whose documents hold all words, with a `rank` that is best when smallest: those with the very
    words come before those whose words only begin with them. `corrected` says which words were taken for which.
    """

    found: sa.Subquery
    corrected: dict[str, tuple[str, ...]]


def matches(connection: sa.Connection, text: str) -> Matches | None:
    """A word that nothing begins with is taken for the nearest that there are. None where the text has no word."""
    typed = dict.fromkeys(_folded(text).lower().split())
    if not typed:
        return None
    corrected = {word: found for word in typed if (found := _nearest(connection, word))}
    dialect = connection.dialect.name
    exact, begun = (
        _ALL[dialect].join(
            _any(dialect, corrected.get(word, (word,)), begins and word not in corrected) for word in typed
        )
        for begins in (False, True)
    )
    statement = sa.text(_MATCHES[dialect]).bindparams(exact=exact, begun=begun)
    return Matches(statement.columns(rowid=sa.BigInteger, rank=sa.Float).subquery("matches"), corrected)


def _nearest(connection: sa.Connection, word: str) -> tuple[str, ...]:
    """The words nearest to one that is in no document, of those in the documents of tables that all people see."""
    most = 0 if len(word) < SHORTEST_CORRECTED else 1 if len(word) < LONG else 2
    if most == 0 or _is_held(connection, word, begins=True):
        return ()
    of_length = sa.func.length(words.c.word).between(len(word) - most, len(word) + most)
    near = process.extract(
        word,
        list(connection.execute(sa.select(words.c.word).where(of_length)).scalars()),
        scorer=OSA.distance,
        score_cutoff=most,
        limit=None,
    )
    for distance in range(1, most + 1):
        found = [each for each, at, _ in near if at == distance and _is_held(connection, each, begins=False)]
        if found:
            return tuple(sorted(found)[:MOST_TAKEN])
    return ()


def _is_held(connection: sa.Connection, word: str, begins: bool) -> bool:
    dialect = connection.dialect.name
    return connection.execute(_HELD[dialect], {"query": _any(dialect, (word,), begins)}).first() is not None


def _any(dialect: str, some: Sequence[str], begins: bool) -> str:
    """A query for words, or for what begins with them."""
    if dialect == "sqlite":
        return "(" + " OR ".join(f'"{word}"{"*" if begins else ""}' for word in some) + ")"
    return "(" + " | ".join(f"{word}{':*' if begins else ''}" for word in some) + ")"


def _folded(text: str) -> str:
    """Words between single spaces, without diacritics: the two databases would cut and fold them differently."""
    if not text.isascii():
        text = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    return re.sub(r"[\W_]+", " ", text)
