"""What the tests of this folder make tables with: a registry of their own, an instance, and runs in process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from feature_registry.defs.feature_table import IO_MANAGER, REGISTRY
from feature_registry.defs.io_manager import FeatureTableIOManager
from feature_registry.defs.partitions import mat_versions
from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.model import CheckResult
from feature_registry.registry import Registry

DATASTACK = "minnie65_public"
SAID: dict[str, Any] = {"datastack": DATASTACK, "owner": "celltypes-team", "description": "Made by a test."}
SAID |= {"license": "CC-BY-4.0", "publish": True}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass
class Workshop:
    """A registry in a folder, and a Dagster instance with a few partitions."""

    folder: Path
    versions: Sequence[int] = (507, 1507)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    def __post_init__(self) -> None:
        self.add_versions(DATASTACK, self.versions)

    @property
    def resource(self) -> FeatureRegistryResource:
        return FeatureRegistryResource(home=str(self.folder))

    @property
    def registry(self) -> Registry:
        return self.resource.registry

    @property
    def resources(self) -> dict[str, Any]:
        return {REGISTRY: self.resource, IO_MANAGER: FeatureTableIOManager(feature_registry=self.resource)}

    @property
    def sensed(self) -> dict[str, Any]:
        """What sensors and schedules may ask for; the I/O manager would want a context that is closed again."""
        return {REGISTRY: self.resource}

    def add_versions(self, datastack: str, versions: Iterable[int]) -> None:
        self.instance.add_dynamic_partitions(mat_versions(datastack).name or "", [str(each) for each in versions])

    def make(
        self,
        *assets: Any,
        mat_version: int | None = 1507,
        selection: Any = None,
        succeeds: bool = True,
        resources: dict[str, Any] | None = None,
        **more: Any,
    ) -> dg.ExecuteInProcessResult:
        # Dagster looks for a partition of the selected assets, and finds none where only checks are selected.
        tags = {} if mat_version is None else {"dagster/partition": str(mat_version)}
        result = dg.materialize(
            list(assets),
            instance=self.instance,
            resources=self.resources | (resources or {}),
            tags=tags,
            selection=selection,
            run_config=QUIET,
            raise_on_error=succeeds,
            **more,
        )
        assert result.success == succeeds
        return result

    def checks(self, table: str) -> dict[str, CheckResult]:
        return {check.name: check for check in self.registry.describe(table).version.checks}

    def files(self) -> list[Path]:
        root = self.folder / "tables"
        return sorted(path for path in root.rglob("*") if path.is_file()) if root.exists() else []
