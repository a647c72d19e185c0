"""From a plan to a Polars LazyFrame that reads its files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from feature_registry.client import schemas
from feature_registry.client.filters import Filter
from feature_registry.errors import Invalid
from feature_registry.model import Inspection, Plan
from feature_registry.model.logical_types import evolved_casts

if TYPE_CHECKING:
    import polars as pl


def frame(plan: Plan, wanted: Filter) -> pl.LazyFrame:
    """The wanted rows and columns. The filter comes before the casts to logical types, so that it reaches the files'
    statistics.
    """
    import polars as pl

    inspection = plan.entry.version.inspection
    lazy = files(inspection, urls(plan))
    if wanted.stored is not None:
        lazy = lazy.filter(wanted.stored)
    if inspection.logical_types:
        lazy = lazy.with_columns(pl.col(name).cast(kind) for name, kind in schemas.casts(inspection).items())
    if wanted.logical is not None:
        lazy = lazy.filter(wanted.logical)
    return lazy if plan.columns is None else lazy.select(plan.columns)


def urls(plan: Plan) -> list[str]:
    """Where the planned files are; bearer secrets."""
    if plan.grant is None and plan.files:
        raise Invalid("reads nothing", field="dry_run", value=True, expected="a plan with a grant")
    return [file.url for file in plan.files if file.url is not None]


def files(inspection: Inspection, sources: Sequence[str]) -> pl.LazyFrame:
    """The files as stored. The schema is given, which saves a look into each file before the query; columns that an
    evolved table's older files lack are null.
    """
    import polars as pl

    if not sources:
        return schemas.empty(inspection).lazy()
    schema = schemas.stored(inspection)
    partitions = {name: schema[name] for name in inspection.partition_columns}
    return pl.scan_parquet(
        list(sources),
        glob=False,
        schema={name: kind for name, kind in schema.items() if name not in partitions},
        hive_partitioning=bool(partitions),
        hive_schema=partitions or None,
        missing_columns="insert",
        extra_columns="ignore",
        cast_options=evolved_casts(),
    ).select(schema.names())
