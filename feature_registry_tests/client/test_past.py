"""The catalog's past as users ask for it: over HTTP, in the client, embedded or not, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.errors import Conflict, Invalid, NotFound
from feature_registry.location import Location
from feature_registry_tests.deployment import Deployment

SAID = {"description": "First.", "owner": "lab", "license": "MIT", "publish": True}


@dataclass(frozen=True)
class Story:
    """A table of which one file was registered, and then, with other words, two; `then` lies between."""

    deployment: Deployment
    then: datetime


@pytest.fixture
def story(deployment: Deployment, tmp_path: Path) -> Iterator[Story]:
    frame = pl.DataFrame({"id": range(10)})
    with deployment.client("d", mat_version=7) as client:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            frame.write_parquet(tmp_path / name / "0.parquet")
        client.register(tmp_path / "a", "t", **SAID)
        then = client.history("t")[-1].at
        frame.write_parquet(tmp_path / "b" / "1.parquet")
        client.register(tmp_path / "b", "t", **SAID | {"description": "Second.", "derived_from": ["d/t@7.0"]})
    yield Story(deployment, then)


@pytest.fixture(params=["http", "embedded"])
def past(request: pytest.FixtureRequest, story: Story) -> FeatureRegistry:
    server: Any = story.deployment.settings.api_address if request.param == "http" else story.deployment.registry
    return FeatureRegistry("d", 7, server=server, as_of=story.then)


def test_a_client_of_the_past_finds_what_was_there(past: FeatureRegistry, story: Story) -> None:
    table = past.table("t")
    assert (table.ref, table.rows, table.description) == ("d/t@7.0", 10, "First.")
    assert [(str(entry.ref), entry.table.description) for entry in past.search()] == [("d/t@7.0", "First.")]
    assert list(past.search("second")) == []
    assert past.search().coverage == {"d/t": (7,)}
    assert [event.kind for event in past.history("t")] == ["described", "registered", "published"]
    assert len(table.history()) == 3
    assert past.lineage("t").downstream == ()
    assert past.resolve("t").ref == "d/t@7.0"
    assert table.to_polars().height == 10  # exactly that revision is planned
    now = FeatureRegistry("d", 7, server=past.service)
    assert (now.table("t").ref, now.table("t").rows) == ("d/t@7.1", 20)
    long_ago = FeatureRegistry("d", 7, server=past.service, as_of=story.then - timedelta(days=1))
    with pytest.raises(NotFound) as raised:
        _ = long_ago.table("t").entry
    assert (raised.value.field, raised.value.expected) == ("datastack", [])


def test_what_was_and_is_no_more_is_described_but_not_read(past: FeatureRegistry) -> None:
    past.unregister("d/t@7.1")
    past.unregister("d/t@7.0")
    assert past.table("t").rows == 10
    with pytest.raises(NotFound):
        past.table("t").plan()


def test_unregister_is_the_same_over_http(past: FeatureRegistry) -> None:
    for ref, kind in (("t", Invalid), ("d/t@7.5", NotFound), ("d/t@7.0", Conflict)):
        with pytest.raises(kind):
            past.unregister(ref)
    assert str(past.unregister("d/t@7.0", force=True).ref) == "d/t@7.0"
    assert [event.kind for event in FeatureRegistry("d", server=past.service).history("t")][-1] == "unregistered"


def test_a_naive_time_is_refused_everywhere(story: Story) -> None:
    naive = datetime(2024, 5, 1)
    with pytest.raises(Invalid) as raised:
        FeatureRegistry("d", server=story.deployment.registry, as_of=naive)
    expected = raised.value.problem()
    address = story.deployment.settings.api_address
    for path in ("tables/d/t@7", "history/d/t", "lineage/d/t@7", "resolve/d/t@7", "tables"):
        answer = httpx.get(f"{address}/v1/{path}", params={"as_of": naive.isoformat()})
        assert answer.status_code == 422
        assert {name: answer.json()[name] for name in expected} == expected


def test_on_the_command_line(story: Story, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["--server", story.deployment.settings.api_address, *arguments])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    then = story.then.isoformat()
    assert json.loads(run("show", "d/t@7", "--as-of", then, "--json"))["version"]["revision"] == 0
    assert json.loads(run("show", "d/t@7", "--json"))["version"]["revision"] == 1
    found = json.loads(run("search", "--as-of", then, "--json"))
    assert [entry["table"]["description"] for entry in found] == ["First."]
    assert "First." in run("search", "--as-of", then)
    wrong = CliRunner().invoke(app, ["show", "d/t@7", "--as-of", "May"])
    assert (wrong.exit_code, "no instant" in wrong.stderr) == (2, True)
    assert "registered no more" in run("unregister", "d/t@7.0", "--force")


def test_relocate_on_the_command_line(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = story.deployment.registry
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(story.deployment.settings.home))
    old, new = tmp_path / "a", tmp_path / "new"
    old.rename(new)
    place = Location(new)
    dry = CliRunner().invoke(app, ["relocate", str(old), str(new), "--dry-run"])
    assert (dry.exit_code, dry.stdout) == (0, f"d/t@7.0 would be at {place}\n"), dry.stderr
    assert registry.describe("d/t@7.0").version.inspection.location == Location(old)
    done = CliRunner().invoke(app, ["relocate", str(old), str(new)])
    assert done.stdout == f"d/t@7.0 is at {place}\n"
    assert registry.describe("d/t@7.0").version.inspection.location == place
    again = CliRunner().invoke(app, ["relocate", str(old), str(new)])
    assert (again.exit_code, "holds no registered table" in again.stderr) == (1, True)
    assert registry.describe("d/t@7.0", datetime.now(UTC) - timedelta(days=-1)).version.inspection.location == place
