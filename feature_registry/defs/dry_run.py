"""What would be dumped, asked of the version source and the catalog; nothing is read, recorded or written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from feature_registry.cave import VersionSource, load_version_source
from feature_registry.defs import dumps, forecast, wanted
from feature_registry.errors import NotFound, RegistryError
from feature_registry.model import MaterializationVersion
from feature_registry.registry import Registry


@dataclass(frozen=True)
class Planned:
    """A table at a version. `bytes` are of one layout before it is compressed; None: nobody knows."""

    table: str
    rows: int | None = None
    bytes: int | None = None
    layouts: tuple[str, ...] = ()
    alias: str | None = None
    why_not: str | None = None


def planned(registry: Registry, datastack: str | None, mat_version: int | None) -> Iterator[Planned]:
    """Of the versions that are made unasked, or of the one that is named; of all datastacks that are followed."""
    source = load_version_source(registry.settings.source)
    names = [each.name for each in source.datastacks()]
    if datastack is not None and datastack not in names:
        raise NotFound("is not followed", field="datastack", value=datastack, expected=names)
    announced = {name: {each.mat_version: each for each in source.versions(name)} for name in names}
    for name in [datastack] if datastack else names:
        known = announced[name]
        if mat_version is not None and mat_version not in known:
            raise NotFound("is not announced", field="mat_version", value=mat_version, expected=sorted(known))
        numbers = [mat_version] if mat_version is not None else wanted.unasked(registry.settings, known.values())
        for number in numbers:
            # as announced, for the catalog need not know of it yet
            parent = announced.get(known[number].parent or "", {}).get(number)
            for table in known[number].tables or ():
                aliased = parent if parent and table in (parent.tables or ()) else None
                yield _planned(registry, source, known[number], table, aliased)


def _planned(
    registry: Registry,
    source: VersionSource,
    version: MaterializationVersion,
    table: str,
    parent: MaterializationVersion | None,
) -> Planned:
    ref = f"{version.datastack}/{table}@{version.mat_version}"
    if found := registry.find(version.datastack, table, version.mat_version):
        return Planned(ref, rows=found.inspection.rows, why_not=f"exists as {found.ref}")
    why_not = wanted.objection(registry, registry.settings, version, table)
    if why_not is not None or parent is not None:
        alias = f"{parent.datastack}/{table}@{parent.mat_version}" if parent else None
        return Planned(ref, alias=alias, why_not=why_not)
    try:
        described = source.table(version.datastack, version.mat_version, table)
        rows = source.rows(described)
        try:
            schema, expected = rows.reader.schema, rows.expected or described.rows
        finally:
            rows.close()
    except RegistryError as wrong:
        return Planned(ref, why_not=str(wrong))
    return Planned(
        ref,
        rows=expected,
        bytes=None if expected is None else expected * forecast.width(schema),
        layouts=tuple(layout.name for layout in dumps.arrangements(schema.names)),
        why_not=forecast.late(registry.settings, version, expected),
    )
