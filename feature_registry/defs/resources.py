"""The registry as a Dagster resource, for feature tables and for anyone's assets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import Field

from feature_registry.defs.partitions import mat_version_of
from feature_registry.location import Location
from feature_registry.model import Found, PlanRequest, Registration, Report, Search
from feature_registry.registry import Registry
from feature_registry.settings import Settings, current

if TYPE_CHECKING:
    from feature_registry.model import Plan


@lru_cache(maxsize=8)
def opened(settings: Settings) -> Registry:
    """Opening migrates the catalog, so a process does it once."""
    return Registry(settings)


def catalog(settings: Settings) -> Registry | None:
    """The registry as it is while definitions are loaded; None: there is no catalog yet, and none is made."""
    sqlite = settings.database_url.partition("sqlite:///")[2]
    return None if sqlite and not Path(sqlite).exists() else opened(settings)


class FeatureRegistryResource(dg.ConfigurableResource[Any]):
    """The registry. What is left out comes from the environment, as in `Settings`."""

    home: str | None = Field(default=None, description="the folder of the embedded catalog, data and secret")
    database: str | None = Field(default=None, description="SQLAlchemy URL of the catalog")
    managed: str | None = Field(default=None, description="location below which produced tables are written")
    person: str | None = Field(default=None, description="who acts")

    @property
    def registry(self) -> Registry:
        said = {name: getattr(self, name) for name in ("home", "database", "managed", "person")}
        return opened(current(**{name: value for name, value in said.items() if value is not None}))

    def register(self, location: str | Registration, **fields: Any) -> Report:
        """Registers a table that something else wrote; the fields are those of `Registration`."""
        if isinstance(location, Registration):
            return self.registry.register(location)
        return self.registry.register(Registration(location=Location(location), **fields))

    def search(self, text: str = "", **filters: Any) -> Found:
        """The filters are the fields of `Search`."""
        return self.registry.search(Search(text=text, **filters))

    def plan(self, table: str, where: Any = (), columns: Sequence[str] | None = None) -> Plan:
        chosen = None if columns is None else tuple(columns)
        return self.registry.plan(PlanRequest(table=table, where=where, columns=chosen, mode="urls"))

    def signed_paths(self, table: str, where: Any = (), columns: Sequence[str] | None = None) -> list[str]:
        """Short-lived URLs of the Parquet files that can hold the wanted rows; charged whole."""
        return [file.url for file in self.plan(table, where, columns).files if file.url is not None]

    def scan(self, table: str) -> pl.LazyFrame:
        """The table straight from its storage: `datastack/name@1507`, `@latest`."""
        return self.registry.scan(self.registry.describe(table).version)

    def home_of(self, context: dg.AssetExecutionContext) -> Location:
        """Where a function that writes by itself puts the table of this run, to return `Written(location)`."""
        datastack, name = context.asset_key.path
        mat_version = mat_version_of(context.partition_key) if context.has_partition_key else None
        return free_home(self.registry, datastack, name, mat_version, context.run.run_id)


def free_home(registry: Registry, datastack: str, name: str, mat_version: int | None, run_id: str) -> Location:
    """The folder of a table version of this run. A retried step gets a new one, whatever the failed try left behind."""
    for attempt in itertools.count():
        home = registry.home(datastack, name, mat_version, run_id if attempt == 0 else f"{run_id}-{attempt}")
        if next(iter(registry.store(home).list(home)), None) is None:
            return home
    raise AssertionError("unreachable")
