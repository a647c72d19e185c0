"""The licence goes wherever the table goes; what may not be handed on is in no export for the public."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from typer.testing import CliRunner

from feature_registry import exports
from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.registry.licences import canonical, links
from feature_registry_tests.deployment import Deployment, deployed

CITATION = "@misc{key, title = {Spines}}"
TERMS = {"license": "CC-BY-4.0", "usage_constraints": "Not for sale.", "citation": CITATION}
HEADER = '<https://spdx.org/licenses/CC-BY-4.0.html>; rel="license"'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    root = tmp_path_factory.mktemp("licences")
    with deployed(root / "home", allowed_prefixes=(str(root),)) as made:
        registry = FeatureRegistry("d", 7, server=made.registry)
        said = {"description": "Made for tests.", "owner": "tests", "publish": True}
        for name, terms in {"spines": TERMS, "secret": {**TERMS, "redistribution": "forbidden"}, "own": {}}.items():
            for version in (7, 8):
                pl.DataFrame({"id": [1, 2]}).write_parquet(root / f"{name}{version}.parquet")
                fields = {"license": "our own", **said, **terms, "mat_version": version}
                registry.register(root / f"{name}{version}.parquet", name, **fields)
        yield made


@pytest.fixture(params=["http", "embedded"])
def registry(request: pytest.FixtureRequest, made: Deployment) -> FeatureRegistry:
    server = made.settings.api_address if request.param == "http" else made.registry
    return FeatureRegistry("d", 7, server=server)


@pytest.mark.row("M11")
@pytest.mark.parametrize("mode", ["links", "urls"])
def test_a_plan_tells_the_terms(registry: FeatureRegistry, made: Deployment, mode: Any) -> None:
    table = registry.table("spines").plan(mode=mode).entry.table
    assert {name: getattr(table, name) for name in TERMS} == TERMS
    answer = httpx.post(f"{made.settings.api_address}/v1/plans", json={"table": "d/spines@7", "mode": mode})
    assert answer.headers["link"] == HEADER
    own = httpx.post(f"{made.settings.api_address}/v1/plans", json={"table": "d/own@7", "mode": mode})
    assert "link" not in own.headers
    assert own.json()["entry"]["table"]["license"] == "our own"


@pytest.mark.row("M11")
def test_a_link_tells_the_licence_in_every_process(made: Deployment) -> None:
    registry = FeatureRegistry("d", 7, server=made.settings.api_address)
    (url,) = registry.table("spines").plan().urls
    for _ in range(2):
        answer = httpx.get(url, headers={"Range": "bytes=0-3"})
        assert answer.status_code == 307
        assert answer.headers["link"] == HEADER
        made.registry.access.forget()  # as in a process that did not make the plan
    (own,) = registry.table("own").plan().urls
    assert "link" not in httpx.get(own, headers={"Range": "bytes=0-3"}).headers


@pytest.mark.row("M11")
def test_copies_keep_the_terms(registry: FeatureRegistry, made: Deployment, tmp_path: Path) -> None:
    registry.table("secret").download(tmp_path / "folder", progress=False)
    said = json.loads((tmp_path / "folder" / "table.json").read_text())
    assert {name: said[name] for name in TERMS} == TERMS
    assert said["redistribution"] == "forbidden"
    command = ["--server", made.settings.api_address, "read", "d/secret@7", "--output", str(tmp_path / "x.parquet")]
    assert CliRunner().invoke(app, command).exit_code == 0
    kept = pl.read_parquet_metadata(tmp_path / "x.parquet")
    assert {name: kept[name] for name in TERMS} == TERMS
    assert kept["table"] == "d/secret@7.0"


@pytest.mark.row("M11")
@pytest.mark.parametrize("name", exports.names())
def test_what_may_not_be_handed_on_is_in_no_public_export(registry: FeatureRegistry, name: str) -> None:
    whole, public = registry.export(name), registry.export(name, public=True)
    assert "secret" in whole
    assert whole.withheld == 0
    assert "secret" not in public
    assert "spines" in public
    assert public.withheld == 2


@pytest.mark.row("M11")
def test_the_command_says_how_many_are_left_out(made: Deployment) -> None:
    answer = CliRunner().invoke(app, ["--server", made.settings.api_address, "export", "bibtex", "--public"])
    assert "secret" not in answer.stdout
    assert answer.stderr == "2 table versions are left out: they may not be handed on\n"
    address = f"{made.settings.api_address}/v1/exports/bibtex"
    public, whole = httpx.get(address, params={"public": "true"}), httpx.get(address)
    assert public.headers["x-withheld"] == "2"
    assert public.headers["content-type"] == "application/x-bibtex"
    assert "x-withheld" not in whole.headers


@pytest.mark.row("M11")
@pytest.mark.parametrize(("license", "outcome"), [("CC-BY-4.0", "passed"), ("cc by", "warned"), (None, None)])
def test_a_licence_that_programs_do_not_know_is_warned_of(
    registry: FeatureRegistry, license: str | None, outcome: str | None
) -> None:
    place = registry.table("spines").entry.version.inspection.location
    report = registry.preview(str(place), "another", license=license)
    assert {each.name: each.outcome for each in report.checks}.get("license") == outcome


@pytest.mark.parametrize(
    ("license", "header"),
    [
        ("mit OR Apache-2.0", ["MIT", "Apache-2.0"]),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", ["GPL-2.0-or-later"]),
        ("LicenseRef-lab", []),
        ("CC BY", []),
        ("", []),
        ("MIT\r\nSet-Cookie: a", []),
        ("https://lab.org/terms\r\nSet-Cookie: a", []),
        ('https://lab.org/>; rel="next', []),
        ("(" * 126 + "MIT" + ")" * 126, None),
    ],
)
def test_a_header_holds_addresses_only(license: str, header: list[str] | None) -> None:
    wanted = ", ".join(f'<https://spdx.org/licenses/{name}.html>; rel="license"' for name in header or [])
    if header is not None:
        assert links(license) == ({"Link": wanted} if header else {})
    assert set(links(license)) <= {"Link"}
    assert links("https://lab.org/terms?a=1") == {"Link": '<https://lab.org/terms?a=1>; rel="license"'}
    assert canonical("mit") == "MIT"
