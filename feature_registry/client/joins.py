"""Joins of table versions, as LazyFrames on links.

Which columns join is declared: a column that references another table's column joins with it, and two columns that
reference the same one join with each other. Whether they may is decided before anything is planned: tables lie in one
aligned volume, and of columns that are frozen at different materialization versions only ids that outlive a version
join, unless the caller says otherwise. What comes from another version than the first table's says so in its name,
`column@1412`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from feature_registry.client.filters import Where
from feature_registry.errors import Invalid
from feature_registry.model import Column, Entry, SegmentationNode, TableId

if TYPE_CHECKING:
    import polars as pl

    from feature_registry.client.http import Service
    from feature_registry.client.table import Table

How: TypeAlias = Literal["left", "inner"]
On: TypeAlias = str | Sequence[str] | Mapping[str, str] | None  # a mapping goes from the first table's columns
Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass
class _Part:
    """A table of the join; `names` are those of its columns in the answer."""

    table: Table
    pairs: Pairs  # its columns with those of `to`, (to's, its own)
    to: int  # the place of the table that it joins; the first one has no pairs
    names: dict[str, str]


def joined(
    tables: Sequence[Table],
    on: On = None,
    how: How = "left",
    where: Where = None,
    columns: Sequence[str] | None = None,
    *,
    across_versions: bool = False,
    across_volumes: bool = False,
) -> pl.LazyFrame:
    """The rows of the first table with the columns of the others.

    `where` chooses rows of the first table, `columns` are the answer's. Raises `Invalid` for a join that is not
    declared, or not allowed, before anything is granted.
    """
    import polars as pl

    if how not in ("left", "inner"):
        raise Invalid("is no join", field="how", value=how, expected=["left", "inner"])
    if not across_volumes:
        check_volumes(tables[0]._service, [each.entry for each in tables])
    parts = _arranged(tables, on)
    if not across_versions:
        for part in parts[1:]:
            _check_versions(parts[part.to].table.entry, part.table.entry, part.pairs)
    wanted = _wanted(parts, columns)
    frame = parts[0].table.scan(where, _stored(parts, 0, wanted))
    for number, part in enumerate(parts[1:], 1):
        left = {name: parts[part.to].names[of] for of, name in part.pairs}
        types = {name: parts[part.to].table.schema[of] for of, name in part.pairs}
        right = part.table.scan(_passed_on(where, parts, number), _stored(parts, number, wanted))
        # A key that the other type cannot hold becomes null, which is equal to nothing; never a float.
        right = right.with_columns(pl.col(name).cast(kind, strict=False) for name, kind in types.items())
        right = right.rename({name: said for name, said in part.names.items() if name not in types}, strict=False)
        frame = frame.join(right, left_on=list(left.values()), right_on=list(left), how=how, coalesce=True)
    return frame.select(wanted)


def check_volumes(service: Service, entries: Sequence[Entry]) -> None:
    """Raises `Invalid` unless all entries lie in one aligned volume, or in one datastack."""
    names = list(dict.fromkeys(entry.table.datastack for entry in entries))
    if len(names) < 2:
        return
    known = {each.name: each.aligned_volume for each in service.datastacks()}
    volumes = {name: known.get(name) for name in names}
    if None in volumes.values():
        message = "have tables that are read together, but it is not known whether they are of one aligned volume"
        expected = "the datastack's aligned_volume in the catalog, or across_volumes=True"
    elif len(set(volumes.values())) > 1:
        message = "are of different aligned volumes: their points and ids have nothing to do with each other"
        expected = "tables of one volume, or across_volumes=True"
    else:
        return
    raise Invalid(message, field="datastacks", value=volumes, expected=expected)


def _arranged(tables: Sequence[Table], on: On) -> list[_Part]:
    first = tables[0]
    parts = [_Part(first, (), 0, {name: name for name in first.schema})]
    for table in tables[1:]:
        to, pairs = (0, _explicit(on, first, table)) if on is not None else _declared(parts, table)
        for left, right in pairs:
            _check_types(parts[to].table, left, table, right)
        parts.append(_Part(table, pairs, to, _named(parts, to, table, pairs)))
    return parts


def _named(parts: list[_Part], to: int, table: Table, pairs: Pairs) -> dict[str, str]:
    """Keys are called as in the table that is joined; what is taken already, or of another version, is marked."""
    label = _label(parts[0].table.entry, table.entry)
    keys = {right: parts[to].names[left] for left, right in pairs}
    taken = {name for part in parts for name in part.names.values()}
    names = dict(keys)
    for name in table.schema:
        if name not in keys:
            plain = name if f"{name}{label}" not in taken else f"{name}_{table.name}"
            names[name] = f"{plain}{label}"
            while names[name] in taken:
                names[name] += "_"
            taken.add(names[name])
    return names


def _label(first: Entry, other: Entry) -> str:
    if _frozen(first) == _frozen(other):
        return ""
    version = "unversioned" if other.version.mat_version is None else str(other.version.mat_version)
    return f"@{version}" if first.table.datastack == other.table.datastack else f"@{other.table.datastack}@{version}"


def _frozen(entry: Entry) -> tuple[str, int] | None:
    """What froze it: a version of a datastack, or of the one that it is a view of. None: it is unversioned."""
    if entry.version.mat_version is None:
        return None
    parent = entry.materialization.parent if entry.materialization else None
    return parent or entry.table.datastack, entry.version.mat_version


# ------------------------------------------------------------------------------------------------------- which columns


def _explicit(on: On, left: Table, right: Table) -> Pairs:
    given = {on: on} if isinstance(on, str) else on
    pairs = tuple(given.items()) if isinstance(given, Mapping) else tuple((name, name) for name in given or ())
    if not pairs:
        raise Invalid("names no column", field="on", value=on, expected="a column, or None for the declared one")
    for table, name in [(table, name) for pair in pairs for table, name in zip((left, right), pair, strict=True)]:
        if name not in table.schema:
            raise Invalid(f"is no column of {table.ref}", field="on", value=name, expected=list(table.schema))
    return pairs


def _declared(parts: list[_Part], table: Table) -> tuple[int, Pairs]:
    """The pair that is declared with the earliest table that has one; of one table, its key. Raises `Invalid` if
    there are several.
    """
    for place, part in enumerate(parts):
        if table.entry.table.key and _own(part.table.entry, "") == _own(table.entry, ""):
            return place, tuple((name, name) for name in table.entry.table.key)
        found = list(_candidates(part.table, table))
        direct = [pair for pair, is_direct in found if is_direct]
        pairs = direct or [pair for pair, _ in found]
        if len(pairs) == 1:
            return place, (pairs[0],)
        if pairs:
            raise _undecided("can be joined in several ways", part.table, table, pairs)
    raise _undecided("have no declared reference between them", parts[0].table, table, [])


def _undecided(message: str, left: Table, right: Table, pairs: list[tuple[str, str]]) -> Invalid:
    ways: list[object] = [{a: b} for a, b in pairs] or [{a: a} for a in left.schema if a in right.schema]
    expected = f"on= one of {ways}" if ways else "on={column of the first: column of the other}"
    return Invalid(f"{left.ref} and {right.ref} {message}", field="on", expected=expected)


def _candidates(left: Table, right: Table) -> Iterator[tuple[tuple[str, str], bool]]:
    """Pairs of columns that mean the same by what is declared, and whether one references the other itself."""
    ours, theirs = _meanings(left.entry), _meanings(right.entry)
    for a, of_a in ours.items():
        for b, of_b in theirs.items():
            if a in left.schema and b in right.schema and of_a & of_b:
                yield (a, b), bool({_own(left.entry, a), _own(right.entry, b)} & of_a & of_b)


def _meanings(entry: Entry) -> dict[str, set[str]]:
    """What each column holds: values of `datastack/table.column`, its own and the one that it references."""
    table = entry.table
    stored = [field.name for field in entry.version.inspection.fields]
    found = {name: {_own(entry, name)} for name in stored}
    for name, target in table.references.items():
        found.setdefault(name, set()).add(target if "/" in target else f"{table.datastack}/{target}")
    return found


def _own(entry: Entry, column: str) -> str:
    return f"{entry.table.datastack}/{entry.table.name}.{column}"


# ------------------------------------------------------------------------------------------------- whether they may


def _check_types(left: Table, a: str, right: Table, b: str) -> None:
    one, other = left.schema[a], right.schema[b]
    if one != other and not (one.is_integer() and other.is_integer()):
        message = f"{left.ref} has {a} as {one}, {right.ref} has {b} as {other}"
        raise Invalid(message, field="on", value={a: b}, expected="columns of one type, or both of integers")


def _check_versions(left: Entry, right: Entry, pairs: Pairs) -> None:
    """Unversioned tables may be joined with any version; ids may that outlive one."""
    if None in (_frozen(left), _frozen(right)) or _frozen(left) == _frozen(right):
        return
    said = "tables of one materialization version, or across_versions=True"
    for a, b in pairs:
        kinds = [_column(entry, name).kind for entry, name in ((left, a), (right, b))]
        nodes = [kind for kind in kinds if isinstance(kind, SegmentationNode)]
        edited = [kind.level for kind in nodes if kind.level != "supervoxel_id"]
        value = {str(left.ref): a, str(right.ref): b}
        if edited:
            message = f"a {edited[0]} belongs to one materialization version: an edit gives the cell another one"
            raise Invalid(message, field="on", value=value, expected=said)
        if not nodes and not any(isinstance(kind, TableId) for kind in kinds) and not _to_id(left, a, right, b):
            message = "it is not declared whether these values outlive a materialization version"
            expected = f"{said}, or the column's kind: id, or segmentation_node with its level"
            raise Invalid(message, field="on", value=value, expected=expected)


def _column(entry: Entry, name: str) -> Column:
    return entry.table.columns.get(name, Column())


def _to_id(left: Entry, a: str, right: Entry, b: str) -> bool:
    """Whether a column without a kind references an annotation table's `id`."""
    targets = (entry.table.references.get(name, "") for entry, name in ((left, a), (right, b)))
    return any(target.endswith(".id") for target in targets)


# ------------------------------------------------------------------------------------------------------ what is read


def _wanted(parts: list[_Part], columns: Sequence[str] | None) -> list[str]:
    """The answer's columns. Raises `Invalid` for one that it does not have."""
    names = list(dict.fromkeys(name for part in parts for name in part.names.values()))
    if columns is None:
        return names
    wanted = [columns] if isinstance(columns, str) else list(columns)
    for name in wanted:
        if name not in names:
            raise Invalid("is no column of the join", field="columns", value=name, expected=names)
    return wanted


def _stored(parts: list[_Part], number: int, wanted: list[str]) -> list[str]:
    """What must be read of a table: what is wanted of it, and the keys."""
    part = parts[number]
    keys = {right for _, right in part.pairs}
    keys |= {left for each in parts[1:] if each.to == number for left, _ in each.pairs}
    return [name for name, said in part.names.items() if name in keys or said in wanted]


def _passed_on(where: Where, parts: list[_Part], number: int) -> Where:
    """Conditions on the first table's keys hold for the keys of what joins it, so fewer files of that are needed."""
    part = parts[number]
    keys = dict(part.pairs) if part.to == 0 else {}
    if not isinstance(where, (list, tuple)):
        return None
    if len(where) == 1 and isinstance(where[0], (list, tuple)) and where[0] and not isinstance(where[0][0], str):
        where = where[0]
    if not all(isinstance(each, (list, tuple)) and each and isinstance(each[0], str) for each in where):
        return None  # alternatives, or expressions
    return [(keys[name], *rest) for name, *rest in where if name in keys]
