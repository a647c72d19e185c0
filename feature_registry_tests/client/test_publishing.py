"""Publishing with care as users do it: in the client, embedded or not, over HTTP, and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from typer.testing import CliRunner, Result

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.errors import Conflict, Denied, Invalid, NotFound
from feature_registry.settings import Settings
from feature_registry_tests.deployment import Deployment, deployed

SAID = {"description": "T.", "owner": "lab", "license": "MIT"}
Command = Callable[..., Result]


@pytest.fixture(params=["http", "embedded"])
def client(request: pytest.FixtureRequest, deployment: Deployment, tmp_path: Path) -> FeatureRegistry:
    """A draft t@7, and t@5, which is published."""
    server: Any = deployment.settings.api_address if request.param == "http" else deployment.registry
    client = FeatureRegistry("d", 7, server=server)
    client.register(table(tmp_path / "five"), "t", mat_version=5, publish=True, **SAID)
    client.register(table(tmp_path / "seven"), "t")
    return client


def table(folder: Path) -> Path:
    folder.mkdir()
    pl.DataFrame({"id": range(10)}).write_parquet(folder / "0.parquet")
    return folder


def test_a_client_publishes_edits_and_deprecates(client: FeatureRegistry, tmp_path: Path) -> None:
    assert client.publish("t").version.status == "published"
    seen = client.table("t").entry.table
    client.edit("t", based_on=seen.etag, tags=["a"])
    with pytest.raises(Conflict) as raised:
        client.edit("t", based_on=seen.etag, tags=["b"])
    assert raised.value.expected == {"tags": {"was": [], "is": ["a"]}}
    assert client.table("t").entry.table.etag == client.edit("t", tags=["a"]).table.etag
    assert client.transfer("t", "others").table.owner.team == "others"  # type: ignore[union-attr]
    client.register(table(tmp_path / "child"), "child", derived_from=["d/t@7.0"], references={"id": "t.id"})
    found = client.dependents("t")
    assert (found.derived, found.references) == (("d/child@7.0",), ("d/child.id",))
    assert "d/child@7.0" in client.deprecate("t", "old", "d/t@5").warnings[0]
    assert client.resolve("t").ref == "d/t@5.0"
    with pytest.raises(Conflict):
        client.publish("t")


def test_a_client_takes_the_nearest_if_it_says_so(client: FeatureRegistry) -> None:
    with pytest.raises(NotFound):
        _ = client.table("t@6").entry
    near = client.table("t@6", nearest=True)
    warning = "6 is not there; this is 5, the newest older one"
    assert (near.ref, near.entry.warnings) == ("d/t@5.0", (warning,))
    assert near.plan().warnings == (warning,)
    assert near.to_polars().height == 10
    assert client.table(near.entry.version.id).ref == "d/t@5.0"
    assert client.resolve("t@6", nearest=True).ref == "d/t@5.0"


def test_a_client_forgets_a_run(client: FeatureRegistry, tmp_path: Path) -> None:
    run = {"producer": {"run_id": "a run/1"}}
    client.register(table(tmp_path / "a"), "a", **run)
    with pytest.raises(Conflict, match="a run/1"):
        client.register(table(tmp_path / "b"), "a", **run)
    assert [str(each.ref) for each in client.unregister_run("a run/1")] == ["d/a@7.0"]


def test_over_http_an_etag_comes_and_goes_in_headers(deployment: Deployment, tmp_path: Path) -> None:
    deployment.client("d", mat_version=7).register(table(tmp_path / "t"), "t", publish=True, **SAID)
    with httpx.Client(base_url=deployment.settings.api_address) as http:
        answer = http.get("/v1/tables/d/t@7")
        etag = answer.headers["ETag"]
        assert etag == f'"{deployment.registry.describe("d/t").table.etag}"'
        changed = http.patch("/v1/tables/d/t@7", json={"tags": ["a"]}, headers={"If-Match": etag})
        assert changed.status_code == 200
        assert changed.headers["ETag"] == http.get("/v1/tables/d/t").headers["ETag"] != etag
        late = http.patch("/v1/tables/d/t@7", json={"tags": ["b"]}, headers={"If-Match": etag})
        assert (late.status_code, late.json()["expected"]) == (409, {"tags": {"was": [], "is": ["a"]}})
        assert http.patch("/v1/tables/d/t@7", json={"tags": ["b"]}, headers={"If-Match": "*"}).status_code == 200
        assert http.get("/v1/tables/d/t@9?nearest=true").json()["warnings"] == [
            "9 is not there; this is 7, the newest older one"
        ]
        assert http.get("/v1/tables/d/t@9").status_code == 404
        assert http.post("/v1/transfer/d/t", json={}).status_code == 422
        assert http.post("/v1/transfer/d/t", json={"team": "x"}).json()["table"]["owner"]["team"] == "x"


@pytest.mark.row("M9")
def test_over_http_nobody_is_in_a_team_unless_the_settings_say_so(tmp_path: Path) -> None:
    with deployed(tmp_path / "home", allowed_prefixes=(str(tmp_path),), person_teams=("mine",)) as deployment:
        client = deployment.client("d", mat_version=7)
        client.register(table(tmp_path / "t"), "t", publish=True, **SAID)
        with pytest.raises(Denied):
            client.edit("t", tags=["a"])
        client.register(table(tmp_path / "u"), "u", publish=True, **SAID | {"owner": "mine"})
        assert client.edit("u", tags=["a"]).table.tags == ("a",)


@pytest.mark.row("M7")
def test_an_instant_is_in_utc_and_picks_what_contains_it(client: FeatureRegistry, tmp_path: Path) -> None:
    span = {"start": "2024-01-01T00:00:00+01:00", "end": "2024-02-01T00:00:00Z"}
    made = client.register(table(tmp_path / "span"), "span", publish=True, time_range=span, **SAID).entry
    client.register(table(tmp_path / "at"), "at", publish=True, snapshot_time="2024-03-01T02:00:00+02:00", **SAID)
    assert made.version.time_range.start.isoformat() == "2023-12-31T23:00:00+00:00"  # type: ignore[union-attr]
    for at, names in (
        ("2023-12-31T23:00:00Z", ["span"]),
        ("2024-02-01T00:59:59+01:00", ["span"]),
        ("2024-02-01T00:00:00Z", []),  # half open
        ("2024-03-01T00:00:00Z", ["at"]),
    ):
        assert [entry.table.name for entry in client.search(at=at)] == names
    naive, backwards = "2024-01-01T00:00:00", {"start": span["end"], "end": span["start"]}
    for wrong in (
        {"snapshot_time": naive},
        {"time_range": {"start": naive, "end": naive}},
        {"time_range": backwards},
        {"time_range": {"start": span["end"], "end": span["end"]}},
    ):
        with pytest.raises(Invalid):
            client.register(tmp_path / "at", "wrong", **SAID, **wrong)
    with pytest.raises(Invalid):
        client.search(at=naive)


# -------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """On an embedded registry with a draft d/t@7, whose child is a draft, too."""
    from feature_registry.registry import Registry

    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path / "home"))
    registry = Registry(Settings())
    client = FeatureRegistry("d", 7, server=registry)
    client.register(table(tmp_path / "t"), "t", **SAID)
    client.register(table(tmp_path / "child"), "child", derived_from=["d/t@7.0"], producer={"run_id": "run"}, **SAID)
    registry.close()
    return lambda *words, **more: CliRunner().invoke(app, list(map(str, words)), **more)


def test_the_commands_publish_edit_transfer_and_deprecate(command: Command) -> None:
    assert command("publish", "d/t@7").stdout == "d/t@7.0 is published\n"
    shown = command("edit", "d/t@7")
    assert json.loads(shown.stdout)["description"] == "T."
    etag = shown.stderr.split()[-1]
    assert command("edit", "d/t@7", "description=U.", 'tags=["a"]', "license=null", "--based-on", etag).exit_code == 1
    assert command("edit", "d/t@7", "description=U.", 'tags=["a"]', "--based-on", etag).exit_code == 0
    late = command("edit", "d/t@7", "description=V.", "--based-on", etag)
    assert (late.exit_code, "'was': 'T.', 'is': 'U.'" in late.stderr) == (1, True)
    assert command("edit", "d/t@7", "tags=[").exit_code == command("edit", "d/t@7", "tags").exit_code == 2
    assert command("transfer", "d/t@7", "--team", "others").exit_code == 0
    assert command("dependents", "d/t@7").stdout == "derived from it: d/child@7.0\n"
    deprecated = command("deprecate", "d/t@7", "--reason", "old")
    assert deprecated.stdout == "d/t@7.0 is deprecated\n"
    assert deprecated.stderr == "derived from it: d/child@7.0\n"
    assert "d/t@7.0 is deprecated: old" in command("show", "d/t@7").stdout
    assert "transferred" in command("history", "d/t").stdout
    assert json.loads(command("dependents", "d/t@7", "--json").stdout)["derived"] == ["d/child@7.0"]
    assert command("resolve", "d/t@9", "--nearest").exit_code == 1  # what is deprecated is nobody's nearest


def test_the_nearest_on_the_command_line_is_said(command: Command) -> None:
    command("publish", "d/t@7")
    warning = "9 is not there; this is 7, the newest older one"
    assert warning in command("show", "d/t@9", "--nearest").stdout
    for words in (("plan", "d/t@9", "--nearest", "--dry-run"), ("read", "d/t@9", "--nearest")):
        found = command(*words)
        assert (found.exit_code, f"warning: {warning}" in found.stderr) == (0, True), words
    assert command("read", "d/t@9").exit_code == 1


def test_on_a_terminal_what_others_need_is_asked_for(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command("publish", "d/t@7")
    monkeypatch.setattr("feature_registry.cli.publishing.terminal", lambda: True)
    refused = command("deprecate", "d/t@7", input="n\n")
    assert (refused.exit_code, "all the same?" in refused.stderr) == (1, True)
    assert "published" in command("show", "d/t@7").stdout
    assert command("deprecate", "d/t@7", input="y\n").exit_code == 0
    assert command("unregister", "d/t@7", "--yes", "--force").exit_code == 0
    assert command("unregister-run", "run").stdout.startswith("d/child@7.0 is registered no more")
