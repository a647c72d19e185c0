"""What is said of data files: their statistics as a manifest, and the inspection around it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_registry.errors import Invalid
from feature_registry.formats import Inspected
from feature_registry.location import Location
from feature_registry.model import Inspection, StoredField

if TYPE_CHECKING:
    from feature_registry.storage import Store

_THREADS = 16
_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NANOSECONDS |= {"milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}
_PLAIN = bytes(code for code in range(32, 127) if chr(code) not in "'\\")  # what `repr` spells as it is
Bounds = tuple[Any, Any]


def inspected(manifest: pa.Table, schema: pa.Schema, **seen: Any) -> Inspected:
    """The inspection around a manifest; `seen` are its fields that neither manifest nor schema say."""
    rows = manifest["rows"]
    schema = without_pandas(schema)
    inspection = Inspection(
        **seen,
        fields=tuple(StoredField(name=each.name, type=str(each.type), nullable=each.nullable) for each in schema),
        arrow_schema=encoded(schema),
        rows=None if rows.null_count else pc.sum(rows, min_count=0).as_py(),
        bytes=pc.sum(manifest["size"], min_count=0).as_py(),
        files=len(manifest),
    )
    return Inspected(inspection, manifest)


def marked(store: Store, location: Location) -> pa.Table:
    """`Store.marks` as columns; paths are bytes, for there may be files of any name."""
    marks = store.marks(location)
    return pa.table(
        {
            "path": pa.array([path.encode(errors="surrogateescape") for path in marks], pa.binary()),
            "size": pa.array([size for size, _ in marks.values()], pa.int64()),
            "etag": pa.array([etag for _, etag in marks.values()], pa.string()),
        }
    )


def with_etags(manifest: pa.Table, location: Location, marks: pa.Table) -> pa.Table:
    """Adds the column `etag` where a log names the files. Raises `Invalid` if they are not as the log says."""
    at = pc.index_in(manifest["path"].cast(pa.binary()), marks["path"])
    sizes = marks["size"].take(at)
    differing = pc.fill_null(pc.not_equal(sizes, manifest["size"]), True)
    if pc.any(differing).as_py():
        number = pc.index(differing, True).as_py()
        found, wanted = sizes[number].as_py(), manifest["size"][number].as_py()
        message = "is gone" if found is None else f"has {found:,} bytes"
        expected = f"{wanted:,} bytes, as the table's log says"
        place = location.joined(manifest["path"][number].as_py())
        raise Invalid(message, field="file", value=str(place), expected=expected)
    return manifest.append_column("etag", marks["etag"].take(at))


def encoded(schema: pa.Schema) -> str:
    """base64 of an IPC stream without rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema):
        pass
    return base64.b64encode(sink.getvalue()).decode()


def without_pandas(schema: pa.Schema) -> pa.Schema:
    """pandas' own metadata speaks of an index that nobody asked for."""
    return schema.with_metadata({key: text for key, text in (schema.metadata or {}).items() if key != b"pandas"})


def fingerprint(paths: Sequence[str], *columns: Sequence[Any]) -> str:
    """A hash over the files, sorted by path."""
    lines = sorted(zip(paths, *columns, strict=True))
    return _hashed(repr(lines).encode())


def file_fingerprint(manifest: pa.Table) -> str:
    """`fingerprint` of a manifest's paths and sizes, spelled by Arrow where no path needs an escape."""
    paths, sizes = manifest["path"], manifest["size"]
    if "".join(paths.to_pylist()).encode().translate(None, _PLAIN):
        return fingerprint(paths.to_pylist(), sizes.to_pylist())
    lines = pc.binary_join_element_wise("('", paths, "', ", sizes.cast(pa.string()), ")", "")
    return _hashed(f"[{', '.join(lines.to_pylist())}]".encode())


def _hashed(spelled: bytes) -> str:
    return f"sha256:{hashlib.sha256(spelled).hexdigest()}"


def unified(paths: Sequence[str], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """One schema for all files; a column that some lack may be null. Raises `Invalid` for two types of one column."""
    first = schemas[0]
    if all(schema.equals(first) for schema in schemas):
        return first
    fields: dict[str, pa.Field] = {}
    for path, schema in zip(paths, schemas, strict=True):
        for each in schema:
            known = fields.setdefault(each.name, each)
            if known.type != each.type and _plain(known.type) != _plain(each.type):
                message = f"has the column {each.name!r} as {each.type}"
                raise Invalid(message, field="file", value=path, expected=f"{known.type}, as in the files before")
            if known.type != each.type:
                fields[each.name] = known.with_type(_plain(known.type))
            if each.nullable:
                fields[each.name] = fields[each.name].with_nullable(True)
    lacking = {name for name in fields for schema in schemas if schema.get_field_index(name) < 0}
    return pa.schema([each.with_nullable(each.nullable or each.name in lacking) for each in fields.values()])


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type without its encoding."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    return pa.list_(_plain(kind.value_type)) if pa.types.is_list(kind) else kind


def footers_of(store: Store, files: Sequence[Location]) -> list[pq.FileMetaData]:
    system, to_path = store.filesystem()

    def footer(file: Location) -> pq.FileMetaData:
        try:
            return pq.read_metadata(to_path(file), filesystem=system)
        except (pa.ArrowInvalid, OSError) as wrong:
            raise Invalid(f"is no Parquet file: {wrong}", field="file", value=str(file)) from None

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(footer, files))


def row_groups(store: Store, files: Sequence[Location], schema: pa.Schema) -> pa.Table:
    """A row a row group: `file` (the number of its file among these), `size`, `rows`, `size.NAME` of every column
    in the files, and the schema's statistics.
    """
    rows: list[dict[str, int]] = []
    footers = footers_of(store, files)
    for number, footer in enumerate(footers):
        names = footer.schema.to_arrow_schema().names
        leaves = [footer.schema.column(at).path for at in range(footer.num_columns)]
        columns = [leaf if leaf in names else leaf.partition(".")[0] for leaf in leaves]  # a list, or a struct
        for group in map(footer.row_group, range(footer.num_row_groups)):
            sizes: Counter[str] = Counter()
            for at, name in enumerate(columns):
                sizes[f"size.{name}"] += group.column(at).total_compressed_size
            rows.append({"file": number, "size": sizes.total(), "rows": group.num_rows, **sizes})
    found = dict.fromkeys(["file", "size", "rows", *(name for row in rows for name in row)])
    counts = {name: pa.array([row.get(name, 0) for row in rows], pa.int64()) for name in found}
    return pa.table(counts | footer_statistics(footers, schema, by_group=True))


def has_statistics(kind: pa.DataType) -> bool:
    """Whether statistics of the type are of use. Those of floats do not say whether NaN is among the values."""
    tests: tuple[Callable[[pa.DataType], bool], ...] = (
        pa.types.is_integer,
        pa.types.is_boolean,
        pa.types.is_decimal,
        pa.types.is_timestamp,
        pa.types.is_date,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_binary,
        pa.types.is_large_binary,
    )
    return any(test(kind) for test in tests)


def footer_statistics(
    footers: Sequence[pq.FileMetaData], schema: pa.Schema, by_group: bool = False
) -> dict[str, pa.Array]:
    """The manifest's statistics columns, a value a file, combined over its row groups; or a value a row group.

    A bound that a row group lacks is null, unless all of the row group is null.
    """
    # A name with a dot is a field of a struct, or a column, and the footer does not say which.
    names = [each.name for each in schema if has_statistics(each.type) and "." not in each.name]
    places = [{footer.schema.column(i).path: i for i in range(footer.num_columns)} for footer in footers]
    groups = [range(footer.num_row_groups) for footer in footers]
    parts = [[[each] for each in numbers] if by_group else [numbers] for numbers in groups]
    columns: dict[str, pa.Array] = {}
    for name in names:
        kind = schema.field(name).type
        found = [
            _combined(footer, some, place.get(name), kind)
            for footer, place, of_file in zip(footers, places, parts, strict=True)
            for some in of_file
        ]
        low, high, nulls = zip(*found, strict=True) if found else ((), (), ())
        columns[f"min.{name}"] = pa.array(low, kind)
        columns[f"max.{name}"] = pa.array(high, kind)
        columns[f"nulls.{name}"] = pa.array(nulls, pa.int64())
    return columns


def _combined(
    footer: pq.FileMetaData, groups: Sequence[int], column: int | None, kind: pa.DataType
) -> tuple[Any, Any, int | None]:
    """Smallest and largest value and number of nulls of a column in row groups of a file; None where unknown."""
    if column is None:  # the file is older than the column
        return None, None, sum(footer.row_group(number).num_rows for number in groups)
    low, high, nulls, known = [], [], 0, True
    counted = True
    for number in groups:
        chunk = footer.row_group(number).column(column)
        found = chunk.statistics
        if found is None or not found.has_null_count:
            counted = False
        else:
            nulls += found.null_count
        if found is not None and found.has_min_max:
            bounds = _bounds(found, kind)
            known = known and bounds is not None
            if bounds is not None:
                low.append(bounds[0])
                high.append(bounds[1])
        elif found is None or not found.has_null_count or found.null_count != chunk.num_values:
            known = False
    if not known or not low:
        return None, None, nulls if counted else None
    return min(low), max(high), nulls if counted else None


def _bounds(found: pq.Statistics, kind: pa.DataType) -> Bounds | None:
    if pa.types.is_timestamp(kind):
        unit = json.loads(found.logical_type.to_json()).get("timeUnit")
        if unit not in _NANOSECONDS:
            return None
        factor, divisor = _NANOSECONDS[unit], _NANOSECONDS[kind.unit]
        return found.min_raw * factor // divisor, -(-found.max_raw * factor // divisor)
    try:
        return found.min, found.max
    except (UnicodeDecodeError, NotImplementedError):
        return None
