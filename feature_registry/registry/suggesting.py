"""What one may say of a table, from the names, types and values of its columns, for a person to accept.

Values decide where they can: a key is what is unique, a reference is where the values are found. What names alone
suggest is likely at best.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pyarrow as pa

from feature_registry import formats
from feature_registry.catalog import entries
from feature_registry.cave import SourceTable, meanings
from feature_registry.model import (
    Column,
    Embedding,
    Entry,
    FeatureTable,
    PackedPoint,
    Plain,
    Registration,
    Resolution,
    Search,
    SegmentationNode,
    SplitPoint,
    Suggestion,
    Suggestions,
    TableId,
)
from feature_registry.registry import registration as registering
from feature_registry.registry.validation import Subject

if TYPE_CHECKING:
    from feature_registry.registry import Registry

Sure = Literal["certain", "likely", "possible"]
MOST_TABLES = 50  # in which values are looked for
MOST_PARENT_ROWS = 50_000_000
VALUES = 1_000  # of a column that are looked for
MOST_IDS = 5  # columns of which pairs are tried as a key
SHORTEST_VECTOR = 4
_LARGE = 2**32  # ids above are of one table only; smaller ones count rows, as every table does
_ID = re.compile(r"(?:(.+)_)?id|source|target|pre|post|parent")
_LEVEL2 = re.compile(r"(?:.+_)?(?:l2|lvl2|level_?2)_id")
_AXIS = re.compile(r"(?:(.+)_)?([xyz])(?:_(nm|um|voxels?|vx))?")
_PACKED = re.compile(r".*(?:position|point|coord|xyz|(?:^|_)pt).*")
_UNIT = re.compile(r".+_(nm|um|voxels?|vx)\^?([23]?)")
_MEASURES = {"volume": "um^3", "area": "um^2", "length": "nm", "distance": "nm"}
_COUNT = re.compile(r"(?:n|num|number)_.+|.+_count|count")
_NUMBERED = re.compile(r"(.*\D)([0-9]+)")
_NM = {"nm": 1.0, "um": 1000.0}


class Meant(NamedTuple):
    column: Column
    why: str
    sure: Sure


def suggest(registry: Registry, registration: Registration) -> Suggestions:
    """Reads a sample of rows, and the columns of registered tables that ids may point to; registers nothing."""
    inspected = registering.inspect(registry, registration)
    seen = inspected.inspection
    table = FeatureTable(datastack=registration.datastack, name=registration.name)
    subject = Subject(
        registry, table, seen, registration.mat_version, registration.producer.run_id, (), inspected.manifest
    )
    schema = formats.stored_schema(seen)
    meant = _meanings(schema, registration, _resolution(registry, registration.datastack))
    ids = [each.name for each in schema if pa.types.is_integer(each.type) and _ID.fullmatch(each.name)]
    links = list(_references(subject, [name for name in ids if not _is_node(meant.get(name))]))
    for each in links:
        if each.sure != "possible" and each.column is not None:
            kind = TableId(table=each.value.rpartition(".")[0])
            meant[each.column] = Meant(Column(kind=kind), f"it refers to {each.value}", each.sure)
    columns = [
        Suggestion(field="columns", column=name, value=_json(each.column), why=each.why, sure=each.sure)
        for name, each in meant.items()
    ]
    found = (*columns, *_key(subject, ids), *links)
    return Suggestions(metadata=_metadata(found), suggestions=found)


def _metadata(found: Sequence[Suggestion]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for each in found:
        if each.sure != "possible" and each.column is None:
            metadata[each.field] = each.value
        elif each.sure != "possible":
            metadata.setdefault(each.field, {})[each.column] = each.value
    return metadata


def _json(column: Column) -> dict[str, Any]:
    said = column.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
    return said if column.kind == Plain() else said | {"kind": column.kind.model_dump(mode="json", exclude_none=True)}


def _resolution(registry: Registry, datastack: str) -> Resolution | None:
    with registry.database.read() as connection:
        known = {each.name: each for each in entries.all_datastacks(connection)}
    return known[datastack].voxel_resolution if datastack in known else None


def _is_node(meant: Meant | None) -> bool:
    return meant is not None and isinstance(meant.column.kind, SegmentationNode)


# ------------------------------------------------------------------------------------------------- names and types


def _meanings(schema: pa.Schema, said: Registration, resolution: Resolution | None) -> dict[str, Meant]:
    number = said.mat_version or 0  # which says nothing of the columns
    source = SourceTable(said.datastack, number, said.name, resolution=resolution)
    numeric = [each.name for each in schema if pa.types.is_integer(each.type) or pa.types.is_floating(each.type)]
    by_name = meanings.columns(numeric, source)
    found = {name: Meant(column, "its name, as in CAVE's tables", "likely") for name, column in by_name.items()}
    found |= dict(_vectors(schema))
    for field in schema:
        if field.name not in found:
            is_number = field.name in numeric
            meant = (_axis(field, numeric, resolution) or _measure(field)) if is_number else _packed(field, resolution)
            found |= {} if meant is None else {field.name: meant}
    return found


def _measure(field: pa.Field) -> Meant | None:
    name, whole = field.name, pa.types.is_integer(field.type)
    if whole and _LEVEL2.fullmatch(name):
        return Meant(Column(kind=SegmentationNode(level="level2_id")), "its name", "likely")
    if unit := _UNIT.fullmatch(name):
        power = f"^{unit[2]}" if unit[2] else ""
        return Meant(Column(unit=("voxel" if unit[1].startswith("v") else unit[1]) + power), "its name", "likely")
    if whole and _COUNT.fullmatch(name):
        return Meant(Column(unit="1"), "its name counts", "likely")
    measure = None if whole else next((each for each in _MEASURES if each in name), None)
    if measure is None:
        return None
    return Meant(Column(unit=_MEASURES[measure]), f"a {measure} is often in {_MEASURES[measure]}", "possible")


def _axis(field: pa.Field, numeric: Sequence[str], resolution: Resolution | None) -> Meant | None:
    found = _AXIS.fullmatch(field.name)
    if found is None:
        return None
    point, axis, unit = found.groups()
    if any("_".join(filter(None, (point, each, unit))) not in numeric for each in "xyz"):
        return None
    size, spelled, sure = _scale(unit, pa.types.is_integer(field.type), "xyz".index(axis), resolution)
    if size is None:
        return Meant(Column(unit="voxel"), "one of x, y, z; the datastack's voxels have no known size", "likely")
    kind = SplitPoint(point=point or "point", axis=axis, resolution=size)
    return Meant(Column(unit=spelled, kind=kind), "one of x, y, z", sure)


def _scale(unit: str | None, whole: bool, axis: int, resolution: Resolution | None) -> tuple[float | None, str, Sure]:
    """nm of one unit, its name, and how sure: whole numbers are voxels, others most often nm."""
    if unit in _NM:
        return _NM[unit], unit, "likely"
    if unit or whole:
        return (resolution[axis] if resolution else None), "voxel", "likely"
    return 1.0, "nm", "possible"


def _packed(field: pa.Field, resolution: Resolution | None) -> Meant | None:
    kind = field.type
    if not _is_list(kind) or not _PACKED.fullmatch(field.name) or getattr(kind, "list_size", 3) != 3:
        return None
    nm = field.name.endswith("_nm")
    whole = pa.types.is_integer(kind.value_type)
    if not nm and whole and resolution is None:
        return Meant(Column(unit="voxel"), "a point; the datastack's voxels have no known size", "likely")
    scale: Resolution = (1.0, 1.0, 1.0) if nm or not whole or resolution is None else resolution
    sure: Sure = "likely" if nm or whole else "possible"
    column = Column(unit="voxel" if whole and not nm else "nm", kind=PackedPoint(resolution=scale))
    return Meant(column, "a point", sure)


def _vectors(schema: pa.Schema) -> Iterator[tuple[str, Meant]]:
    """A vector in one column, or one element in each of many."""
    families: dict[str, list[str]] = {}
    for field in schema:
        if _is_list(field.type) and pa.types.is_floating(field.type.value_type):
            size = getattr(field.type, "list_size", 0)
            if size >= SHORTEST_VECTOR:
                yield field.name, Meant(Column(kind=Embedding(dimension=size)), f"a list of {size} numbers", "likely")
        elif pa.types.is_floating(field.type) and (numbered := _NUMBERED.fullmatch(field.name)):
            families.setdefault(numbered[1], []).append(field.name)
    for family, members in families.items():
        if len(members) >= SHORTEST_VECTOR:
            why = f"one of {len(members)} numbered columns {family}N"
            for name in members:
                yield name, Meant(Column(kind=Embedding(dimension=len(members))), why, "likely")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind))


# --------------------------------------------------------------------------------------------------------- values


def _key(subject: Subject, ids: Sequence[str]) -> Iterator[Suggestion]:
    """The first column, or pair of columns, that is unique in the rows that are looked at."""
    from feature_registry.registry.validation import keys, rows

    first = sorted(ids, key=lambda name: (name != "id", "root_id" in name))
    for names in [(each,) for each in first] + list(combinations(first[:MOST_IDS], 2)):
        asked = replace(subject, table=subject.table.model_copy(update={"key": names}))
        found = rows.read("key", lambda asked=asked: keys.key(asked, whole=False))  # type: ignore[misc]
        if found.outcome == "passed":
            all_seen = found.details["rows"] == subject.inspection.rows and found.details["rows"] > 1
            sure: Sure = "certain" if all_seen else "likely"
            yield Suggestion(field="key", value=list(names), why=found.message, sure=sure)
            return


def _references(subject: Subject, names: Sequence[str]) -> Iterator[Suggestion]:
    """For each column the registered table of the datastack in which its values are found."""
    from feature_registry.registry.validation import rows

    parents = _parents(subject) if names else []
    for name in names:
        frame, _ = subject.sampled()
        values = rows.collected(frame.select(name).drop_nulls().unique().head(VALUES))[name].to_list()
        found = [(entry, column, _share(subject, entry, column, values)) for entry, column in parents if values]
        ranked = [(*_judged(name, entry, share, max(values)), entry, column) for entry, column, share in found]
        best = min((each for each in ranked if each[0] < len(_SURE)), key=lambda each: each[0], default=None)
        if best is not None:
            rank, why, entry, column = best
            yield Suggestion(
                field="references", column=name, value=f"{entry.table.name}.{column}", why=why, sure=_SURE[rank]
            )


_SURE: tuple[Sure, ...] = ("certain", "likely", "possible")


def _judged(name: str, entry: Entry, share: float, largest: int) -> tuple[int, str]:
    """The place in `_SURE`, or beyond, and why."""
    stem = name.removesuffix("_id").removesuffix("id").strip("_")
    named = bool(stem) and stem in entry.table.name
    why = f"{share:.0%} of its values are in {entry.ref}" + (", which it is named after" if named else "")
    if share == 1.0 and named:
        return 0, why
    if (share == 1.0 and largest >= _LARGE) or (named and share >= 0.95):
        return 1, why
    return (2, why) if share == 1.0 else (len(_SURE), why)


def _parents(subject: Subject) -> list[tuple[Entry, str]]:
    """Registered tables at the same version, or without one, that have one column as their key."""
    at: Any = "unversioned" if subject.mat_version is None else subject.mat_version
    found = []
    for number in dict.fromkeys((at, "unversioned")):
        wanted = Search(datastack=subject.table.datastack, mat_version=number, columns=True, limit=MOST_TABLES)
        for entry in subject.registry.search(wanted).entries:
            key = entry.table.key or ("id",)
            types = {each.name: each.type for each in entry.version.inspection.fields}
            small = (entry.version.inspection.rows or 0) <= MOST_PARENT_ROWS
            if len(key) == 1 and "int" in types.get(key[0], "") and small and entry.table.name != subject.table.name:
                found.append((entry, key[0]))
    return found


def _share(subject: Subject, entry: Entry, column: str, values: list[int]) -> float:
    import polars as pl

    from feature_registry.registry.validation import rows

    parent = subject.of_version(entry.version).scan().select(pl.col(column).cast(pl.Int128))
    wanted = pl.Series(values, dtype=pl.Int128)
    found = rows.row(parent.filter(pl.col(column).is_in(wanted.implode())).select(pl.col(column).n_unique()))[0]
    return float(found / len(values))
