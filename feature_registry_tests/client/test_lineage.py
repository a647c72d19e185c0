"""Lineage and staleness as users ask for them: over HTTP, embedded, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.errors import NotFound
from feature_registry.model import Column
from feature_registry_tests.catalog.planted import describe, plant
from feature_registry_tests.deployment import Deployment

TREE = """d/spines@7.0
  derived from
    d/segments@7.0
      e/image@unversioned.0
    e/image@unversioned.0
  from it were derived
    d/cells@7.0
    d/classes@7.0 (deprecated)
      d/cells@7.0
  d/spines@7.0.cell references d/segments@7.0.id
"""


@pytest.fixture
def story(deployment: Deployment) -> Iterator[Deployment]:
    database = deployment.registry.database
    plant(database, "e/image@unversioned")
    plant(database, "d/segments@7", derived_from=("e/image@unversioned.0",))
    plant(database, "d/spines@7", derived_from=("d/segments@7.0", "e/image@unversioned.0"))
    describe(
        database,
        "d/spines",
        references={"cell": "segments.id"},
        columns={"cell": Column(derived_from=("segments.id",))},
    )
    plant(database, "d/classes@7", status="deprecated", derived_from=("d/spines@7.0",))
    plant(database, "d/cells@7", derived_from=("d/classes@7.0", "d/spines@7.0"))
    yield deployment


@pytest.fixture(params=["http", "embedded"])
def client(request: pytest.FixtureRequest, story: Deployment) -> FeatureRegistry:
    server: Any = story.settings.api_address if request.param == "http" else story.registry
    return FeatureRegistry("d", 7, server=server)


def run(story: Deployment, *arguments: str) -> str:
    result = CliRunner().invoke(app, ["--server", story.settings.api_address, *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.mark.row("M18")
def test_lineage_reads_as_a_tree(client: FeatureRegistry, story: Deployment) -> None:
    found = client.lineage("spines")
    assert repr(found) + "\n" == TREE == run(story, "lineage", "d/spines@7")
    assert found.upstream == ("d/segments@7.0", "e/image@unversioned.0")
    near = client.lineage("spines", "up", depth=1, columns=True)
    assert (near.upstream, near.downstream) == (("d/segments@7.0", "e/image@unversioned.0"), ())
    assert "d/spines@7.0.cell derived from d/segments@7.0.id" in repr(near)
    assert client.lineage("cells", depth=1).upstream == ("d/classes@7.0", "d/spines@7.0")
    assert json.loads(
        run(story, "lineage", "d/spines@7", "--direction", "up", "--depth", "1", "--columns", "--json")
    ) == (near.model_dump(mode="json"))


def test_a_columns_lineage(client: FeatureRegistry, story: Deployment) -> None:
    found = client.lineage("spines", column="cell")
    assert (found.table, found.upstream) == ("d/spines.cell", ("d/segments.id",))
    said = "d/spines.cell\n  derived from\n    d/segments.id"
    assert repr(found) == said == run(story, "lineage", "d/spines@7", "--column", "cell").rstrip("\n")
    with pytest.raises(NotFound, match="no column"):
        client.lineage("spines", column="nothing")


def test_what_is_stale(client: FeatureRegistry, story: Deployment) -> None:
    why = "d/classes@7.0 is deprecated"
    assert [(each.table, [cause.said for cause in each.causes]) for each in client.stale()] == [("d/cells@7.0", [why])]
    assert FeatureRegistry(server=client.service).stale("e") == ()
    assert client.table("cells").entry.warnings == (f"stale: parent {why}",)
    plant(story.registry.database, "d/segments@7")
    assert [each.table for each in client.stale()] == ["d/cells@7.0", "d/classes@7.0", "d/spines@7.0"]
    lines = run(story, "stale").splitlines()
    assert lines[2].split() == ["d/cells@7.0", *why.split()]
    assert lines[-1].endswith("d/segments@7.0 has a newer revision d/segments@7.1")
    assert [each["table"] for each in json.loads(run(story, "stale", "d", "--json"))] == [
        each.table for each in client.stale()
    ]
    assert "stale: ancestor d/segments@7.0 has a newer" in run(story, "show", "d/classes@7")
    assert run(story, "stale", "e") == "nothing is stale\n"


def test_wrong_questions_are_refused(story: Deployment) -> None:
    for query in ({"direction": "left"}, {"depth": 0}, {"column": "no"}):
        answer = httpx.get(f"{story.settings.api_address}/v1/lineage/d/spines@7", params=query)
        assert answer.status_code in (404, 422)
        assert answer.json()["kind"] in ("invalid", "not_found")
