"""Dumps: an asset for every table of CAVE's materialization versions, from its database to registered, sorted tables.

A virtual version's table is no dump but an alias: its parent's very files, registered under another datastack's name.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa

from feature_registry.cave import ColumnStatistics, Rows, SourceTable, load_version_source, meanings
from feature_registry.defs import exports, forecast, wanted
from feature_registry.defs.comparison import compare
from feature_registry.defs.declaration import Skipped
from feature_registry.defs.feature_table import feature_table
from feature_registry.defs.partitions import mat_version_of
from feature_registry.defs.resources import FeatureRegistryResource, catalog
from feature_registry.defs.writing import same_rows
from feature_registry.errors import NotFound, RegistryError, Unavailable
from feature_registry.model import (
    CheckResult,
    FeatureTable,
    Layout,
    MaterializationVersion,
    Metadata,
    TableVersion,
    Written,
)
from feature_registry.registry import Registry, following
from feature_registry.settings import Settings

POOL = "cave_database"
RETRY = dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL)
ROWS_PER_GROUP = 32_768
NO_LICENSE = "NOASSERTION"  # SPDX for: nobody said one. CAVE says none, and a person may edit it.
Layouts = Mapping[str, Sequence[Layout]]


class Dump:
    """The rows of a table on their way out of the database, as the I/O manager takes them."""

    def __init__(
        self, rows: Rows, metadata: dict[str, Any], layouts: tuple[Layout, ...], progress: forecast.Progress
    ) -> None:
        self.metadata, self.layouts, self.begun = metadata, layouts, datetime.now(UTC)
        self.reader = pa.RecordBatchReader.from_batches(rows.reader.schema, self._batches())
        self._rows, self._progress = rows, progress
        self._beside = ThreadPoolExecutor(1, "statistics")
        self._said: Future[list[ColumnStatistics]] | None = None

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._rows.reader:
            yield batch
            self._progress.tell(batch.num_rows)
        self._progress.end()
        self._said = self._beside.submit(self._rows.statistics)  # while we sort and write

    def statistics(self) -> list[ColumnStatistics]:
        assert self._said is not None, "asked before all rows were read"
        return self._said.result()

    def close(self) -> None:
        self._beside.shutdown()
        self._rows.close()


def assets(
    settings: Settings,
    taken: Container[dg.AssetKey] = (),
    layouts: Layouts | None = None,
    retry: dg.RetryPolicy | None = None,
) -> list[dg.AssetsDefinition]:
    """One for every table that any known version of its datastack lists, but for those whose key is taken.

    Reads the catalog only; there is none where it cannot be read, for Dagster must load what it can.

    layouts: table -> its arrangements, the first of which is what most readers need; else those of `arrangements`
    """
    try:
        registry = catalog(settings)
        if registry is None:
            return []
        found = wanted.tables(registry, settings)
        dumped = {
            dg.AssetKey([datastack, table]): Dumped(settings, datastack, table, tuple((layouts or {}).get(table, ())))
            for datastack, tables in found.items()
            for table in tables
            if dg.AssetKey([datastack, table]) not in taken
        }
        return [each.asset(registry, dumped.keys(), retry or RETRY) for each in dumped.values()]
    except Exception as wrong:
        said = wrong if isinstance(wrong, RegistryError) else type(wrong).__name__
        logging.getLogger(__name__).warning("the catalog cannot be read; its dumps are not shown: %s", said)
        return []


def limit(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Bounds the dumps that run at once, and so the connections to CAVE's database; dagster.yaml has no word for it."""
    storage = instance.event_log_storage
    limits = {each.name: each.limit for each in storage.get_pool_limits()}
    if limits.get(POOL) != settings.cave_connections:
        storage.set_concurrency_slots(POOL, settings.cave_connections)


def arrangements(names: Sequence[str]) -> tuple[Layout, ...]:
    """The layouts of a table with these columns; the first is what most readers need, and all that a small one gets."""
    by = ("id",) if "id" in names else ()
    roots = [name for name in names if name.endswith("_root_id")]
    roots.sort(key=lambda name: name != "post_pt_root_id")  # the inputs of a cell are asked for most
    found = [Layout(name=f"by_{name}", sort_by=(name, *by)) for name in roots]
    for point in ("ctr_pt", "pt"):
        axes = tuple(f"{point}_position_{axis}" for axis in "xyz")
        if all(axis in names for axis in axes):
            found.append(Layout(name=f"by_{point}_position", sort_by=axes, curve="morton"))
    if "target_id" in names:
        found.append(Layout(name="by_target_id", sort_by=("target_id", *by)))
    return tuple(found) or tuple(Layout(name=f"by_{name}", sort_by=(name,)) for name in by)


@dataclass(frozen=True)
class Dumped:
    """A table that is dumped, as an asset."""

    settings: Settings
    datastack: str
    table: str
    layouts: tuple[Layout, ...]

    def asset(self, registry: Registry, keys: Set[dg.AssetKey], retry: dg.RetryPolicy) -> dg.AssetsDefinition:
        parents = sorted(self._parents(registry) & keys)

        @feature_table(
            datastack=self.datastack,
            name=self.table,
            **_needed(_known(registry, self.datastack, self.table), self.datastack, self.table),
            publish=True,
            deps=[dg.AssetDep(parent, partition_mapping=dg.IdentityPartitionMapping()) for parent in parents],
            automation=wanted.condition(self.settings, dump=True),
            retry_policy=retry,
            pool=POOL,
            layouts_from=self.settings.dump_layouts_from,
            rows_per_group=ROWS_PER_GROUP,
            checks={"database": _database, "layouts": _layouts, "concurrent": _concurrent},
        )
        def dump(context: dg.AssetExecutionContext, feature_registry: FeatureRegistryResource) -> Any:
            return self.make(context, feature_registry.registry, mat_version_of(context.partition_key))

        return dump

    def _parents(self, registry: Registry) -> set[dg.AssetKey]:
        """The tables that it is an alias of at some version. Those that its columns refer to are none: if one of them
        failed, Dagster would not make this one.
        """
        known = wanted.versions(registry, self.datastack)
        found = [wanted.parent_of(registry, each, self.table) for each in known]
        return {dg.AssetKey([each.datastack, self.table]) for each in found if each}

    def make(self, context: dg.AssetExecutionContext, registry: Registry, number: int | None) -> Any:
        """The dump, the alias, or why there is none."""
        known = {each.mat_version: each for each in wanted.versions(registry, self.datastack)}
        if number not in known:
            raise dg.Failure(f"{self.datastack}@{number} is no version that CAVE announced", allow_retries=False)
        version = known[number]
        if version.tables is not None and self.table not in version.tables:
            return Skipped(f"{self.datastack}@{number} does not list {self.table}; nothing is made")
        if parent := wanted.parent_of(registry, version, self.table):
            return self._alias(registry, version, parent)
        if reason := wanted.refusal(version):
            raise dg.Failure(reason, allow_retries=False)
        return self._begun(context, registry, version)

    def _begun(
        self, context: dg.AssetExecutionContext, registry: Registry, version: MaterializationVersion
    ) -> Dump | Written:
        source = load_version_source(self.settings.source)
        described = source.table(self.datastack, version.mat_version, self.table)
        if reason := forecast.late(self.settings, version, described.rows):
            raise dg.Failure(f"not begun: {reason}", allow_retries=False)
        if self.settings.dump_via == "exporter":
            describe = partial(metadata_of, registry, described)
            return exports.dump(context, registry, described, self.layouts, describe)
        rows = source.rows(described, share=context.run.run_id)
        try:
            schema, expected = rows.reader.schema, rows.expected or described.rows
            layouts = self.layouts or arrangements(schema.names)
            size = (expected or 0) * forecast.width(schema)
            forecast.check_room(registry.settings, size, max(1, len(layouts)))
            progress = forecast.Progress(context.log.info, expected)
            return Dump(rows, metadata_of(registry, described, schema.names), layouts, progress)
        except BaseException:
            rows.close()
            raise

    def _alias(self, registry: Registry, version: MaterializationVersion, parent: MaterializationVersion) -> Written:
        """The parent's table version, where it lies, as the virtual datastack's source describes it."""
        made = registry.find(parent.datastack, self.table, parent.mat_version)
        if made is None:
            wanting = f"{parent.datastack}/{self.table}@{parent.mat_version}"
            raise dg.Failure(f"not begun: {wanting}, whose alias it would be, is not published", allow_retries=False)
        seen = made.inspection
        try:
            described = load_version_source(self.settings.source).table(self.datastack, version.mat_version, self.table)
            metadata = metadata_of(registry, described, [field.name for field in seen.fields])
        except (NotFound, Unavailable):
            metadata = _told(registry.describe(str(made.ref)).table)
        return Written(
            location=seen.location,
            format=seen.format,
            snapshot=seen.snapshot,
            layouts=made.layouts,
            derived_from=(str(made.ref),),
            metadata=metadata,
        )


# ------------------------------------------------------------------------------------------------------- what is said


def metadata_of(registry: Registry, described: SourceTable, columns: Sequence[str]) -> dict[str, Any]:
    """What the source says of the table; of the fields that publishing needs, else what the catalog says."""
    known = _known(registry, described.datastack, described.name)
    said = {
        "key": ("id",) if "id" in columns else (),
        "columns": meanings.columns(columns, described),
        "references": meanings.references(columns, described),
    }
    return _needed(known, described.datastack, described.name) | said | described.metadata


def _needed(known: FeatureTable | None, datastack: str, table: str) -> dict[str, Any]:
    description = f"The table {table} of CAVE's materializations of {datastack}."
    return {
        "description": (known and known.description) or description,
        "owner": (known and known.owner) or "CAVE",
        "license": (known and known.license) or NO_LICENSE,
    }


def _known(registry: Registry, datastack: str, table: str) -> FeatureTable | None:
    entries = following.of_table(registry, datastack, table)
    return entries[-1].table if entries else None


def _told(table: FeatureTable) -> dict[str, Any]:
    fields = Metadata.model_fields
    return {name: getattr(table, name) for name in fields if getattr(table, name) != getattr(Metadata(), name)}


# ----------------------------------------------------------------------------------------------------------- checks


def _database(version: TableVersion, registry: Registry, value: Any) -> CheckResult:
    """Count, nulls, minimum, maximum and sum of every column are as in the database."""
    if not isinstance(value, Dump):
        message = "the database is asked while a table is dumped; nothing was compared now"
        return CheckResult(name="database", outcome="skipped", message=message)
    return compare(version, registry, value.statistics())


def _layouts(version: TableVersion, registry: Registry, value: Any) -> CheckResult:
    """All layouts hold the same rows."""
    if isinstance(value, Written) and value.derived_from:
        return CheckResult(name="layouts", outcome="skipped", message=f"compared for {', '.join(value.derived_from)}")
    return same_rows(version, registry, value)


def _concurrent(version: TableVersion, registry: Registry, value: Any) -> CheckResult:
    """Whether another run made the same table version meanwhile: both are valid, and the newer revision is read."""
    others = [
        str(entry.ref)
        for entry in following.of_table(registry, version.datastack, version.name)
        if isinstance(value, Dump)
        and entry.version.mat_version == version.mat_version
        and entry.version.producer.run_id != version.producer.run_id
        and entry.version.created_at >= value.begun
    ]
    message = f"another run made {', '.join(others)} while this one was at it" if others else ""
    return CheckResult(name="concurrent", outcome="warned" if others else "passed", message=message)
