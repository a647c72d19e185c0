"""The catalog as JSON, all that a rebuild needs: every table version but drafts, a line each, below its table.

A schema stands once and is named by its place in `schemas`; `number` is a version's place in the order of registration.
The last line holds the SHA-256 of all lines before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError

from feature_registry.errors import Invalid
from feature_registry.model import (
    Contents,
    Datastack,
    Entry,
    FeatureTable,
    MaterializationVersion,
    StoredField,
    TableVersion,
)

FORMAT = "feature_registry catalog 1"
_STORED = {"fields", "arrow_schema"}


def export(contents: Contents) -> str:
    body = "".join(_lines(contents))
    return f'{body},\n"sha256": "{_digest(body)}"}}\n'


def parse(text: str) -> Contents:
    """What `export` was given. Raises `Invalid` for anything but its unaltered text."""
    body, comma, end = text.rstrip().rpartition(',\n"sha256": "')
    if not comma or not body.startswith(f'{{"format": "{FORMAT}",\n'):
        expected = f"{FORMAT!r}, as the export catalog_json writes it, whole"
        raise Invalid(
            "is no export of a catalog, or not all of one", field="export", value=text[:60], expected=expected
        )
    if end != f'{_digest(body)}"}}':
        raise Invalid("was altered since it was exported", field="export", value=end[:64], expected=_digest(body))
    try:
        return _contents(json.loads(body + "}"))
    except (ValidationError, ValueError, LookupError, TypeError) as wrong:  # its checksum holds: a newer writer's
        raise Invalid(f"cannot be read: {wrong}", field="export", value=text[:60], expected=FORMAT) from None


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _lines(contents: Contents) -> Iterator[str]:
    schemas: dict[str, int] = {}
    tables: dict[str, tuple[FeatureTable, list[str]]] = {}
    for number, entry in enumerate(contents.entries):
        schema = schemas.setdefault(entry.version.inspection.model_dump_json(include=_STORED), len(schemas))
        said = entry.version.model_dump_json(exclude={"datastack": True, "name": True, "inspection": _STORED})
        line = f'{{"ref": "{entry.ref}", "number": {number}, "schema": {schema}, "version": {said}}}'
        name = f"{entry.table.datastack}/{entry.table.name}"
        tables.setdefault(name, (entry.table, []))[1].append(line)
    yield f'{{"format": "{FORMAT}",\n'
    yield from _list("datastacks", (each.model_dump_json() for each in contents.datastacks))
    yield from _list("mat_versions", (each.model_dump_json() for each in contents.mat_versions))
    yield from _list("schemas", schemas)
    yield from _list("tables", (_table(*tables[name]) for name in sorted(tables)), last=True)


def _table(table: FeatureTable, versions: list[str]) -> str:
    lines = ",\n  ".join(versions)
    return f'{{"table": {table.model_dump_json(exclude_defaults=True)},\n "versions": [\n  {lines}]}}'


def _list(name: str, items: Iterable[str], last: bool = False) -> Iterator[str]:
    yield f'"{name}": ['
    for at, item in enumerate(items):
        yield f"{',' if at else ''}\n {item}"
    yield "]" if last else "],\n"


def _contents(read: dict[str, Any]) -> Contents:
    mat_versions = {(each["datastack"], each["mat_version"]): each for each in read["mat_versions"]}
    frozen = {key: MaterializationVersion.model_validate(each) for key, each in mat_versions.items()}
    schemas = [
        {"fields": tuple(map(StoredField.model_validate, each["fields"])), "arrow_schema": each["arrow_schema"]}
        for each in read["schemas"]
    ]
    found: dict[int, Entry] = {}
    for each in read["tables"]:
        table = FeatureTable.model_validate(each["table"])
        while each["versions"]:  # what is read is let go: there may be 100,000
            line = each["versions"].pop()
            line["version"]["inspection"] |= schemas[line["schema"]]
            named = {"datastack": table.datastack, "name": table.name}
            version = TableVersion.model_validate(line["version"] | named)
            materialization = frozen.get((version.datastack, version.mat_version))
            found[line["number"]] = Entry.model_construct(table=table, version=version, materialization=materialization)
    return Contents(
        datastacks=tuple(map(Datastack.model_validate, read["datastacks"])),
        mat_versions=tuple(frozen.values()),
        entries=tuple(found[number] for number in sorted(found)),
    )
