"""The types in `Inspection.logical_types`, spelled as Arrow does, and what Polars casts to on read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from feature_registry.errors import Invalid

if TYPE_CHECKING:
    import polars as pl

_SIMPLE = {
    **{f"{sign}int{bits}": f"{sign.upper()}Int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "halffloat": "Float16",
    "float16": "Float16",
    "float": "Float32",
    "double": "Float64",
    "bool": "Boolean",
    "string": "String",
    "date32[day]": "Date",
}
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns)(?:, tz=([A-Za-z0-9_+:/-]+))?\]")
_ARRAY = re.compile(r"fixed_size_list<\w+: (.+?)(?: not null)?>\[(\d+)\]")


def polars_type(name: str) -> pl.DataType:
    """Raises `Invalid` for a name that is no type that data are cast to on read."""
    import polars as pl

    if name in _SIMPLE:
        found: pl.DataType = getattr(pl, _SIMPLE[name])()
        return found
    if timestamp := _TIMESTAMP.fullmatch(name):
        unit = {"s": "ms"}.get(timestamp[1], timestamp[1])  # Polars does not count in seconds
        return pl.Datetime(unit, timestamp[2])  # type: ignore[arg-type]
    if array := _ARRAY.fullmatch(name):
        return pl.Array(polars_type(array[1]), int(array[2]))
    expected = [*_SIMPLE, "timestamp[us, tz=UTC]", "fixed_size_list<item: float>[64]"]
    raise Invalid("is no type that is cast to on read", field="logical_types", value=name, expected=expected)


def evolved_casts() -> pl.ScanCastOptions:
    """How Polars reads older files of a table whose columns were widened since."""
    import polars as pl

    return pl.ScanCastOptions(
        integer_cast="upcast",
        float_cast="upcast",
        datetime_cast=["nanosecond-downcast", "convert-timezone"],
        missing_struct_fields="insert",
        extra_struct_fields="ignore",
        categorical_to_string="allow",
    )
