"""How to cite the tables, as the items of CSL JSON, which Zotero, pandoc and citeproc read."""

from __future__ import annotations

import json
import re
from typing import Any

from bibtexparser.middlewares.names import InvalidNameError, parse_single_name_into_parts, split_multiple_persons_names

from feature_registry.exports._works import MONTHS, Work, text, works
from feature_registry.model import Contents

MEDIA_TYPE = "application/vnd.citationstyles.csl+json"
TYPES = {
    "article": "article-journal",
    "book": "book",
    "booklet": "pamphlet",
    "conference": "paper-conference",
    "dataset": "dataset",
    "inbook": "chapter",
    "incollection": "chapter",
    "inproceedings": "paper-conference",
    "manual": "document",
    "mastersthesis": "thesis",
    "online": "webpage",
    "phdthesis": "thesis",
    "proceedings": "book",
    "software": "software",
    "techreport": "report",
    "thesis": "thesis",
    "unpublished": "manuscript",
}
FIELDS = {  # of CSL, with the fields of BibTeX that fill them, the best one first
    "title": ("title",),
    "container-title": ("journal", "journaltitle", "booktitle"),
    "collection-title": ("series",),
    "publisher": ("publisher", "institution", "school", "organization"),
    "publisher-place": ("address", "location"),
    "volume": ("volume",),
    "edition": ("edition",),
    "page": ("pages",),
    "version": ("version",),
    "DOI": ("doi",),
    "URL": ("url",),
    "ISBN": ("isbn",),
    "ISSN": ("issn",),
    "abstract": ("abstract",),
    "keyword": ("keywords",),
    "source": ("howpublished",),
}


def export(contents: Contents) -> str:
    return json.dumps(list(map(_item, works(contents.entries))), indent=1, ensure_ascii=False) + "\n"


def _item(work: Work) -> dict[str, Any]:
    kind = "dataset" if work.origin == "table" else TYPES.get(work.kind, "document")
    item: dict[str, Any] = {"id": work.key, "type": kind}
    for role in ("author", "editor"):
        if names := list(map(_name, split_multiple_persons_names(work.fields.get(role, "")))):
            item[role] = names
    for name, sources in FIELDS.items():
        found = next((work.fields[source] for source in sources if work.fields.get(source)), None)
        if found is not None:
            item[name] = text(found)
    if "number" in work.fields:
        item["issue" if work.kind == "article" else "number"] = text(work.fields["number"])
    if issued := _date(work):
        item["issued"] = {"date-parts": [issued]}
    if work.doi:
        item["DOI"] = work.doi
    return item | {"note": text(work.note)}


def _name(name: str) -> dict[str, str]:
    """One braced as a whole is a group's."""
    try:
        parts = parse_single_name_into_parts(name, strict=False)
    except InvalidNameError:
        return {"literal": text(name)}
    if not parts.first and not parts.von and not parts.jr:
        return {"literal": text(name)}
    said = {
        "family": parts.last,
        "given": parts.first,
        "non-dropping-particle": parts.von,
        "suffix": parts.jr,
    }
    return {part: text(" ".join(words)) for part, words in said.items() if words}


def _date(work: Work) -> list[int]:
    found = re.match(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?", work.fields.get("date") or work.fields.get("year", ""))
    if found is None:
        return []
    parts = [int(part) for part in found.groups() if part]
    month = text(work.fields.get("month", "")).strip().lower()
    if len(parts) == 1 and month:
        number = int(month) if month.isdecimal() else MONTHS.index(month[:3]) + 1 if month[:3] in MONTHS else 0
        parts += [number] if 1 <= number <= 12 else []
    return parts
