r"""The works that cite tables: each once, with the tables that it covers; no table is left out.

A table's citation is BibTeX, or a sentence with a DOI; a table without one is a work itself. Works are the same if
their DOIs are, or else their keys and titles. Fields are LaTeX, as in BibTeX: plain text is escaped on its way in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from bibtexparser import model as bibtex
from bibtexparser.entrypoint import parse_string
from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db
from pylatexenc.latexwalker import LatexWalkerError

from feature_registry.model import Entry, FeatureTable

DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>{}|\\^`\[\]]+")
DEEPEST = 50  # braces that are still markup; more are somebody's joke
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SPECIAL = {each: f"\\{each}" for each in "&%$#_"} | {
    "{": r"\textbraceleft{}",  # BibTeX counts braces, escaped or not
    "}": r"\textbraceright{}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_ESCAPES = str.maketrans(_SPECIAL)
_LIGATURES = re.compile(r"(?<=[-`'<>,!?])(?=[-`'<>,])")


@dataclass
class Work:
    """`origin` says what it was made from, and so how much is known of it."""

    origin: Literal["bibtex", "sentence", "table"]
    kind: str
    key: str
    fields: dict[str, str]
    covers: list[str] = field(default_factory=list)

    @property
    def doi(self) -> str | None:
        """In lower case and without a resolver: DOIs know no case."""
        address = self.fields.get("url", "")
        said = self.fields.get("doi") or (address if "doi.org/" in address.lower() else "")
        return next(dois(said.replace("\\", "")), None)

    @property
    def name(self) -> tuple[str, str]:
        """The key and the title, whatever their case and punctuation."""
        title = text(self.fields.get("title", "")).casefold()
        return self.key.casefold(), "".join(filter(str.isalnum, title))

    @property
    def note(self) -> str:
        """What it covers, before what is noted already, which may hold a comment or an open formula."""
        said = escaped(f"Data: {'; '.join(self.covers)}")
        return f"{said}. {self.fields['note']}" if self.fields.get("note") else said


def works(entries: Iterable[Entry]) -> list[Work]:
    """In the order of the tables, with keys that differ, in ASCII."""
    tables: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        tables.setdefault((entry.table.datastack, entry.table.name), []).append(entry)
    found: list[Work] = []
    by_doi: dict[str, Work] = {}
    by_name: dict[tuple[str, str], Work] = {}
    for versions in tables.values():
        covered = _covered(versions)
        for work in [*_cited(versions[0].table)] or [_itself(versions)]:
            known = _known(work, by_doi, by_name)
            if known is None:
                found.append(known := work)
            elif known.origin == "sentence" and work.origin == "bibtex":
                known.origin, known.kind, known.key, known.fields = work.origin, work.kind, work.key, work.fields
            by_name.setdefault(work.name, known)
            if work.doi:
                by_doi.setdefault(work.doi, known)
            if covered not in known.covers:
                known.covers.append(covered)
    _distinguish(found)
    return found


def _known(work: Work, by_doi: Mapping[str, Work], by_name: Mapping[tuple[str, str], Work]) -> Work | None:
    if work.doi and work.doi in by_doi:
        return by_doi[work.doi]
    other = by_name.get(work.name)
    return other if other and not (work.doi and other.doi) else None  # a preprint is called as what it became


def _distinguish(found: list[Work]) -> None:
    """BibTeX's keys know no case."""
    taken: set[str] = set()
    for work in found:
        plain = unicodedata.normalize("NFKD", work.key).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^\w:.+/-]+", "_", plain).strip("_") or "work"
        key, number = stem, 1
        while key.lower() in taken:
            number += 1
            key = f"{stem}_{number}"
        taken.add(key.lower())
        work.key = key


# ------------------------------------------------------------------------------------------------------------- tables


def _covered(versions: list[Entry]) -> str:
    table = versions[0].table
    refs = dict.fromkeys(str(each.ref.model_copy(update={"revision": None})) for each in versions)
    forbidden = "redistribution is forbidden" if table.redistribution == "forbidden" else ""
    terms = [table.license or "no licence is said", table.usage_constraints, forbidden]
    return f"{', '.join(refs)} ({'; '.join(_line(each) for each in terms if each)})"


def _itself(versions: list[Entry]) -> Work:
    newest = max(versions, key=lambda entry: entry.version.created_at)
    table = newest.table
    owners = [each for each in (table.owner.person, table.owner.team) if each] if table.owner else []
    columns = dict.fromkeys(each.name for entry in versions for each in entry.version.inspection.fields)
    said = {
        "title": f"{table.name}, a feature table of {table.datastack}",
        "year": str(newest.version.created_at.year),
        "howpublished": f"{table.datastack}/{table.name}",
        "copyright": table.license or "",
        "abstract": table.description,
        "keywords": ", ".join([*table.tags, *columns]),
    }
    fields = {name: escaped(value) for name, value in said.items() if value.strip()}
    if owners:
        fields["author"] = " and ".join(f"{{{escaped(each)}}}" for each in owners)
    return Work("table", "misc", f"{table.datastack}_{table.name}", fields)


def _cited(table: FeatureTable) -> Iterator[Work]:
    for origin, kind, key, fields in _parsed(table.citation):
        yield Work(origin, kind, key or f"{table.datastack}_{table.name}", dict(fields))


_Parsed = tuple[Literal["bibtex", "sentence"], str, str, tuple[tuple[str, str], ...]]


@lru_cache(maxsize=1_000)
def _parsed(citation: str) -> tuple[_Parsed, ...]:
    """The entries of a citation, and each DOI that is said beside them; all of it, where nothing is an entry."""
    if not citation.strip():
        return ()
    found: list[_Parsed] = []
    rest: list[str] = []
    for block in parse_string(citation).blocks if "@" in citation else ():
        held: bibtex.Block | None = block
        if failed := isinstance(block, bibtex.ParsingFailedBlock):  # also by a key or a field that stands twice
            held = block.ignore_error_block
        if isinstance(held, bibtex.Entry) and held.fields:
            said = {each.key.lower(): str(each.value).strip() for each in reversed(held.fields)}
            fields = {name: _field(value[1:-1] if failed else value) for name, value in said.items()}
            named = tuple((name, fields[name]) for name in reversed(fields) if re.fullmatch(r"[\w:.-]+", name))
            found.append(("bibtex", held.entry_type.lower() or "misc", held.key.strip(), named))
        elif not isinstance(block, bibtex.String | bibtex.Preamble):
            rest.append(block.raw or "")
    return (*found, *_sentences(" ".join(rest) if found else citation, bool(found)))


def _sentences(said: str, only_dois: bool) -> Iterator[_Parsed]:
    line = escaped(said)
    for doi in dict.fromkeys(dois(said)) or ([] if only_dois else [""]):
        fields = (("title", line), ("doi", escaped(doi))) if doi else (("title", line),)
        yield "sentence", "misc", "", fields


# -------------------------------------------------------------------------------------------------------------- texts


def dois(said: str) -> Iterator[str]:
    for found in DOI.findall(said):
        doi = found.rstrip(".,;:'")
        while doi.endswith(")") and doi.count(")") > doi.count("("):
            doi = doi[:-1].rstrip(".,;:'")
        yield doi.lower()


def escaped(plain: str) -> str:
    """Plain text as LaTeX, in one line."""
    return _LIGATURES.sub("{}", _line(plain).translate(_ESCAPES))


@lru_cache(maxsize=1_000)
def text(latex: str) -> str:
    """LaTeX as plain text."""
    try:
        return _line(_decoder().latex_to_text(_field(latex)))
    except LatexWalkerError:
        return _line(latex)


@lru_cache(maxsize=1)
def _decoder() -> LatexNodes2Text:
    """Knows all that `escaped` writes."""
    known = get_default_latex_context_db()
    ours = {"textbraceleft": "{", "textbraceright": "}", "textasciicircum": "^"}
    known.add_context_category("ours", prepend=True, macros=[MacroTextSpec(*each) for each in ours.items()])
    return LatexNodes2Text(latex_context=known)


def _field(latex: str) -> str:
    """A field that can stand in braces: whoever counts them, escaped ones or not, finds them in pairs."""
    latex = _line(latex)
    if latex.endswith("\\") or not _paired(latex) or not _paired(re.sub(r"\\[{}]", "", latex)):
        return escaped(re.sub(r"[{}\\]", "", latex))
    return latex


def _paired(latex: str) -> bool:
    depth = 0
    for each in latex:
        depth += (each == "{") - (each == "}")
        if not 0 <= depth <= DEEPEST:
            return False
    return depth == 0


def _line(said: str) -> str:
    """Without control characters, which no bibliography holds."""
    return " ".join("".join(each if each.isprintable() else " " for each in said).split())
