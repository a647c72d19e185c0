"""Types that some readers cannot take, or take for something else.

What is said of DuckDB, Polars, pandas and deltalake is tried in `feature_registry_tests/registry/validation/
test_type_traps.py`; of Spark, it is what its documentation of Parquet files says ("Data Type Mapping",
"spark.sql.legacy.parquet.nanosAsLong").
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry import formats
from feature_registry.model import CheckResult, Inspection

Test = Callable[[pa.DataType], bool]
_UNSIGNED: Test = pa.types.is_unsigned_integer


def _nanoseconds(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.unit == "ns")


def _zoned(kind: pa.DataType) -> bool:
    return pa.types.is_timestamp(kind) and kind.tz not in (None, "UTC")


TRAPS: tuple[tuple[Test, dict[str, str]], ...] = (
    (
        pa.types.is_uint64,
        {"pandas": "a float where there are nulls, which changes ids", "Delta": "cannot hold it", "Spark": "a decimal"},
    ),
    (lambda kind: _UNSIGNED(kind) and kind.bit_width < 64, {"Delta": "cannot hold it"}),
    (
        pa.types.is_fixed_size_list,
        {"DuckDB": "a list of any length", "Delta": "a list of any length", "Spark": "a list of any length"},
    ),
    (pa.types.is_dictionary, {"DuckDB": "plain values", "Delta": "plain values", "Spark": "plain values"}),
    (
        pa.types.is_decimal256,
        {"Polars": "cannot read it", "DuckDB": "a float, with other values", "Delta": "cannot hold it"}
        | {"Spark": "cannot read it"},
    ),
    (pa.types.is_decimal128, {"pandas": "Python's objects, which are slow"}),
    (pa.types.is_float16, {"DuckDB": "a wider float", "Delta": "cannot hold it"}),
    (_nanoseconds, {"Delta": "cuts it to microseconds", "Spark": "cannot read it"}),
    (lambda kind: _nanoseconds(kind) and kind.tz is not None, {"DuckDB": "cuts it to microseconds"}),
    (_zoned, {"DuckDB": "forgets the time zone", "Delta": "forgets the time zone"}),
    (pa.types.is_duration, {"DuckDB": "a plain number", "Delta": "cannot hold it"}),
    (pa.types.is_time, {"Delta": "cannot hold it"}),
    (lambda kind: pa.types.is_struct(kind) or pa.types.is_map(kind), {"pandas": "Python's objects, which are slow"}),
)


def type_traps(inspection: Inspection, manifest: pa.Table) -> CheckResult:
    """The columns whose types are traps, with the readers that fall into them."""
    found = {}
    for field in formats.stored_schema(inspection):
        traps = readers(field.type)
        if pa.types.is_int64(field.type) and _has_nulls(manifest, field.name):
            traps["pandas"] = "a float, as there are nulls, which changes ids"
        if inspection.format == "delta":  # what it holds, it can hold
            traps.pop("Delta", None)
        if traps:
            found[f"{field.name} ({field.type})"] = traps
    if not found:
        return CheckResult(name="type_traps", outcome="passed", message="every reader takes every type")
    said = (
        f"{name}: {', '.join(f'{reader}: {what}' for reader, what in traps.items())}" for name, traps in found.items()
    )
    return CheckResult(name="type_traps", outcome="failed", message="; ".join(said), details={"columns": found})


def _has_nulls(manifest: pa.Table, column: str) -> bool:
    name = f"nulls.{column}"
    return name in manifest.column_names and bool(pc.sum(manifest[name]).as_py())


def readers(kind: pa.DataType) -> dict[str, str]:
    """What each reader makes of it that is no other reader's; of a list, what it makes of the elements."""
    found = {reader: what for test, traps in TRAPS if test(kind) for reader, what in traps.items()}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        found |= readers(kind.value_type)
    return found
