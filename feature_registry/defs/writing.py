"""Writes a stream in its layouts: the first from the stream, each other one from the first; and compares their rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry import formats
from feature_registry.formats import Format, WriteOptions, _rows, _sorting
from feature_registry.location import Location
from feature_registry.model import CheckResult, Inspection, Layout, TableVersion
from feature_registry.pruning.buckets import bucket_numbers, check_hashed
from feature_registry.registry import Registry
from feature_registry.storage import Store

if TYPE_CHECKING:
    from feature_registry.defs.declaration import Declaration


def write(
    store: Store, home: Location, reader: pa.RecordBatchReader, declaration: Declaration, layouts: Sequence[Layout]
) -> dict[str, Any]:
    """What a registration says of what was written.

    Raises `Invalid` before anything is written for a layout by columns that the stream does not have. A failure leaves
    behind what was written before it.
    """
    columns = reader.schema.names
    for layout in layouts:
        _check(layout, reader.schema)
    table_format = formats.get(declaration.format)
    first = layouts[0] if layouts else None
    place = home.joined(first.name) if first and len(layouts) > 1 else home
    written = table_format.write(store, place, *_arranged(reader, declaration, first))
    said = {"format": declaration.format, "logical_types": written.logical_types}
    if len(layouts) > 1:
        files, size = _files(table_format, store, place, written.snapshot)
        if size >= declaration.layouts_from:
            for layout in layouts[1:]:
                rows = _rows.read_rows(store, files, columns)
                table_format.write(store, home.joined(layout.name), *_arranged(rows, declaration, layout))
            shared = {name: kind for name, kind in written.logical_types.items() if name in columns}
            return said | {"location": home, "layouts": tuple(layouts), "logical_types": shared}
    return said | {"location": place, "snapshot": written.snapshot, "layouts": tuple(layouts[:1])}


def same_rows(version: TableVersion, registry: Registry, value: Any) -> CheckResult:
    """All layouts hold the same rows."""
    seen = version.inspection
    if not seen.layouts:
        return CheckResult(name="layouts", outcome="passed", message="there is one layout")
    found = {layout.name: _row_hash(registry.store(seen.location), seen, layout.name) for layout in seen.layouts}
    first, *others = found
    differing = [name for name in others if found[name] != found[first]]
    return CheckResult(
        name="layouts",
        outcome="failed" if differing else "passed",
        blocking=True,
        message=f"{', '.join(differing)} hold other rows than {first}"
        if differing
        else f"{len(found)} layouts hold the same {found[first][0]} rows",
        details={name: {"rows": rows, "hash": str(total)} for name, (rows, total) in found.items()},
    )


def _check(layout: Layout, schema: pa.Schema) -> None:
    keys, axes = ((), layout.sort_by) if layout.curve else (layout.sort_by, ())
    _sorting.check_sorting(schema, keys, axes)
    for buckets in layout.hash_buckets:
        check_hashed(buckets, schema)


def _arranged(
    reader: pa.RecordBatchReader, declaration: Declaration, layout: Layout | None
) -> tuple[pa.RecordBatchReader, WriteOptions]:
    """The stream, with the numbers of its buckets, and how to write it."""
    buckets = layout.hash_buckets if layout else ()
    options = WriteOptions(
        partition_by=(*declaration.partition_by, *(each.partition_column for each in buckets)),
        sort_by=layout.sort_by if layout else (),
        curve=layout.curve if layout else None,
        key=declaration.table.key,
        bytes_per_file=declaration.bytes_per_file,
        rows_per_group=declaration.rows_per_group,
    )
    if not buckets:
        return reader, options
    schema = pa.schema([*reader.schema, *(pa.field(each.partition_column, pa.int64()) for each in buckets)])

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            numbers = [bucket_numbers(each, batch[each.column]) for each in buckets]
            yield pa.RecordBatch.from_arrays([*batch.columns, *numbers], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches()), options


def _files(table_format: Format, store: Store, place: Location, snapshot: str | None) -> tuple[list[Location], int]:
    """The data files, and their bytes."""
    manifest = table_format.inspect(store, place, snapshot).manifest
    paths = manifest["path"].to_pylist()
    return [place.joined(path) for path in paths], pc.sum(manifest["size"], min_count=0).as_py()


def _row_hash(store: Store, seen: Inspection, layout: str) -> tuple[int, int]:
    """The number and the hash of the rows of a layout, without the columns that it has alone."""
    part = seen.of_layout(layout)
    files, _ = _files(formats.get(part.format), store, part.location, part.snapshot)
    return _rows.row_hash(_rows.read_rows(store, files, [field.name for field in seen.fields]))
