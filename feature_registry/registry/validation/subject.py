"""What is checked: a table, what is said of it, and what was seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from feature_registry import formats
from feature_registry.model import CheckResult, FeatureTable, Inspection, TableVersion
from feature_registry.registry.validation.announced import Announced, announced

if TYPE_CHECKING:
    import polars as pl

    from feature_registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Subject:
    """`run_id` is the run that made it, which sees its own drafts of other tables."""

    registry: Registry
    table: FeatureTable
    inspection: Inspection
    mat_version: int | None
    run_id: str | None = None
    derived_from: tuple[str, ...] = ()
    _heard: dict[str, Announced] = field(default_factory=dict)

    @classmethod
    def of(cls, registry: Registry, table: FeatureTable, version: TableVersion) -> Subject:
        return cls(
            registry,
            table,
            version.inspection,
            version.mat_version,
            run_id=version.producer.run_id,
            derived_from=version.derived_from,
        )

    def of_version(self, version: TableVersion) -> Subject:
        """Another table version, of which only the data matter."""
        return replace(self, inspection=version.inspection, mat_version=version.mat_version)

    def lacks(self, columns: Sequence[str]) -> list[str]:
        stored = {each.name for each in self.inspection.fields}
        return [column for column in columns if column not in stored]

    def scan(self, layout: str | None = None) -> pl.LazyFrame:
        """The rows, of the first layout unless one is named, with the partition columns of that layout alone, too."""
        inspection = self.inspection
        if inspection.layouts:
            inspection = inspection.of_layout(layout or inspection.layouts[0].name)
        return formats.get(inspection.format).scan(self.registry.store(inspection.location), inspection)

    def announced(self, datastack: str | None = None) -> Announced:
        """What is known of its materialization version, in its own datastack or another; asked once."""
        name = datastack or self.table.datastack
        if name not in self._heard:
            self._heard[name] = announced(self.registry, name, self.mat_version)
        return self._heard[name]


def unverified(name: str, why: str) -> CheckResult:
    """Of what cannot be told now; `complete` asks again."""
    return CheckResult(name=name, outcome="skipped", message=f"unverified: {why}", details={"unverified": why})
