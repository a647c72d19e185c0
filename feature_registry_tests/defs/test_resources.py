from __future__ import annotations

from pathlib import Path

import dagster as dg
import polars as pl

from feature_registry.defs.resources import FeatureRegistryResource
from feature_registry.model import Registration
from feature_registry.settings import Settings
from feature_registry_tests.defs.workshop import DATASTACK, Workshop

FRAME = pl.DataFrame({"id": range(100)})


def test_what_is_left_out_comes_from_the_settings(tmp_path: Path) -> None:
    one = FeatureRegistryResource(home=str(tmp_path)).registry
    assert one.settings == Settings(home=tmp_path)
    assert FeatureRegistryResource(home=str(tmp_path)).registry is one
    assert FeatureRegistryResource(home=str(tmp_path), person="ann").registry.person.name == "ann"
    one.close()


def test_anyones_asset_registers_searches_scans_and_signs(workshop: Workshop, tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "spines.parquet")

    @dg.asset
    def spines(feature_registry: FeatureRegistryResource) -> dg.MaterializeResult:
        report = feature_registry.register(
            str(tmp_path / "spines.parquet"),
            datastack=DATASTACK,
            name="spines",
            mat_version=1507,
            description="Spines.",
            owner="lab",
            license="CC0-1.0",
            publish=True,
        )
        [entry] = feature_registry.search("spines", datastack=DATASTACK).entries
        rows = feature_registry.scan(str(report.ref)).collect().height
        urls = feature_registry.signed_paths(str(report.ref), where=[("id", ">", 10)], columns=["id"])
        return dg.MaterializeResult(metadata={"ref": str(entry.ref), "rows": rows, "urls": urls})

    result = workshop.make(spines, mat_version=None)
    [event] = result.get_asset_materialization_events()
    told = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (told["ref"], told["rows"]) == (f"{DATASTACK}/spines@1507.0", 100)
    [url] = told["urls"]
    assert url.startswith(workshop.registry.settings.file_address)


def test_a_registration_is_taken_as_it_is(workshop: Workshop, tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "spines.parquet")
    place = {"location": str(tmp_path / "spines.parquet"), "datastack": DATASTACK, "name": "spines"}
    report = workshop.resource.register(Registration.model_validate(place))
    assert report.created
