"""Layouts: the same rows arranged in several ways, each a table of its own in a folder that has the layout's name.

What all of them share is composed of what a format sees of each. A layout alone may have further partition columns,
such as a bucket's number, which belong to its arrangement and not to the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry import formats
from feature_registry.errors import Invalid, NotFound
from feature_registry.formats import Inspected, _manifests
from feature_registry.location import Location
from feature_registry.model import Inspection, Layout, StoredLayout
from feature_registry.registry import manifests
from feature_registry.registry.validation import arrow_type
from feature_registry.storage import Store

# Of more files the row groups are not looked at: then a plan goes by whole files.
MOST_FILES_OPENED = 10_000
_SEEN = ("snapshot", "fingerprint", "partition_columns", "bytes", "files")


def check(layouts: Sequence[Layout], snapshot: str | None) -> None:
    """Raises `Invalid` for what is wrong whatever is stored."""
    names = [layout.name for layout in layouts]
    for layout in layouts:
        if names.count(layout.name) > 1:
            raise _wrong(layout.name, "is the name of two layouts", "a name each")
        if layout.curve and not layout.sort_by:
            raise _wrong(layout.name, f"says no columns for its curve, {layout.curve}", "the axes in sort_by")
    if len(layouts) > 1 and snapshot is not None:
        message = "cannot be said of several layouts, which have one each"
        raise Invalid(message, field="snapshot", value=snapshot, expected="none, for the newest of each")


def check_columns(layout: Layout, stored: Sequence[str]) -> None:
    buckets = [name for each in layout.hash_buckets for name in (each.column, each.partition_column)]
    for name in (*layout.sort_by, *buckets):
        if name not in stored:
            raise _wrong(layout.name, f"speaks of {name!r}, which is not stored", list(stored))


def inspect(
    store: Store,
    location: Location,
    layouts: Sequence[Layout],
    logical_types: Mapping[str, str],
    look: Callable[[Location, Layout], Inspected],
) -> Inspected:
    """All layouts as one table, whose columns have the `logical_types`. `look` inspects one as a table of its own.

    Raises `Invalid` if they differ in their columns or their number of rows; whether the rows are the same is for a
    check that reads them.
    """
    first = next(store.list(location), None)
    if first is not None and first.location == location:
        raise Invalid("is a file", field="location", value=str(location), expected="a folder with one for each layout")
    parts = []
    for layout in layouts:
        try:
            parts.append(look(location.joined(layout.name), layout))
        except NotFound as wrong:
            raise _wrong(layout.name, f"is not there: {wrong.message}", f"a folder of its name in {location}") from None
        found, wanted = parts[-1].inspection.format, parts[0].inspection.format
        if found != wanted:
            raise _wrong(layout.name, f"is of the format {found}", f"{wanted}, as layout {layouts[0].name} is")
    schema = _shared_schema(layouts, [part.inspection for part in parts], logical_types)
    return _composed(location, layouts, parts, schema)


def with_row_groups(store: Store, inspected: Inspected) -> Inspected:
    """With the row groups, where there are several layouts to choose from."""
    inspection, manifest = inspected.inspection, inspected.manifest
    if not inspection.layouts or len(manifest) > MOST_FILES_OPENED:
        return inspected
    sorting = {name for layout in inspection.layouts for name in layout.sort_by}
    tables = []
    for layout in inspection.layouts:
        numbers, files = manifests.of_layout(manifest, inspection, layout.name)
        # Of a partition column the files say nothing, which must not be taken for nulls.
        stored = formats.stored_schema(inspection.of_layout(layout.name))
        schema = pa.schema([each for each in stored if each.name in sorting - {*layout.partition_columns}])
        places = [inspection.location.joined(path) for path in files["path"].to_pylist()]
        groups = _manifests.row_groups(store, places, schema)
        tables.append(groups.set_column(0, "file", pa.array(numbers).take(groups["file"])))
    return Inspected(inspection, manifest, pa.concat_tables(tables, promote_options="permissive"))


def _composed(
    location: Location, layouts: Sequence[Layout], parts: Sequence[Inspected], schema: pa.Schema
) -> Inspected:
    seen = [part.inspection for part in parts]
    for layout, each in zip(layouts, seen, strict=True):
        check_columns(layout, formats.stored_schema(each).names)
    arrow_schema = _manifests.encoded(schema)
    stored = [
        StoredLayout(
            **{name: getattr(layout, name) for name in Layout.model_fields},
            **{name: getattr(each, name) for name in _SEEN},
            arrow_schema=None if each.arrow_schema == arrow_schema else each.arrow_schema,
        )
        for layout, each in zip(layouts, seen, strict=True)
    ]
    marks = zip(*((each.name, each.snapshot, each.fingerprint) for each in stored), strict=True)
    whole = _manifests.inspected(
        _manifest(layouts, parts),
        schema,
        location=location,
        format=seen[0].format,
        fingerprint=_manifests.fingerprint(*marks),
        layouts=tuple(stored),
    )
    rows = _shared_rows(layouts, seen)
    return Inspected(whole.inspection.model_copy(update={"rows": rows}), whole.manifest)


def _manifest(layouts: Sequence[Layout], parts: Sequence[Inspected]) -> pa.Table:
    tables = []
    for layout, part in zip(layouts, parts, strict=True):
        paths = pc.binary_join_element_wise(layout.name, part.manifest["path"].cast(pa.string()), "/")
        table = part.manifest.set_column(part.manifest.column_names.index("path"), "path", paths)
        tables.append(table.append_column("layout", pa.repeat(layout.name, len(table))))
    return pa.concat_tables(tables, promote_options="permissive").sort_by("path").combine_chunks()


def _shared_rows(layouts: Sequence[Layout], seen: Sequence[Inspection]) -> int | None:
    """None where no layout's files say how many they have."""
    known = [(layout.name, each.rows) for layout, each in zip(layouts, seen, strict=True) if each.rows is not None]
    for name, rows in known:
        if rows != known[0][1]:
            raise _wrong(name, f"has {rows:,} rows", f"{known[0][1]:,}, as layout {known[0][0]} has")
    return known[0][1] if known else None


def _shared_schema(
    layouts: Sequence[Layout], seen: Sequence[Inspection], logical_types: Mapping[str, str]
) -> pa.Schema:
    """The columns that all layouts have, as the first one orders them."""
    schemas = [formats.stored_schema(each) for each in seen]
    buckets = {each.partition_column for layout in layouts for each in layout.hash_buckets}
    shared = set(schemas[0].names).intersection(*(schema.names for schema in schemas)) - buckets
    for layout, each, schema in zip(layouts, seen, schemas, strict=True):
        own = [name for name in schema.names if name not in {*shared, *each.partition_columns}]
        if own:
            raise _wrong(layout.name, f"has the column {own[0]!r} alone", f"the columns of all: {sorted(shared)}")
    fields = []
    for name in (name for name in schemas[0].names if name in shared):
        # A folder's name does not tell an int32 from an int64: what readers get is the same if it is cast.
        spelled = [arrow_type(logical_types.get(name, str(schema.field(name).type))) for schema in schemas]
        other = next((at for at, kind in enumerate(spelled) if kind != spelled[0]), None)
        if other is not None:
            message = f"has the column {name!r} as {spelled[other]}"
            raise _wrong(layouts[other].name, message, f"{spelled[0]}, as layout {layouts[0].name} has it")
        nullable = any(schema.field(name).nullable for schema in schemas)
        fields.append(schemas[0].field(name).with_nullable(nullable))
    return pa.schema(fields, metadata=schemas[0].metadata)


def _wrong(layout: str, message: str, expected: object) -> Invalid:
    return Invalid(message, field="layouts", value=layout, expected=expected)
