"""The Dagster UI as its users see it: in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feature_registry.demo.cortex import DATASTACK
from feature_registry_tests.up import LOCATION, Up, up, wait_for

CHROMIUM = "/usr/bin/chromium"
TICKS = """query ($location: String!) { sensorOrError(
  sensorSelector: {repositoryLocationName: $location, repositoryName: "__repository__", sensorName: "reconcile"}
) { ... on Sensor { sensorState { ticks(limit: 20) { status skipReason error { message } } } } } }"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("up")) as found:
        found.materialize(1)
        found.materialize(2)
        found.register()
        yield found


@pytest.mark.slow
def test_a_table_from_outside_appears_by_itself(running: Up) -> None:
    assert wait_for(lambda: running.partitions("spine_shapes") == {"2"})
    assert wait_for(lambda: running.asset("spine_shapes").get("groupName") == DATASTACK), running.said.read_text()
    assert not running.asset("spine_shapes")["isMaterializable"]
    ticks = running.ask(TICKS, location=LOCATION)["sensorOrError"]["sensorState"]["ticks"]
    assert {tick["status"] for tick in ticks} <= {"SKIPPED", "STARTED"}, ticks


@pytest.fixture(scope="module")
def look(running: Up) -> Iterator[Callable[..., str]]:
    """The text of a page once it shows the words that are waited for; fails where it does not."""
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no {CHROMIUM}: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    assert wait_for(lambda: running.asset("spine_shapes").get("groupName") == DATASTACK), running.said.read_text()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1400})

        def text(path: str, *words: str) -> str:
            page.goto(running.ui + path)
            for word in words:
                page.get_by_text(word, exact=True).first.wait_for(timeout=60_000)
            return "\n".join(line.strip() for line in page.inner_text("body").splitlines() if line.strip())

        yield text
        browser.close()


@pytest.mark.slow
def test_the_columns_are_explained(look: Callable[..., str]) -> None:
    shown = look(f"/assets/{DATASTACK}/soma_nucleus_features?view=overview", "Volume of the nucleus [um^3]")
    assert "nucleus_volume\ndouble\nVolume of the nucleus [um^3]" in shown
    shown = look(f"/assets/{DATASTACK}/synapses?view=overview", "ctr_pt_position, along z [voxel]")
    assert "pre_pt_root_id\nkind: segmentation_node\nint64" in shown
    assert "Delta Lake" in shown


@pytest.mark.slow
def test_the_checks_have_passed(look: Callable[..., str]) -> None:
    shown = look(f"/assets/{DATASTACK}/synapses?view=checks", "Passed", "Checks (4)")
    assert "This is a blocking asset check." in shown
    assert {f"{name}\n{name}\nSucceeded" in shown for name in ("concurrent", "database", "layouts", "schema")} == {True}


@pytest.mark.slow
def test_the_partitions_are_the_materialization_versions(look: Callable[..., str]) -> None:
    assert "Missing (1)" in look(f"/assets/{DATASTACK}/synapses?view=partitions", "Materialized (2)")


@pytest.mark.slow
def test_the_lineage_shows_what_is_upstream(look: Callable[..., str]) -> None:
    words = ("nucleus_detection", "3 / 3 Passed", "66% filled")
    assert "Delta Lake" in look(f"/assets/{DATASTACK}/soma_nucleus_features?view=lineage", *words)


@pytest.mark.slow
def test_a_table_from_outside_is_explained_like_one_of_ours(look: Callable[..., str]) -> None:
    shown = look(f"/assets/{DATASTACK}/spine_shapes?view=overview", "External Asset", "Volume of the spine [um^3]")
    assert "volume\ndouble\nVolume of the spine [um^3]" in shown
    assert "root_id\nreferences: cell_info.pt_root_id\nint64" in shown
    assert f"{DATASTACK}/spine_shapes@2.0" in shown
    assert "Shapes of spines, made elsewhere." in shown
    assert "Missing (2)" in look(f"/assets/{DATASTACK}/spine_shapes?view=partitions", "Materialized (1)")
    assert f"{DATASTACK}_public\n3" in look("/asset-groups", f"{DATASTACK}_public")
    lineage = f"/assets/{DATASTACK}/spine_shapes?view=lineage"
    assert "cell_info" in look(lineage, "cell_info", "33% filled", "66% filled")
