"""The schema of a table version as Polars sees it, with the logical types that its format lacks."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from feature_registry.errors import Invalid
from feature_registry.model import Inspection

if TYPE_CHECKING:
    import polars as pl


def empty(inspection: Inspection) -> pl.DataFrame:
    """The stored table without its rows."""
    import polars as pl

    return pl.read_ipc_stream(io.BytesIO(base64.b64decode(inspection.arrow_schema)))


def stored(inspection: Inspection) -> pl.Schema:
    """The types that the files hold, partition columns included."""
    return empty(inspection).schema


def casts(inspection: Inspection) -> dict[str, pl.DataType]:
    """The logical types of the columns whose files hold another one."""
    import polars as pl

    known: dict[str, pl.DataType] = {
        "uint8": pl.UInt8(),
        "uint16": pl.UInt16(),
        "uint32": pl.UInt32(),
        "uint64": pl.UInt64(),
        "int8": pl.Int8(),
        "int16": pl.Int16(),
        "float16": pl.Float16(),
    }
    for column, name in inspection.logical_types.items():
        if name not in known:
            raise Invalid("is no logical type", field=f"logical_types.{column}", value=name, expected=list(known))
    return {column: known[name] for column, name in inspection.logical_types.items()}


def logical(inspection: Inspection) -> pl.Schema:
    """The types that a reader gets."""
    import polars as pl

    return pl.Schema({**stored(inspection), **casts(inspection)})
