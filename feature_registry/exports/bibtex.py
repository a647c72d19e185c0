"""How to cite the tables, as BibTeX: each work once, and which tables it covers."""

from __future__ import annotations

from bibtexparser.entrypoint import write_string
from bibtexparser.library import Library
from bibtexparser.model import Entry, Field

from feature_registry.exports._works import MONTHS, Work, works
from feature_registry.model import Contents

MEDIA_TYPE = "application/x-bibtex"


def export(contents: Contents) -> str:
    return write_string(Library(list(map(_entry, works(contents.entries)))))


def _entry(work: Work) -> Entry:
    fields = [Field(name, value) for name, value in (work.fields | {"note": work.note}).items()]
    for field in fields:
        if field.key == "month" and field.value in MONTHS:  # a macro, which the style spells out
            field.enclosing = "no-enclosing"
    return Entry(work.kind, work.key, fields)
