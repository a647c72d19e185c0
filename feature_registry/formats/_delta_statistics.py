"""Statistics in a Delta log: read into a manifest, and written from the footers of data files.

Source: the section "Per-file Statistics" of the Delta transaction log protocol (delta-io/delta, PROTOCOL.md).
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.formats._data_files import DataFile
from feature_registry.formats._manifests import footer_statistics, has_statistics

LONGEST_TEXT = 256
"""Longer bounds are left out of the log."""
_WIDENING = timedelta(milliseconds=1)


def manifest_statistics(actions: pa.Table, schema: pa.Schema, partition_columns: tuple[str, ...]) -> dict[str, Any]:
    """The manifest's statistics columns out of `get_add_actions(flatten=False)`.

    Time stamps are truncated to milliseconds in the log, so their bounds are widened by one.
    """
    low, high, nulls = (_fields(actions, part) for part in ("min", "max", "null_count"))
    columns: dict[str, Any] = {}
    for each in schema:
        name, kind = each.name, each.type
        if name in partition_columns or not has_statistics(kind) or name not in low or name not in high:
            continue
        bounds = [low[name].cast(kind), high[name].cast(kind)]
        if pa.types.is_timestamp(kind):
            bounds = [_moved(bounds[0], -_WIDENING), _moved(bounds[1], _WIDENING)]
        columns[f"min.{name}"], columns[f"max.{name}"] = bounds
        if name in nulls:
            columns[f"nulls.{name}"] = nulls[name].cast(pa.int64())
    return columns


def _fields(actions: pa.Table, part: str) -> dict[str, pa.Array]:
    if part not in actions.column_names or not pa.types.is_struct(actions[part].type):
        return {}
    column = actions[part].combine_chunks()
    kind = column.type
    return {kind.field(i).name: pc.struct_field(column, [i]) for i in range(kind.num_fields)}


def _moved(instants: pa.Array, by: timedelta) -> pa.Array:
    """An instant that would leave the range of int64 stays unknown."""
    step = by // timedelta(microseconds=1)
    ticks = instants.cast(pa.int64())
    edge = 2**63 - 1 - abs(step)
    safe = pc.and_(pc.less(ticks, edge), pc.greater(ticks, -edge))
    return pc.add(pc.if_else(safe, ticks, None), step).cast(instants.type)


def add_statistics(file: DataFile, schema: pa.Schema) -> str:
    """The JSON of an add action's `stats`. `schema` is without partition columns."""
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name, values in footer_statistics([file.footer], schema).items():
        kind, _, column = name.partition(".")
        value = values[0].as_py() if kind == "nulls" else _json(values[0], upper=kind == "max")
        if value is not None:
            {"min": low, "max": high, "nulls": nulls}[kind][column] = value
    both = low.keys() & high.keys()
    return json.dumps(
        {
            "numRecords": file.footer.num_rows,
            "minValues": {name: low[name] for name in low if name in both},
            "maxValues": {name: high[name] for name in high if name in both},
            "nullCount": nulls,
        },
        ensure_ascii=False,
    )


def _json(scalar: pa.Scalar, upper: bool) -> Any:
    """A bound in JSON; None for what JSON would spoil. Instants are rounded outwards to milliseconds."""
    value = scalar.as_py()
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else None
    if isinstance(value, datetime):
        rest = timedelta(microseconds=value.microsecond % 1000)
        try:
            rounded = value - rest + (_WIDENING if upper and rest else timedelta())
        except OverflowError:
            return None
        if rounded.tzinfo is None:
            return rounded.isoformat(timespec="milliseconds")
        return rounded.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, (bool, int)) else None
