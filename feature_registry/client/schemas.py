"""The schema of a table version as Polars sees it, with the logical types that its format lacks."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from feature_registry.model import Inspection
from feature_registry.model.logical_types import polars_type

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
    return {column: polars_type(name) for column, name in inspection.logical_types.items()}


def logical(inspection: Inspection) -> pl.Schema:
    """The types that a reader gets."""
    import polars as pl

    return pl.Schema({**stored(inspection), **casts(inspection)})
