"""Facets and tags as users know them: in the client, embedded or not, over HTTP, and on the command line."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.errors import Denied, Invalid
from feature_registry.model import Column, PackedPoint, Person, SegmentationNode, TableId
from feature_registry_tests.deployment import Deployment

SAID: dict[str, Any] = {"owner": "lab", "license": "MIT", "publish": True}


@pytest.fixture(params=["http", "embedded"])
def client(request: pytest.FixtureRequest, deployment: Deployment, tmp_path: Path) -> FeatureRegistry:
    server: Any = deployment.settings.api_address if request.param == "http" else deployment.registry
    client = FeatureRegistry("d", 7, server=server)
    for name, tags in (("synapses", ["shape", "x"]), ("spines", ["shape"]), ("nuclei", ["y"])):
        pl.DataFrame({"id": [1]}).write_parquet(tmp_path / f"{name}.parquet")
        client.register(tmp_path / f"{name}.parquet", name, description=f"All {name}.", tags=tags, **SAID)
    return client


def test_facets_and_what_was_taken_for_a_mistyped_word(client: FeatureRegistry) -> None:
    found = client.facets("synpases")
    assert (found.tables, found.corrected) == (1, {"synpases": ("synapses",)})
    assert [each.value for each in found.facets["tag"]] == ["shape", "x"]
    assert [(each.value, each.tables) for each in client.facets(most=1).facets["tag"]] == [("shape", 2)]
    answer = client.search("synpases")
    assert answer.corrected == {"synpases": ("synapses",)}
    assert "for synpases: synapses" in repr(answer)
    assert len(client.search(any_tags="y")) == 1


@pytest.mark.row("M15")
def test_a_tag_is_renamed_everywhere_and_no_data_are_touched(client: FeatureRegistry, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")}
    versions = [entry.version for entry in client.search()]
    assert client.rename_tag("x", "y") == ("d/synapses",)
    assert client.rename_tag("shape", "y", "d") == ("d/spines", "d/synapses")
    assert {name: client.table(name).entry.table.tags for name in ("synapses", "spines", "nuclei")} == {
        "synapses": ("y",),
        "spines": ("y",),
        "nuclei": ("y",),
    }
    assert len(client.search(tags="y")) == 3
    assert len(client.search("shape")) == len(client.search(tags="shape")) == 0
    assert [event.kind for event in client.table("synapses").history()].count("described") == 3
    assert client.rename_tag("never", "z") == client.rename_tag("y", "y") == client.rename_tag("y", "z", "e") == ()
    assert [entry.version for entry in client.search()] == versions
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.parquet")} == before


def test_a_tag_that_is_none_changes_nothing(client: FeatureRegistry) -> None:
    with pytest.raises(Invalid, match="new"):
        client.rename_tag("shape", "")
    assert len(client.search(tags="shape")) == 2


@pytest.mark.row("M2")
def test_a_description_is_searched_and_its_edits_are_kept(client: FeatureRegistry) -> None:
    client.edit("synapses", description="Contacts of axons.")
    assert [entry.table.name for entry in client.search("contact")] == ["synapses"]
    assert [entry.table.name for entry in client.search("all synapses")] == []
    said = [event.details.get("description") for event in client.table("synapses").history()]
    assert [each for each in said if each] == ["All synapses.", "Contacts of axons."]


@pytest.mark.row("M5")
def test_the_schema_is_the_files_and_what_is_said_of_columns_comes_back(
    client: FeatureRegistry, tmp_path: Path
) -> None:
    frame = pl.DataFrame(
        {
            "id": [2**60],
            "root": [2**61],
            "far": [0.5],
            "at": [[1.0, 2.0, 3.0]],
            "shape": [{"volume": 0.5, "parts": [1]}],
        },
        schema_overrides={"at": pl.Array(pl.Float32, 3)},
    )
    frame.write_parquet(tmp_path / "nested.parquet")
    said = {
        "id": Column("The cell.", kind=TableId(table="nuclei")),
        "root": Column(kind=SegmentationNode(level="root_id")),
        "far": Column("Along the path.", unit="um"),
        "at": Column("Where it is.", unit="nm", kind=PackedPoint(resolution=(4, 4, 40))),
        "shape": Column("What it looks like."),
    }
    entry = client.register(tmp_path / "nested.parquet", "nested", description="N.", columns=said, **SAID).entry
    schema = pa.ipc.open_stream(base64.b64decode(entry.version.inspection.arrow_schema)).schema
    assert schema.remove_metadata() == pq.read_schema(tmp_path / "nested.parquet").remove_metadata()
    types = {field.name: field.type for field in entry.version.inspection.fields}
    assert types["id"] == "int64"
    assert "fixed_size_list" in types["at"]
    assert types["shape"].startswith("struct<volume: double, parts: ")
    assert client.table("nested").entry.table.columns == said


def test_the_command_line_counts_and_renames(client: FeatureRegistry, deployment: Deployment) -> None:
    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["--server", deployment.settings.api_address, *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    counted = json.loads(run("search", "--facets", "--any-tag", "shape", "--json"))
    assert (counted["tables"], counted["facets"]["license"]) == (2, [{"value": "MIT", "tables": 2}])
    assert "shape" in run("search", "--facets")
    assert run("rename-tag", "shape", "form", "--datastack", "d").split() == ["d/spines", "d/synapses"]
    assert "spines" in run("search", "--tag", "form")


def test_where_owners_are_enforced_nobody_else_renames(client: FeatureRegistry, deployment: Deployment) -> None:
    registry = deployment.registry
    policies = registry.settings.policies_of("d").model_copy(update={"owners": "enforce"})
    stranger = registry.acting(Person(name="stranger"))
    stranger.settings = registry.settings.model_copy(update={"policies": {"*": policies}})
    with pytest.raises(Denied):
        stranger.rename_tag("shape", "form")
    assert len(client.search(tags="shape")) == 2
