"""A Polars frame over the Parquet files of a table, with partition columns and logical types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa

from feature_registry.formats import stored_schema
from feature_registry.formats._data_files import NULL_PARTITION, Partition
from feature_registry.location import Location
from feature_registry.model import Inspection
from feature_registry.model.logical_types import evolved_casts, polars_type

if TYPE_CHECKING:
    from feature_registry.storage import Store


def scan_files(
    store: Store, inspection: Inspection, files: list[Location], partitions: list[Partition]
) -> pl.LazyFrame:
    """The columns of the inspection's schema, in its order; an absent column of an older file is null."""
    schema = stored_schema(inspection)
    empty = pl.from_arrow(schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    types = dict(empty.schema)
    if not files:
        return _cast(pl.LazyFrame(schema=types), inspection)
    names = inspection.partition_columns
    stored = {name: kind for name, kind in types.items() if name not in names}
    above = _hive(inspection.location)
    shaped = all(_hive(file) == above | partition for file, partition in zip(files, partitions, strict=True))
    if not names:
        frame = _scan(store, files, stored)
    elif shaped and not above.keys() & types.keys():
        hive_schema = dict.fromkeys(above, pl.String()) | {name: types[name] for name in names}
        frame = _scan(store, files, stored, hive_schema)
    else:
        frame = _spelled_out(store, files, partitions, stored, pa.schema([schema.field(name) for name in names]))
    return _cast(frame.select(list(types)), inspection)


def _cast(frame: pl.LazyFrame, inspection: Inspection) -> pl.LazyFrame:
    return frame.with_columns(pl.col(name).cast(polars_type(kind)) for name, kind in inspection.logical_types.items())


def _scan(
    store: Store, files: list[Location], stored: dict[str, Any], hive_schema: dict[str, Any] | None = None
) -> pl.LazyFrame:
    return pl.scan_parquet(
        [store.uri(file) for file in files],
        schema=stored,
        glob=False,
        hive_partitioning=hive_schema is not None,
        hive_schema=hive_schema,
        missing_columns="insert",
        extra_columns="ignore",
        cast_options=evolved_casts(),
        storage_options=store.options() or None,
    )


def _spelled_out(
    store: Store, files: list[Location], partitions: list[Partition], stored: dict[str, Any], schema: pa.Schema
) -> pl.LazyFrame:
    """For files whose folders do not say their partition, or say it below others that look like partitions.

    `schema` is that of the partition columns.
    """
    groups: dict[tuple[str | None, ...], list[Location]] = {}
    for file, partition in zip(files, partitions, strict=True):
        groups.setdefault(tuple(partition[name] for name in schema.names), []).append(file)
    columns = zip(schema, zip(*groups, strict=True), strict=True)
    values = pl.DataFrame([_typed(texts, field).alias(field.name) for field, texts in columns])
    return pl.concat(
        _scan(store, group, stored).with_columns(
            pl.lit(values[name][row], values.schema[name]).alias(name) for name in values.columns
        )
        for row, group in enumerate(groups.values())
    )


def _typed(texts: tuple[str | None, ...], field: pa.Field) -> pl.Series:
    values = pa.array(texts, pa.string())
    if pa.types.is_timestamp(field.type):  # spelled in UTC, without saying so
        values = values.cast(pa.timestamp(field.type.unit))
    series = pl.from_arrow(values.cast(field.type))
    assert isinstance(series, pl.Series)
    return series


def _hive(location: Location) -> dict[str, str | None]:
    """The partition values that Polars reads in the whole path of a file."""
    pairs = (folder.partition("=") for folder in location.key.split("/"))
    return {unquote(n): None if v == NULL_PARTITION else unquote(v) for n, equals, v in pairs if equals and n}
