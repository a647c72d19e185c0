from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from feature_registry.client import HttpService
from feature_registry.errors import Conflict, Denied, Exhausted, Invalid, NotFound, RegistryError, Unavailable
from feature_registry.model import Datastack, PlanRequest

DATASTACKS = [{"name": "minnie65", "aligned_volume": "minnie"}]


def service(answer: Callable[[httpx.Request], httpx.Response], monkeypatch: pytest.MonkeyPatch) -> HttpService:
    monkeypatch.setattr("feature_registry.client.http.FIRST_PAUSE", 0.0)
    made = HttpService("http://registry.test/", SecretStr("hush"))
    made._http = httpx.Client(base_url=made.address, headers=made._http.headers, transport=httpx.MockTransport(answer))
    return made


def test_a_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json=DATASTACKS)

    assert service(answer, monkeypatch).datastacks() == (Datastack(name="minnie65", aligned_volume="minnie"),)
    assert seen == ["Bearer hush"]


def test_fields_of_a_newer_server_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = [{**DATASTACKS[0], "colour": "red"}]
    assert service(lambda _: httpx.Response(200, json=newer), monkeypatch).datastacks()[0].name == "minnie65"


@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), 503, 502])
def test_what_may_be_repeated_is(failure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        if len(calls) < 5:
            if isinstance(failure, Exception):
                raise failure
            return httpx.Response(failure)
        return httpx.Response(200, json=DATASTACKS)

    assert len(service(answer, monkeypatch).datastacks()) == 1
    assert len(calls) == 5


@pytest.mark.parametrize(("failure", "asked"), [(httpx.ReadError("broke off"), 1), (httpx.ConnectError("refused"), 3)])
def test_a_change_is_repeated_only_where_it_was_not_asked_for(
    failure: httpx.TransportError, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        raise failure if len(calls) < 3 else httpx.ReadError("broke off")

    with pytest.raises(Unavailable, match="broke off"):
        service(answer, monkeypatch).publish("a/b@1")
    assert len(calls) == asked


def test_patience_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feature_registry.client.http.PATIENCE", 0.1)

    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unavailable, match="refused"):
        service(answer, monkeypatch).datastacks()


def test_a_plan_is_asked_for_again_by_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(json.loads(request.content))
        if len(calls) < 3:
            raise httpx.ReadError("broke off")
        return httpx.Response(404, text="seen enough")

    with pytest.raises(NotFound):
        service(answer, monkeypatch).plan(PlanRequest(table="a/b@1", where=[("id", "in", [1, 2**60])]))
    assert len(calls) == 3
    assert len({call["grant"] for call in calls}) == 1
    assert calls[0]["where"] == [[["id", "in", [1, str(2**60)]]]]


@pytest.mark.parametrize("kind", [NotFound, Conflict, Invalid, Denied, Exhausted])
def test_problems_become_errors(kind: type[RegistryError], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = kind("is wrong", field="table", value="a/b", expected=["c/d"])

    def answer(_: httpx.Request) -> httpx.Response:
        content = json.dumps({**wrong.problem(), "status": 400})
        return httpx.Response(400, content=content, headers={"content-type": "application/problem+json"})

    with pytest.raises(kind) as caught:
        service(answer, monkeypatch).describe("a/b")
    assert caught.value == wrong


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Denied), (404, NotFound), (429, Exhausted), (500, Unavailable), (418, RegistryError)]
)
def test_other_answers_become_errors_too(status: int, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(kind):
        service(lambda _: httpx.Response(status, text="<html>"), monkeypatch).publish("a/b")


def test_an_answer_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable) as wrong:
        service(lambda _: httpx.Response(200, text="<html>"), monkeypatch).datastacks()
    assert "as a registry" in str(wrong.value)
