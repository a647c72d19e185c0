"""What Polars reads: the schema of a table version, and the files of a plan as a LazyFrame."""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from feature_registry.client.failures import explained
from feature_registry.client.filters import Filter
from feature_registry.errors import Invalid
from feature_registry.model import Inspection, Plan
from feature_registry.model.logical_types import evolved_casts, polars_type

if TYPE_CHECKING:
    import polars as pl


def stored_schema(inspection: Inspection) -> pl.Schema:
    """The types that the files hold, partition columns included."""
    import polars as pl

    return pl.read_ipc_stream(io.BytesIO(base64.b64decode(inspection.arrow_schema))).schema


def casts(inspection: Inspection) -> dict[str, pl.DataType]:
    """The logical types of the columns whose files hold another one."""
    return {column: polars_type(name) for column, name in inspection.logical_types.items()}


def frame(plan: Plan, wanted: Filter) -> pl.LazyFrame:
    """The wanted rows and columns. The filter comes before the casts to logical types, so that it reaches the files'
    statistics.
    """
    import polars as pl

    inspection = seen(plan)
    sources = urls(plan)
    if inspection.partition_columns and any("%25" in source.partition("?")[0] for source in sources):
        # A link says the value; a store's own URL says the folder, whose percent signs are encoded once more.
        message = "cannot say the partitions of this table, whose values are percent-encoded"
        raise Invalid(message, field="mode", value=plan.grant and plan.grant.mode, expected="links")
    lazy = files(inspection, sources)
    if wanted.stored is not None:
        lazy = lazy.filter(wanted.stored)
    if inspection.logical_types:
        lazy = lazy.with_columns(pl.col(name).cast(kind) for name, kind in casts(inspection).items())
    if wanted.logical is not None:
        lazy = lazy.filter(wanted.logical)
    return lazy if plan.columns is None else lazy.select(plan.columns)


def seen(plan: Plan) -> Inspection:
    """What the planned files are: a table of their own, where they are those of one layout."""
    inspection = plan.entry.version.inspection
    return inspection if plan.layout is None else inspection.of_layout(plan.layout)


def urls(plan: Plan) -> list[str]:
    """Where the planned files are; bearer secrets."""
    if plan.grant is None and plan.files:
        raise Invalid("reads nothing", field="dry_run", value=True, expected="a plan with a grant")
    return [file.url for file in plan.files if file.url is not None]


def files(inspection: Inspection, sources: Sequence[str]) -> pl.LazyFrame:
    """The files as stored. The schema is given, which saves a look into each file before the query; columns that an
    evolved table's older files lack are null, and those of a layout alone are left out.
    """
    import polars as pl

    schema = stored_schema(inspection)
    names = [field.name for field in inspection.fields]
    if not sources:
        return pl.LazyFrame(schema={name: schema[name] for name in names})
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
    ).select(names)


def batches(plan: Plan, wanted: Filter, rows: int, seed: int | None) -> Iterator[pl.DataFrame]:
    """The rows of a plan in frames of `rows`, the last one shorter."""
    if seed is not None:
        order = list(plan.files)
        random.Random(seed).shuffle(order)  # noqa: S311 - an order, no secret
        plan = plan.model_copy(update={"files": tuple(order)})
    with explained([plan]):
        for number, batch in enumerate(frame(plan, wanted).collect_batches(chunk_size=rows, lazy=True)):
            yield batch if seed is None else batch.sample(fraction=1, shuffle=True, seed=seed + number)
