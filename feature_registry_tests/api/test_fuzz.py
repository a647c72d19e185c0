"""The OpenAPI document against the application, over both databases: no answer is a fault or undocumented, and what
the document forbids is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import polars as pl
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as documented
from starlette.testclient import TestClient

from feature_registry.api import create_app
from feature_registry.model import PlanRequest, Registration, Search
from feature_registry.registry import Registry
from feature_registry.settings import Settings

CHECKED = [
    not_a_server_error,
    documented.status_code_conformance,
    documented.content_type_conformance,
    documented.response_headers_conformance,
    documented.response_schema_conformance,
    documented.negative_data_rejection,
    documented.unsupported_method,
]
JSON = {"content-type": "application/json"}
NUL, HALF = "\0", "\ud800"


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    url = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    opened = Registry(Settings(home=tmp_path / "home", allowed_prefixes=(str(tmp_path),), database=url))
    pl.DataFrame({"id": [1, 2**60], "x": [0.5, 2.0], "s": ["a", "b"]}).write_parquet(tmp_path / "t.parquet")
    yield opened
    opened.close()


@pytest.fixture
def fill(registry: Registry, tmp_path: Path) -> Callable[[], dict[str, list[str]]]:
    """Registers the table if it is not there, and answers what a path or a body may name."""

    def filled() -> dict[str, list[str]]:
        said: dict[str, Any] = {"description": "Fuzzed.", "owner": "tests", "license": "MIT", "publish": True}
        location = str(tmp_path / "t.parquet")
        registry.register(Registration(location=location, datastack="d", name="t", mat_version=3, **said))
        plan = registry.plan(PlanRequest(table="d/t@3"))
        assert plan.grant is not None
        return {
            "table": ["d/t@3", "d/t", "d/t@3.0", "d/nothing", "e/t"],
            "datastack": ["d", "e"],
            "grant": [plan.grant.id, "nothing"],
            "name": ["catalog_json"],
            "token": [str(plan.files[0].url).split("/")[5], "x.0.y"],
            "location": [location, str(tmp_path / "nothing"), "/etc"],
        }

    return filled


def named(data: st.DataObject, case: Any, known: dict[str, list[str]]) -> None:
    """Puts names of what exists, or nearly does, into a case's path and body."""
    for place in (case.path_parameters, case.body):
        for name in known.keys() & place.keys() if isinstance(place, dict) else ():
            place[name] = data.draw(st.sampled_from(known[name]))


def right_as_text(case: Any) -> bool:
    """Whether a search is right once it is a query, where 0 and false are words as others, and one word is a list."""
    if case.operation.label != "GET /v1/tables":
        return False
    try:
        query = httpx.QueryParams(case.query)
        Search(**{name: query.get_list(name) if name == "tags" else query[name] for name in query})  # type: ignore[arg-type]
    except (LookupError, TypeError, ValueError):
        return False
    return True


def fuzzed(operation: Any, known: dict[str, list[str]], examples: int) -> None:
    modes = {mode: operation.as_strategy(generation_mode=mode) for mode in GenerationMode}

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from(list(modes)))
        case = data.draw(modes[mode])
        if mode is GenerationMode.POSITIVE and data.draw(st.booleans()):
            named(data, case, known)
        wrong = [documented.negative_data_rejection] if right_as_text(case) else []
        case.call_and_validate(checks=[check for check in CHECKED if check not in wrong])

    try:
        run()
    except Unsatisfiable:  # nothing can be wrong about an operation without parameters
        assert not operation.path_parameters


@pytest.mark.parametrize("examples", [20, pytest.param(1_000, marks=pytest.mark.slow)])
def test_every_operation_answers_as_it_is_documented(
    registry: Registry, fill: Callable[[], dict[str, list[str]]], examples: int
) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(registry))
    faults = {}
    for found in schema.get_all_operations():
        operation = found.ok()
        try:
            fuzzed(operation, fill(), examples)
        except Exception as fault:  # all of them are told at once
            faults[operation.label] = fault
    assert not faults, "\n".join(f"{label}: {fault!r}\n{fault}" for label, fault in faults.items())


WORDS = [NUL, HALF, "x" * 100_000, "%", "../../etc/passwd", "", "1e999"]
HOSTILE = [*WORDS, 2**31, 2**64, 10**4000, 1e400, [[]], {"a": {}}, None]


def test_nothing_hostile_is_kept_or_breaks_it(registry: Registry, fill: Callable[[], dict[str, list[str]]]) -> None:
    location = fill()["location"][0]
    http = TestClient(create_app(registry))
    before = registry.newest_event()
    for each in HOSTILE:
        for method, path, body in hostile_requests(each, location):
            answer = http.request(method, path, content=None if body is None else json.dumps(body), headers=JSON)
            assert answer.status_code < 500, (method, path, ascii(body)[:300], answer.text)
            assert registry.newest_event() == before, (method, path, ascii(body)[:300])


def hostile_requests(given_: Any, location: str) -> Iterator[tuple[str, str, Any]]:
    """The value in every place where a request may hold one."""
    new = {"location": location, "datastack": "d", "name": "new", "mat_version": 3}
    for field in Registration.model_fields:
        yield "POST", "/v1/tables/preview", new | {field: given_}
    plans = [{field: given_} for field in PlanRequest.model_fields if field != "dry_run"]
    for column in ("id", "x", "s", given_):
        plans += [{"where": [[column, operator, each]]} for operator in ("==", "in") for each in (given_, [given_])]
    for plan in plans:
        yield "POST", "/v1/plans", {"table": "d/t@3", "dry_run": True} | plan
    text = quote(str(given_).encode(errors="surrogatepass")[:10_000], safe="")
    for field in Search.model_fields:
        yield "GET", f"/v1/tables?{field}={text}", None
    for path in ("tables", "history", "lineage", "resolve", "exports", "grants", "datastacks", "links"):
        yield "GET", f"/v1/{path}/{text}", None


def test_what_the_catalog_cannot_keep_is_named(registry: Registry, fill: Callable[[], dict[str, list[str]]]) -> None:
    fill()
    http = TestClient(create_app(registry))
    before = registry.newest_event()
    for text in (NUL, HALF):
        for changes, field in (
            ({"description": text}, "description"),
            ({"tags": ["fine", text]}, "tags"),
            ({"columns": {"id": {"description": text}}}, "columns.id.description"),
            ({"columns": {f"i{text}": {}}}, "columns"),
        ):
            answer = http.patch("/v1/tables/d/t", content=json.dumps(changes), headers=JSON)
            assert answer.status_code == 422
            assert answer.json()["field"].startswith(field)
            assert registry.newest_event() == before


def test_a_body_that_is_no_json(registry: Registry) -> None:
    http = TestClient(create_app(registry))
    for content in (b"", b"{", b"\xff", b"[" * 100_000, b"1" * 10_000, b"NaN"):
        answer = http.post("/v1/plans", content=content, headers=JSON)
        assert answer.status_code in (400, 422), content[:10]
        assert answer.headers["content-type"] == "application/problem+json"
