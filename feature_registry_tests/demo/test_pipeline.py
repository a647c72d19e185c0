from __future__ import annotations

import pytest

from feature_registry.demo import annotations
from feature_registry.demo.cortex import DATASTACK, LATEST, VERSIONS
from feature_registry.demo.database import PUBLIC, VIEW
from feature_registry.model import Search
from feature_registry_tests.demo.homes import CORTEX
from feature_registry_tests.deployment import Deployment


def test_the_public_tables_are_aliases_and_only_those_that_are_listed(made: Deployment) -> None:
    shown = made.registry.search(Search(datastack=PUBLIC)).entries
    assert {str(each.ref) for each in shown} == {
        f"{PUBLIC}/{name}@{LATEST}.0" for name in ("nucleus_detection", "cell_types", VIEW)
    }
    for alias in shown:
        own = made.registry.describe(f"{DATASTACK}/{alias.table.name}@{LATEST}").version
        assert alias.version.inspection.location == own.inspection.location
        assert alias.version.derived_from == (str(own.ref),)
        assert alias.version.status == "published"


@pytest.mark.parametrize("mat_version", VERSIONS)
def test_a_view_is_dumped_like_a_table(made: Deployment, mat_version: int) -> None:
    frame = made.client(DATASTACK, mat_version=mat_version).table(VIEW).to_polars().sort("id")
    flat = annotations.tables(CORTEX, mat_version)
    nuclei, types = flat["nucleus_detection"].sort("id"), flat["cell_types"].sort("target_id")
    assert frame["pt_root_id"].to_list() == nuclei["pt_root_id"].to_list()
    assert frame["pt_position_z"].to_list() == nuclei["pt_position_z"].to_list()
    assert frame["cell_type"].to_list() == types["cell_type"].to_list()


def test_a_large_table_has_three_layouts_and_passed_all_checks(made: Deployment) -> None:
    version = made.registry.describe(f"{DATASTACK}/synapses@{LATEST}").version
    assert [each.name for each in version.inspection.layouts] == [
        "by_post_pt_root_id",
        "by_pre_pt_root_id",
        "by_ctr_pt_position",
    ]
    outcomes = {check.name: check.outcome for check in version.checks}
    assert {name: outcomes[name] for name in ("database", "layouts", "key", "schema")} == dict.fromkeys(
        ("database", "layouts", "key", "schema"), "passed"
    )
    assert made.registry.describe(f"{DATASTACK}/cell_types@{LATEST}").version.inspection.layouts == ()


def test_what_cave_says_lands_in_the_catalog(made: Deployment) -> None:
    table = made.registry.describe(f"{DATASTACK}/cell_types@{LATEST}").table
    assert table.description == "The type of every cell with a nucleus."
    assert table.usage_constraints.startswith("Synthetic")
    assert table.references == {"target_id": "nucleus_detection.id"}
    column = made.registry.describe(f"{DATASTACK}/synapses@{LATEST}").table.columns["ctr_pt_position_z"]
    assert (column.unit, getattr(column.kind, "resolution", None)) == ("voxel", 40)
