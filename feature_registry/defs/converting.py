"""Old CSV dumps: made again as tables, in this process, as a dump out of the database would be."""

from __future__ import annotations

import re

import dagster as dg

from feature_registry.cave import SourceTable
from feature_registry.cave.csv_dumps import CsvRows, Header
from feature_registry.defs.dumps import ROWS_PER_GROUP, arrangements, metadata_of
from feature_registry.defs.feature_table import IO_MANAGER, REGISTRY, feature_table
from feature_registry.defs.io_manager import FeatureTableIOManager
from feature_registry.defs.partitions import mat_versions
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.errors import Invalid, RegistryError
from feature_registry.location import Location
from feature_registry.model import Entry, TableRef
from feature_registry.registry import Registry

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def convert(registry: Registry, file: Location, datastack: str, mat_version: int, name: str | None = None) -> Entry:
    """The table version that `{table}.csv.gz` became; `{table}_header.csv` must lie beside it. Raises `Invalid`, and
    leaves nothing behind, for what is wrong in them.
    """
    found = re.fullmatch(r"(.+)/([^/]+?)\.csv(\.gz)?", file)
    if found is None:
        raise Invalid("is no CSV file", field="file", value=str(file), expected="a name that ends with .csv or .csv.gz")
    store, place = registry.store(file), Location(f"{found[1]}/{found[2]}_header.csv")
    header = Header.parse(store.read(place), str(place))
    store.head(file)
    system, path = store.filesystem()
    resolution = {each.name: each.voxel_resolution for each in registry.datastacks()}.get(datastack)
    table = SourceTable(datastack, mat_version, name or found[2], resolution=resolution)
    with system.open_input_stream(path(file)) as stream:  # which is unpacked, if its name says so
        rows = CsvRows(stream, header, str(file), registry.settings.dump_invalid)
        return _made(registry, table, rows)


def _made(registry: Registry, table: SourceTable, rows: CsvRows) -> Entry:
    columns = rows.reader.schema.names
    runs: list[str] = []

    @feature_table(
        datastack=table.datastack,
        name=table.name,
        layouts=arrangements(columns),
        publish=True,
        rows_per_group=ROWS_PER_GROUP,
        **metadata_of(registry, table, columns),
    )
    def converted(context: dg.AssetExecutionContext) -> CsvRows:
        runs.append(context.run.run_id)
        return rows

    partition, settings = str(table.mat_version), registry.settings
    resource = FeatureRegistryResource(
        home=str(settings.home), database=settings.database, managed=settings.managed, person=registry.person.name
    )
    try:
        # The instance of an installation hears of it as of any table made elsewhere.
        with dg.DagsterInstance.ephemeral() as instance:
            instance.add_dynamic_partitions(mat_versions(table.datastack).name or "", [partition])
            dg.materialize(
                [converted],
                instance=instance,
                resources={REGISTRY: resource, IO_MANAGER: FeatureTableIOManager(feature_registry=resource)},
                partition_key=partition,
                run_config=QUIET,
            )
    except dg.DagsterError as failure:
        if isinstance(failure.__cause__, RegistryError):
            raise failure.__cause__ from None
        if _found(registry, table, runs) is None:
            raise
    return registry.describe(str(_found(registry, table, runs)))


def _found(registry: Registry, table: SourceTable, runs: list[str]) -> TableRef | None:
    """What the run registered, be it a draft, because a check failed."""
    made = registry.find(table.datastack, table.name, table.mat_version, runs[0]) if runs else None
    return None if made is None else made.ref
