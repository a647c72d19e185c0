from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.errors import Invalid, NotFound
from feature_registry.model import Registration
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop

FRAME = pl.DataFrame({"id": [1, 2, 3]})


@feature_table(**SAID)
def copied(outside: pl.LazyFrame) -> pl.LazyFrame:
    return outside


def register(workshop: Workshop, name: str, mat_version: int | None, rows: int = 3, datastack: str = DATASTACK) -> str:
    """A table that was made elsewhere."""
    path = workshop.folder / "elsewhere" / datastack / f"{name}_{mat_version}_{rows}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    FRAME.head(rows).write_parquet(path)
    report = workshop.registry.register(
        Registration(
            location=str(path),  # type: ignore[arg-type]
            datastack=datastack,
            name=name,
            mat_version=mat_version,
            description="Made elsewhere.",
            owner="lab",  # type: ignore[arg-type]
            license="CC0-1.0",
            publish=True,
        )
    )
    return str(report.ref)


def derived_from(workshop: Workshop, table: str) -> tuple[str, ...]:
    return workshop.registry.describe(table).version.derived_from


def test_a_table_from_outside_is_an_upstream(workshop: Workshop) -> None:
    register(workshop, "outside", 507, rows=1)
    ref = register(workshop, "outside", 1507)
    workshop.make(copied)
    assert derived_from(workshop, f"{DATASTACK}/copied@1507") == (ref,)
    assert workshop.registry.describe(f"{DATASTACK}/copied@1507").version.inspection.rows == 3


def test_a_table_without_versions_serves_every_version(workshop: Workshop) -> None:
    ref = register(workshop, "outside", None)
    workshop.make(copied)
    assert derived_from(workshop, f"{DATASTACK}/copied@1507") == (ref,)


def test_another_version_is_not_an_excuse(workshop: Workshop) -> None:
    register(workshop, "outside", 507)
    with pytest.raises(NotFound) as missing:
        workshop.make(copied)
    assert "507" in str(missing.value)


def test_what_was_never_made_lists_what_exists(workshop: Workshop) -> None:
    register(workshop, "something", 1507)
    with pytest.raises(NotFound) as missing:
        workshop.make(copied)
    assert "something" in str(missing.value)


def test_the_draft_of_somebody_elses_run_is_no_upstream(workshop: Workshop) -> None:
    @feature_table(**SAID | {"publish": False})
    def outside() -> pl.DataFrame:
        return FRAME

    workshop.make(outside)
    with pytest.raises(NotFound, match="draft"):
        workshop.make(copied)


def test_the_revision_that_the_run_made_is_the_one_that_follows(workshop: Workshop) -> None:
    @feature_table(**SAID)
    def outside() -> pl.DataFrame:
        return FRAME

    workshop.make(outside, copied)
    workshop.make(outside, copied)
    assert derived_from(workshop, f"{DATASTACK}/copied@1507.1") == (f"{DATASTACK}/outside@1507.1",)


def test_another_datastack_gives_its_latest(workshop: Workshop) -> None:
    register(workshop, "nuclei", 3, rows=1, datastack="flywire")
    ref = register(workshop, "nuclei", 630, datastack="flywire")

    @feature_table(**SAID, ins={"nuclei": "flywire/nuclei"})
    def compared(nuclei: pl.LazyFrame) -> pl.LazyFrame:
        return nuclei

    workshop.make(compared)
    assert derived_from(workshop, f"{DATASTACK}/compared@1507") == (ref,)


def test_a_pinned_reference_is_exact(workshop: Workshop) -> None:
    ref = register(workshop, "nuclei", 3, rows=1, datastack="flywire")
    register(workshop, "nuclei", 630, datastack="flywire")

    @feature_table(**SAID, ins={"nuclei": "flywire/nuclei@3", "missing": "flywire/other@3"})
    def both(nuclei: pl.LazyFrame, missing: pl.LazyFrame) -> pl.LazyFrame:
        return nuclei

    @feature_table(**SAID, ins={"nuclei": "flywire/nuclei@3"})
    def compared(nuclei: pl.LazyFrame) -> pl.LazyFrame:
        return nuclei

    workshop.make(compared)
    assert derived_from(workshop, f"{DATASTACK}/compared@1507") == (ref,)
    with pytest.raises(NotFound):
        workshop.make(both)


def test_an_unversioned_table_takes_the_latest_of_a_versioned_one(workshop: Workshop) -> None:
    register(workshop, "outside", 507)
    ref = register(workshop, "outside", 1507)

    @feature_table(**SAID, versioned=False)
    def summary(outside: pl.LazyFrame) -> pl.LazyFrame:
        return outside

    workshop.make(summary, mat_version=None)
    entry = workshop.registry.describe(f"{DATASTACK}/summary@unversioned")
    assert entry.version.mat_version is None
    assert entry.version.derived_from == (ref,)


def test_an_unversioned_table_in_the_run_of_a_version_stays_unversioned(workshop: Workshop) -> None:
    @feature_table(**SAID, versioned=False)
    def outside() -> pl.DataFrame:
        return FRAME

    workshop.make(outside, copied)
    assert derived_from(workshop, f"{DATASTACK}/copied@1507") == (f"{DATASTACK}/outside@unversioned.0",)


def test_partitions_of_two_datastacks_load_together(tmp_path: Path) -> None:
    @feature_table(**{**SAID, "datastack": "flywire"})
    def nuclei() -> pl.DataFrame:
        return FRAME

    @feature_table(**SAID, ins={"nuclei": "flywire/nuclei"})
    def compared(nuclei: pl.LazyFrame) -> pl.LazyFrame:
        return nuclei

    workshop = Workshop(tmp_path)
    workshop.add_versions("flywire", [3, 630])
    dg.Definitions.validate_loadable(dg.Definitions(assets=[nuclei, compared], resources=workshop.resources))
    workshop.make(nuclei, mat_version=630)
    workshop.make(nuclei, compared, selection=[compared.key])
    assert derived_from(workshop, f"{DATASTACK}/compared@1507") == ("flywire/nuclei@630.0",)


def test_a_pinned_revision_is_refused() -> None:
    with pytest.raises(Invalid, match="revision"):

        @feature_table(**SAID, ins={"nuclei": "flywire/nuclei@3.1"})
        def compared(nuclei: pl.LazyFrame) -> pl.LazyFrame:
            return nuclei


def test_two_versions_of_one_table_are_compared(workshop: Workshop) -> None:
    refs = [register(workshop, "nuclei", 507, rows=1), register(workshop, "nuclei", 1507)]

    @feature_table(**SAID, ins={"old": "minnie65_public/nuclei@507", "new": "nuclei"})
    def grown(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({"rows": [old.height, new.height]})

    workshop.make(grown)
    assert derived_from(workshop, f"{DATASTACK}/grown@1507") == tuple(sorted(refs))
