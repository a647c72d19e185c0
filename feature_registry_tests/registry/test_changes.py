"""The feed of changes: each once, in order, whoever writes at the same time, and without others' drafts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from feature_registry.catalog import Database
from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.client.changes import ChangeFeed
from feature_registry.errors import Conflict, Invalid, Unavailable
from feature_registry.model import Changes, Event, Person
from feature_registry.registry import Registry, following
from feature_registry_tests.catalog.planted import describe, plant
from feature_registry_tests.deployment import Deployment, deployed
from feature_registry_tests.registry.filled import register, write

WRITERS, EACH = 3, 12  # an event or three each


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, catalogs: Callable[[str], Registry]) -> Registry:
    return catalogs(request.param)


@pytest.fixture(params=["sqlite", "postgresql"])
def deployment(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Deployment]:
    """Shadows that of all tests: over both databases."""
    options = {"database": request.getfixturevalue("postgresql")} if request.param == "postgresql" else {}
    with deployed(tmp_path / "registry", allowed_prefixes=(str(tmp_path),), **options) as installation:
        yield installation


def record(registry: Registry) -> list[int]:
    """The numbers of all events, as they are at the end."""
    return [event.number for event in following.changes(registry, 0, 100_000)]


def numbers(found: Changes) -> list[int]:
    return [event.number for event in found.events]


def test_parts_follow_each_other(registry: Registry) -> None:
    assert registry.changes() == Changes(events=(), next=0, newest=0)
    for ref in ("d/a@1", "e/b@1", "d/c@1"):
        plant(registry.database, ref)
    every = record(registry)
    assert registry.changes(limit=len(every)).next == every[-1]
    seen, after = list[int](), 0
    while part := registry.changes(after, limit=2):
        seen, after = seen + numbers(part), part.next
        assert part.newest == every[-1]
        if after == part.newest:
            break
    assert seen == every
    of_e = registry.changes(datastack="e")
    assert {event.datastack for event in of_e.events} == {"e"}
    assert of_e.next == every[-1]  # nothing of it is left
    assert [event.name for event in registry.changes(kind="published").events] == ["a", "b", "c"]
    one = registry.changes(kind="published", limit=1)
    assert (one.next, len(one.events)) == (one.events[0].number, 1)
    for wrong in ({"after": -1}, {"limit": 0}, {"limit": 1001}):
        with pytest.raises(Invalid):
            registry.changes(**wrong)


def test_a_number_of_another_catalog_is_refused(registry: Registry) -> None:
    plant(registry.database, "d/a@1")
    newest = registry.newest_event()
    assert registry.changes(newest).events == ()
    with pytest.raises(Conflict, match="not the one that was followed") as raised:
        registry.changes(newest + 1)
    assert (raised.value.field, raised.value.value) == ("after", newest + 1)
    assert "0, to resume" in str(raised.value)


def test_others_drafts_are_left_out_while_the_number_moves_on(registry: Registry, tmp_path: Path) -> None:
    ann, bob = (registry.acting(Person(name=name, groups=("*",))) for name in ("ann", "bob"))
    plant(registry.database, "d/open@1", by="ann")
    before = registry.newest_event()
    report = register(ann, write(tmp_path / "a", 1), "secret", publish=False, description="A secret.")
    register(ann, write(tmp_path / "b", 2), "gone", publish=False)
    ann.unregister("d/gone@7.0")
    hidden = bob.changes(before)
    assert "ecret" not in hidden.model_dump_json()
    assert not any(event.version_id for event in hidden.events)
    assert hidden.next == hidden.newest == registry.newest_event()
    mine = ann.changes(before)
    assert [event.kind for event in mine.events if event.name == "secret"] == ["described", "registered"]
    assert "unregistered" in {event.kind for event in mine.events}
    ann.publish("d/secret@7")
    (seen,) = bob.changes(hidden.next).events
    assert (seen.kind, seen.version_id) == ("published", report.entry.version.id)
    ann.unregister("d/secret@7.0")
    assert [event.kind for event in bob.changes(seen.number).events] == ["unregistered"]  # for it was seen


def write_some(url: str, writer: int) -> None:
    database = Database(url)
    for at in range(EACH):
        plant(database, f"d/t{(writer + at) % 4}@{at}")
    database.close()


def test_a_follower_gets_each_change_once_while_others_write(deployment: Deployment) -> None:
    """Over HTTP, on connections of its own for each writer; the follower goes away and comes back with its number."""
    url = deployment.settings.database_url
    seen: list[int] = []
    with ThreadPoolExecutor(WRITERS + 1) as pool, deployment.client("d") as client:
        writers = [pool.submit(write_some, url, writer) for writer in range(WRITERS)]
        after = 0
        while True:
            done = all(writer.done() for writer in writers)  # asked first
            feed = client.changes(after)
            for event in feed:
                seen.append(event.number)
                if event.number % 7 == 0:
                    break  # and goes on with a new feed
            after = feed.after
            if done and after == deployment.registry.newest_event():
                break
        for writer in writers:
            writer.result()
    assert seen == record(deployment.registry)


def test_a_follower_that_is_killed_goes_on_where_it_was(deployment: Deployment) -> None:
    """The command, killed for good at any moment; what it printed is what somebody has."""
    got = list[dict[str, Any]]()

    def follow(until: Callable[[], bool]) -> None:
        after = str(got[-1]["number"] if got else 0)
        command = [sys.executable, "-m", "feature_registry", "--server", deployment.settings.api_address, "changes"]
        with subprocess.Popen(
            [*command, "--follow", "--json", "--after", after], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                got.append(json.loads(line))
                if until():
                    process.send_signal(signal.SIGKILL)
                    break

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write_some, deployment.settings.database_url, writer) for writer in range(2)]
        follow(lambda: len(got) >= 10)
        follow(lambda: all(w.done() for w in writers) and got[-1]["number"] == deployment.registry.newest_event())
    assert [event["number"] for event in got] == record(deployment.registry)


def test_whoever_waits_holds_no_thread_and_is_told_at_once(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(deployment.registry.database, "d/a@1")
    newest, looks = deployment.registry.newest_event(), list[float]()
    look = Registry.newest_event
    monkeypatch.setattr(Registry, "newest_event", lambda self: looks.append(time.monotonic()) or look(self))
    address, many = deployment.settings.api_address, 60  # more than there are threads
    limits = httpx.Limits(max_connections=many + 1)
    with httpx.Client(base_url=address, timeout=60, limits=limits) as http, ThreadPoolExecutor(many) as pool:
        query = {"after": newest, "wait": 50}
        waiting = [pool.submit(http.get, "/v1/changes", params=query) for _ in range(many)]
        time.sleep(3)
        assert not any(each.done() for each in waiting)
        begun = time.monotonic()
        assert http.get("/v1/resolve/d/a@1").is_success
        assert time.monotonic() - begun < 5  # a busy machine; a thread that is held would take 50
        span = looks[-1] - looks[0]
        assert len(looks) <= 2.5 * span + 2  # all of them together
        plant(deployment.registry.database, "d/b@1")
        answers = [each.result() for each in waiting]
    assert time.monotonic() - begun < 40
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json()["events"][0]["number"] == newest + 1


def test_a_wait_ends_without_a_change(deployment: Deployment) -> None:
    plant(deployment.registry.database, "d/a@1")
    newest = deployment.registry.newest_event()
    for path in ("/v1/changes", "/changes"):
        answer = httpx.get(
            f"{deployment.settings.api_address}{path}", params={"after": newest, "wait": 0.6}, timeout=30
        )
        assert answer.json() == {"events": [], "next": newest, "newest": newest}
    for wrong in ({"wait": 61}, {"after": -1}, {"limit": 0}):
        assert httpx.get(f"{deployment.settings.api_address}/changes", params=wrong).status_code == 422
    beyond = httpx.get(f"{deployment.settings.api_address}/changes", params={"after": newest + 5})
    assert (beyond.status_code, beyond.json()["field"]) == (409, "after")
    assert "/changes" not in httpx.get(f"{deployment.settings.api_address}/openapi.json").json()["paths"]
    with deployment.client("d") as client, pytest.raises(Conflict, match="not the one"):
        list(client.changes(newest + 5))


class Failing:
    """A service over a registry that is gone each third time, and once comes back with another catalog."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.calls = registry, 0

    def changes(
        self, after: int, limit: int, datastack: str | None = None, kind: str | None = None, wait: float = 0
    ) -> Changes:
        self.calls += 1
        if self.calls % 3 == 2:
            raise Unavailable("is gone")
        return self.registry.changes(after, min(limit, 2), datastack, kind, 0)


def test_a_follower_waits_for_a_server_that_is_gone(
    catalogs: Callable[[str], Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feature_registry.client.changes.PAUSE", 0.01)
    registry, other = catalogs("sqlite"), catalogs("sqlite")
    for ref in ("d/a@1", "d/b@1"):
        plant(registry.database, ref)
    service: Any = Failing(registry)
    feed = ChangeFeed(service)
    followed, every = feed.follow(), record(registry)
    got = [next(followed).number for _ in every]
    assert got == every
    assert feed.after == every[-1]
    thread = threading.Timer(0.1, plant, (registry.database, "d/c@1"))
    thread.start()
    assert next(followed).number == every[-1] + 1
    thread.join()
    for ref in ("e/x@1", "e/y@1", "e/z@1", "e/w@1"):  # a catalog that went other ways, and further
        plant(other.database, ref)
    service.registry = other
    with pytest.raises(Conflict, match="another change now"):
        for _ in range(20):
            next(followed)


def test_the_embedded_client_and_the_command_say_the_same(deployment: Deployment) -> None:
    plant(deployment.registry.database, "d/a@1")
    describe(deployment.registry.database, "d/a", description="Said again.")
    embedded = FeatureRegistry("d", server=deployment.registry)
    with deployment.client("d") as client:
        every = list(client.changes())
    assert every == list(embedded.changes())
    found = CliRunner().invoke(app, ["--server", deployment.settings.api_address, "changes", "--json"])
    assert [Event.model_validate_json(line) for line in found.stdout.splitlines()] == every
    text = CliRunner().invoke(
        app, ["--server", deployment.settings.api_address, "changes", "--after", "1", "--kind", "described"]
    )
    assert [line.split()[0] for line in text.stdout.splitlines()] == [str(every[-1].number)]
