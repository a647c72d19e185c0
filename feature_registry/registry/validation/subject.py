"""What is checked: a table, what is said of it, and what was seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from feature_registry import formats
from feature_registry.model import CheckResult, FeatureTable, Inspection, TableVersion
from feature_registry.registry import manifests
from feature_registry.registry.validation.announced import Announced, announced

if TYPE_CHECKING:
    import polars as pl

    from feature_registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Subject:
    """`run_id` is the run that made it, which sees its own drafts of other tables. Without the `manifest` one does not
    know which rows are in which file.
    """

    registry: Registry
    table: FeatureTable
    inspection: Inspection
    mat_version: int | None
    run_id: str | None = None
    derived_from: tuple[str, ...] = ()
    manifest: pa.Table | None = None
    _heard: dict[str, Announced] = field(default_factory=dict)

    @classmethod
    def of(
        cls, registry: Registry, table: FeatureTable, version: TableVersion, manifest: pa.Table | None = None
    ) -> Subject:
        return cls(
            registry,
            table,
            version.inspection,
            version.mat_version,
            run_id=version.producer.run_id,
            derived_from=version.derived_from,
            manifest=manifest,
        )

    def of_version(self, version: TableVersion) -> Subject:
        """Another table version, of which only the data matter."""
        return replace(self, inspection=version.inspection, mat_version=version.mat_version, manifest=None)

    def lacks(self, columns: Sequence[str]) -> list[str]:
        stored = {each.name for each in self.inspection.fields}
        return [column for column in columns if column not in stored]

    def scan(self, layout: str | None = None, files: pa.Table | None = None) -> pl.LazyFrame:
        """The rows, of the first layout unless one is named, with the partition columns of that layout alone, too; of
        these `files` of its manifest, or of all.
        """
        inspection = self.inspection
        if inspection.layouts:
            inspection = inspection.of_layout(layout or inspection.layouts[0].name)
        store = self.registry.store(inspection.location)
        if files is None:
            return formats.get(inspection.format).scan(store, inspection)
        from feature_registry.formats._scans import scan_files

        places = [self.inspection.location.joined(path) for path in files["path"].to_pylist()]
        names = inspection.partition_columns
        texts = files.select([f"partition.{name}" for name in names]).rename_columns(list(names))
        return scan_files(store, inspection, places, texts.to_pylist() if names else [{}] * len(places))

    def files(self, layout: str | None = None) -> pa.Table | None:
        """The manifest of what `scan` reads."""
        if self.manifest is None or not self.inspection.layouts:
            return self.manifest
        return manifests.of_layout(self.manifest, self.inspection, layout or self.inspection.layouts[0].name)[1]

    def sampled(self) -> tuple[pl.LazyFrame, str]:
        """Rows in a bounded number of files, and what they are a sample of; empty: they are all."""
        from feature_registry.registry.validation import rows

        files, total = self.files(), self.inspection.rows
        some = None if files is None else rows.sampled_files(files)
        if files is None or some is None or len(some) == len(files):
            whole = total is not None and total <= rows.ROWS_SAMPLED
            return rows.sampled(self.scan(), total), "" if whole else "a sample"
        count = None if some["rows"].null_count else pc.sum(some["rows"], min_count=0).as_py()
        return rows.sampled(self.scan(files=some), count), f"a sample from {len(some)} of {len(files):,} files"

    def announced(self, datastack: str | None = None) -> Announced:
        """What is known of its materialization version, in its own datastack or another; asked once."""
        name = datastack or self.table.datastack
        if name not in self._heard:
            self._heard[name] = announced(self.registry, name, self.mat_version)
        return self._heard[name]


def unverified(name: str, why: str) -> CheckResult:
    """Of what cannot be told now; `complete` asks again."""
    return CheckResult(name=name, outcome="skipped", message=f"unverified: {why}", details={"unverified": why})
