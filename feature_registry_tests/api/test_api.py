"""The API over a real registry; the links against the real file server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from feature_registry_tests.deployment import Deployment, deployed

ROWS = pl.DataFrame({"id": range(1000), "root_id": [864691135000000000 + i for i in range(1000)]})


@pytest.fixture
def http(deployment: Deployment) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=deployment.settings.api_address) as client:
        yield client


@pytest.fixture
def manifest(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "data"
    folder.mkdir(exist_ok=True)
    for part in range(2):
        ROWS.slice(part * 500, 500).write_parquet(folder / f"{part}.parquet")
    said = {"description": "Synapses.", "owner": "team", "license": "CC-BY-4.0", "tags": ["shape"]}
    return {"location": str(folder), "datastack": "d", "name": "synapses", "mat_version": 7, "publish": True} | said


@pytest.fixture
def registered(http: httpx.Client, manifest: dict[str, Any]) -> dict[str, Any]:
    answer = http.post("/v1/tables", json=manifest)
    assert answer.status_code == 201, answer.text
    report: dict[str, Any] = answer.json()
    return report


def plan(http: httpx.Client, **wanted: Any) -> dict[str, Any]:
    answer = http.post("/v1/plans", json={"table": "d/synapses@7"} | wanted)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_is_registered_is_found_described_and_told(http: httpx.Client, registered: dict[str, Any]) -> None:
    assert registered["entry"]["version"]["status"] == "published"
    entry = http.get("/v1/tables/d/synapses@7").json()
    assert entry == registered["entry"]
    wanted = {"text": "synap", "datastack": "d", "mat_version": 7, "tags": "shape", "columns": True}
    found = http.get("/v1/tables", params=wanted).json()
    assert found == {"entries": [entry], "next": None, "corrected": {}}
    assert http.get("/v1/tables", params={"tags": ["shape", "other"]}).json()["entries"] == []
    assert [event["kind"] for event in http.get("/v1/history/d/synapses").json()] == [
        "described",
        "registered",
        "published",
    ]
    assert [stack["name"] for stack in http.get("/v1/datastacks").json()] == ["d"]
    assert http.get("/v1/datastacks/d/versions").json() == []
    assert http.get("/v1/lineage/d/synapses@7").json()["upstream"] == []
    assert "d/synapses@7.0" in http.get("/v1/exports/catalog_json").text
    assert http.get("/health").json()["status"] == "ok"


def test_registering_again_answers_200_and_previewing_changes_nothing(
    http: httpx.Client, manifest: dict[str, Any], registered: dict[str, Any]
) -> None:
    assert http.post("/v1/tables", json=manifest).status_code == 200
    before = http.get("/health").json()["newest_event"]
    report = http.post("/v1/tables/preview", json=manifest | {"name": "other"}).json()
    assert report["created"]
    assert http.get("/health").json()["newest_event"] == before


def test_the_life_of_a_table(http: httpx.Client, manifest: dict[str, Any]) -> None:
    http.post("/v1/tables", json=manifest | {"publish": False})
    edited = http.patch("/v1/tables/d/synapses@7", json={"description": "Better."})
    assert edited.json()["table"]["description"] == "Better."
    assert http.post("/v1/publish/d/synapses@7").json()["version"]["status"] == "published"
    assert http.post("/v1/deprecate/d/synapses@7", json={"reason": "old"}).json()["version"]["status"] == "deprecated"
    assert http.get("/v1/tables/d/synapses@7").json()["warnings"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "field"),
    [
        ("GET", "/v1/tables/d/nothing@7", None, 404, "table"),
        ("GET", "/v1/tables/e/synapses@7", None, 404, "datastack"),
        ("GET", "/v1/tables/d/synapses@8", None, 404, "mat_version"),
        ("GET", "/v1/tables/synapses", None, 422, "table"),
        ("GET", "/v1/tables?limit=0", None, 422, "query.limit"),
        ("GET", "/v1/tables?colour=red", None, 422, "query.colour"),
        ("GET", "/v1/tables?after=x", None, 422, "after"),
        ("POST", "/v1/tables", {"name": "x"}, 422, "location"),
        ("POST", "/v1/plans", {"table": "d/synapses@7", "where": [["size", "~", 1]]}, 422, None),
        ("POST", "/v1/plans", {"table": "d/synapses@7", "where": [["x", "==", 1]]}, 422, "where"),
        ("POST", "/v1/plans", {"table": "d/synapses@7", "where": "x"}, 422, None),
        ("POST", "/v1/plans", {"table": "d/synapses@7", "mode": "direct"}, 422, "mode"),
        ("PATCH", "/v1/tables/d/synapses@7", {"colour": "red"}, 422, "colour"),
        ("GET", "/v1/grants/unknown", None, 404, "grant"),
        ("GET", "/v1/exports/unknown", None, 404, "export"),
        ("GET", "/nothing", None, 404, None),
        ("DELETE", "/v1/tables", None, 405, None),
    ],
)
def test_what_is_wrong_is_named(
    http: httpx.Client, registered: Any, method: str, path: str, body: Any, status: int, field: str | None
) -> None:
    before = http.get("/health").json()
    answer = http.request(method, path, json=body)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    if field is not None:
        assert problem["field"].startswith(field)
    assert http.get("/health").json() == before


def test_only_the_configured_prefixes_are_registered(http: httpx.Client, manifest: dict[str, Any]) -> None:
    answer = http.post("/v1/tables", json=manifest | {"location": "/etc"})
    assert (answer.status_code, answer.json()["field"]) == (403, "location")


def test_credentials_in_a_location_are_never_repeated(http: httpx.Client, manifest: dict[str, Any]) -> None:
    answer = http.post("/v1/tables", json=manifest | {"location": "s3://key:hush@bucket/x"})
    assert answer.status_code == 422
    assert "hush" not in answer.text


def test_a_link_redirects_each_range_and_charges_just_what_the_store_sends(
    http: httpx.Client, deployment: Deployment, registered: dict[str, Any]
) -> None:
    found = plan(http)
    url, size = found["files"][0]["url"], found["files"][0]["size"]
    content = Path(registered["entry"]["version"]["inspection"]["location"].removeprefix("file://"), "0.parquet")
    whole = content.read_bytes()
    wanted = {"bytes=0-9": whole[:10], "bytes=-8": whole[-8:], f"bytes={size - 3}-": whole[-3:]}
    for asked, expected in wanted.items():
        answer = httpx.get(url, headers={"Range": asked}, follow_redirects=True)
        assert (answer.status_code, answer.content) == (206, expected)
        assert [each.status_code for each in answer.history] == [307]
    assert httpx.get(url, follow_redirects=True).content == whole
    charged = http.get(f"/v1/grants/{found['grant']['id']}").json()["charged"]
    sent = sum(json.loads(line)["bytes"] for line in deployment.log.read_text().splitlines())
    assert charged == sent == 10 + 8 + 3 + size


def test_a_link_answers_head_without_a_charge(http: httpx.Client, registered: Any) -> None:
    found = plan(http)
    answer = httpx.head(found["files"][0]["url"])
    assert answer.status_code == 200
    assert int(answer.headers["content-length"]) == found["files"][0]["size"]
    assert answer.headers["accept-ranges"] == "bytes"
    assert http.get(f"/v1/grants/{found['grant']['id']}").json()["charged"] == 0


def test_an_altered_link_or_range_is_refused(http: httpx.Client, registered: Any) -> None:
    url = plan(http, where=[["id", "<", 10]])["files"][0]["url"]
    token = url.split("/v1/links/")[1].split("/")[0]
    grant, number, mac = token.split(".")
    for forged in (f"{grant}.1.{mac}", f"{grant}.{number}.{mac[:-1]}", f"x.{number}.{mac}", "x"):
        answer = httpx.get(url.replace(token, forged))
        assert (answer.status_code, answer.json()["kind"]) == (403, "denied")
        assert mac not in answer.text
    outside = httpx.get(url, headers={"Range": "bytes=99999999-"})
    assert outside.status_code == 416
    assert outside.headers["content-range"].startswith("bytes */")
    signed = httpx.get(url, headers={"Range": "bytes=0-9"}).headers["location"]
    assert httpx.get(signed, headers={"Range": "bytes=0-9"}).status_code == 206
    assert httpx.get(signed, headers={"Range": "bytes=0-10"}).status_code == 403
    assert httpx.get(signed).status_code == 403


def test_a_grant_that_ended_links_no_more(tmp_path: Path, manifest: dict[str, Any]) -> None:
    options = {"signature_seconds": 1, "allowed_prefixes": (str(tmp_path),)}
    with deployed(tmp_path / "short", **options) as short, httpx.Client(base_url=short.settings.api_address) as http:
        http.post("/v1/tables", json=manifest)
        url = plan(http, hours=1 / 3600)["files"][0]["url"]
        signed = httpx.get(url).headers["location"]
        time.sleep(2.2)
        assert httpx.get(signed).status_code == 403
        ended = httpx.get(url)
        assert (ended.status_code, ended.json()["field"]) == (403, "grant")


def test_a_link_beyond_its_reservation_asks_the_budget_again(tmp_path: Path, manifest: dict[str, Any]) -> None:
    options = {"allowed_prefixes": (str(tmp_path),)}
    size = sum(path.stat().st_size for path in Path(manifest["location"]).iterdir())
    with (
        deployed(tmp_path / "poor", budget_bytes=size + 20, **options) as poor,
        httpx.Client(base_url=poor.settings.api_address) as http,
    ):
        http.post("/v1/tables", json=manifest)
        found = plan(http)
        urls = [file["url"] for file in found["files"]]
        assert [httpx.get(url).status_code for url in urls] == [307, 307]
        over = [httpx.get(urls[0], headers={"Range": "bytes=0-9"}) for _ in range(3)]
        assert [answer.status_code for answer in over] == [307, 307, 429]
        assert over[-1].json()["expected"] == "at most 0"
        assert http.get(f"/v1/grants/{found['grant']['id']}").json()["charged"] == size + 20


def test_every_route_is_documented_with_its_problems(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description") or operation.get("summary"), (method, path)
            assert "404" in operation["responses"], (method, path)
