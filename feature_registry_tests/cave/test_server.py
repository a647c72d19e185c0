from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from feature_registry.cave import Rows, SourceTable, load_version_source
from feature_registry.cave.server import Cave
from feature_registry.demo.cave import FrozenTable, FrozenVersion, StandIn, serving
from feature_registry.errors import Denied, Invalid, NotFound, RegistryError, Unavailable
from feature_registry.model import Metadata
from feature_registry.settings import Settings
from feature_registry_tests.cave.stand_in import EXPIRED, FROZEN, PUBLIC, RUNNING, TOKEN, WHOLE, stand_in

NUCLEI = ("nucleus_detection", "cell_types")
VIEWS = ("aibs_cell_info", "degrees")


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[StandIn, str]]:
    cave = stand_in()
    with serving(cave) as address:
        yield cave, address


@pytest.fixture
def said(address: tuple[StandIn, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """What CAVE says in a test, which may change it."""
    monkeypatch.setenv("HOME", str(tmp_path))  # where caveclient keeps tokens
    vars(address[0]).update(vars(stand_in()))
    return address[0]


@pytest.fixture
def cave(address: tuple[StandIn, str], said: StandIn) -> Cave:
    return asking(address[1])


def asking(server: str, token: str | None = TOKEN, seconds: float = 15, **options: Any) -> Cave:
    options = {"cave_datastacks": (WHOLE, PUBLIC), "cave_server": server, "cave_token": token} | options
    return Cave(Settings(**options), seconds)


def test_it_is_made_from_the_settings(cave: Cave, address: tuple[StandIn, str], monkeypatch: Any) -> None:
    for name, value in {"server": f"{address[1]}/", "token": TOKEN, "datastacks": f'["{PUBLIC}"]'}.items():
        monkeypatch.setenv(f"FEATURE_REGISTRY_CAVE_{name.upper()}", value)
    source = load_version_source(Settings().source)
    assert isinstance(source, Cave)
    assert [each.name for each in source.datastacks()] == [PUBLIC]


def test_datastacks(cave: Cave, address: tuple[StandIn, str]) -> None:
    whole, public = cave.datastacks()
    assert (whole.name, public.name) == (WHOLE, PUBLIC)
    assert whole.aligned_volume == public.aligned_volume == "minnie65"
    assert (whole.segmentation_source or "").endswith("/segmentation/table/minnie3_v1")
    assert whole.voxel_resolution == (4, 4, 40)
    assert cave.server(PUBLIC) == address[1]


def test_versions(cave: Cave) -> None:
    versions = {each.mat_version: each for each in cave.versions(WHOLE)}
    assert versions[1507].time_stamp == FROZEN
    assert versions[1507].tables == ("synapses", *NUCLEI, *VIEWS)
    assert versions[943].long_term
    assert versions[1507].long_term
    running = versions[RUNNING]
    assert (running.status, running.tables, running.long_term) == ("running", None, False)
    public = {each.mat_version: each for each in cave.versions(PUBLIC)}
    assert public[1507].tables == (*NUCLEI, *VIEWS)
    assert public[1507].parent is None  # nobody says it without a database
    expired = public[EXPIRED]
    assert (expired.status, expired.valid, expired.tables) == ("expired", False, None)


def test_what_changes_is_seen_at_once(said: StandIn, cave: Cave) -> None:
    version = said.datastacks[WHOLE].versions[1507]
    assert cave.table(WHOLE, 1507, "synapses").rows == 337_312_429
    cave.versions(WHOLE)
    version.tables["synapses"] = FrozenTable("synapse", 3, said={"description": "Other words."})
    version.status, version.valid = "EXPIRED", False
    said.datastacks[WHOLE].versions[1700] = FrozenVersion(FROZEN)
    table = cave.table(WHOLE, 1507, "synapses")
    assert (table.rows, table.metadata["description"]) == (3, "Other words.")
    versions = {each.mat_version: each for each in cave.versions(WHOLE)}
    assert (versions[1507].valid, versions[1507].status) == (False, "expired")
    assert versions[1700].tables is None  # CAVE answers 404 for the tables of a version that has none


def test_a_table(cave: Cave) -> None:
    table = cave.table(WHOLE, 1507, "nucleus_detection")
    assert table == SourceTable(
        datastack=WHOLE,
        mat_version=1507,
        name="nucleus_detection",
        metadata={
            "description": "Every nucleus.",
            "usage_constraints": "Do not use id 7.",
            "tags": ["annotation", "nucleus_detection"],
            "owner": {"person": "121"},
            "read_permission": "public",
            "key": ["id"],
        },
        schema_type="nucleus_detection",
        segmentation="minnie3_v1",
        resolution=(4, 4, 40),
        rows=144_120,
    )
    assert Metadata(**table.metadata).owner.person == "121"  # type: ignore[union-attr]
    assert cave.table(WHOLE, 1507, "synapses").metadata["read_permission"] == "group"


def test_a_table_that_is_about_another_one(cave: Cave) -> None:
    table = cave.table(PUBLIC, 1507, "cell_types")
    assert (table.reference_table, table.segmentation, table.rows) == ("nucleus_detection", None, None)
    assert "owner" not in table.metadata


def test_a_view(cave: Cave) -> None:
    view = cave.table(PUBLIC, 1507, "aibs_cell_info")
    assert view.view
    assert view.metadata == {"description": "What is known of every cell.", "tags": ["view"], "key": ["id"]}
    assert (view.rows, view.schema_type, view.segmentation, view.resolution) == (None, None, None, (4, 4, 40))
    assert cave.table(PUBLIC, 1507, "degrees").metadata["key"] == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda cave: cave.versions("nowhere"),
        lambda cave: cave.table(WHOLE, 1507, "nothing"),
        lambda cave: cave.table(WHOLE, 7, "synapses"),
        lambda cave: cave.table(PUBLIC, 1507, "synapses"),
        lambda cave: cave.table(PUBLIC, 1507, "../versions"),
    ],
)
def test_what_cave_does_not_know(cave: Cave, ask: Callable[[Cave], Any]) -> None:
    with pytest.raises(NotFound, match="http://127"):
        ask(cave)


def test_old_databases_without_views_have_tables(said: StandIn, cave: Cave, caplog: pytest.LogCaptureFixture) -> None:
    said.trouble, said.trouble_at = 500, "/views"
    assert cave.versions(PUBLIC)[0].tables == NUCLEI
    said.trouble_at = ""
    with pytest.raises(Unavailable, match="500"):
        cave.versions(PUBLIC)
    assert "943/views answers 500" in caplog.text


@pytest.mark.parametrize(
    ("trouble", "kind", "text"),
    [
        (502, Unavailable, "answers with status 502"),
        (503, Unavailable, "answers with status 503"),
        (429, Unavailable, "answers with status 429"),
        ("html", Unavailable, "answers nonsense: the answer: Invalid JSON"),
        ("other", Unavailable, "answers nonsense: "),
        ("slow", Unavailable, "does not answer within 0.3 s"),
        (401, Denied, "cave_token"),
        (403, Denied, "cave_token"),
    ],
)
@pytest.mark.parametrize("where", ["/info/", "/metadata", "/tables", "/views"])
def test_trouble(
    said: StandIn, address: tuple[StandIn, str], trouble: Any, kind: type[RegistryError], text: str, where: str
) -> None:
    said.trouble, said.trouble_at = trouble, where
    cave = asking(address[1], seconds=0.3)
    begun = time.monotonic()
    with pytest.raises(kind) as failure:
        cave.versions(WHOLE)
    assert time.monotonic() - begun < 3
    assert text in str(failure.value)
    assert where in str(failure.value)
    assert TOKEN not in str(failure.value)
    said.trouble = None
    assert cave.versions(WHOLE)


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "DREAMING"), ("version", -1), ("version", "many"), ("time_stamp", "yesterday"), ("time_stamp", 7)],
)
def test_a_version_that_is_nonsense(said: StandIn, cave: Cave, monkeypatch: Any, field: str, value: Any) -> None:
    from feature_registry.demo import cave as demo

    right = demo._version_metadata
    monkeypatch.setattr(demo, "_version_metadata", lambda *what: right(*what) | {field: value})
    with pytest.raises(Unavailable, match=rf"nonsense: 0\.{field}"):
        cave.versions(WHOLE)


def test_a_server_that_is_down(said: StandIn) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(Unavailable, match="does not answer: ConnectError"):
        asking(address).versions(WHOLE)


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """A server that says the same whatever it is asked."""
    code = (
        "import socket, sys\n"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "while True:\n c, _ = s.accept(); c.recv(65536); c.sendall(sys.argv[1].encode()); c.close()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, answer.decode()], stdout=subprocess.PIPE) as child:
        assert child.stdout
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
        child.kill()


def test_a_redirect_to_where_one_logs_in_is_not_followed(said: StandIn) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: https://login.example/auth?state=s3cret\r\nContent-Length: 0\r\n\r\n"
    with answering(head) as address, pytest.raises(Denied, match=r"https://login\.example/auth:") as failure:
        asking(address).versions(WHOLE)
    assert "s3cret" not in str(failure.value)


def test_an_answer_that_breaks_off(said: StandIn) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n[1"
    with answering(head) as address, pytest.raises(Unavailable, match="does not answer: RemoteProtocolError"):
        asking(address).versions(WHOLE)


@pytest.mark.parametrize("token", ["wrong", None])
def test_a_wrong_token_is_refused(address: tuple[StandIn, str], said: StandIn, token: str | None) -> None:
    with pytest.raises(Denied, match="cave_token") as failure:
        asking(address[1], token).datastacks()
    assert "wrong" not in str(failure.value)


def test_caveclients_own_token_is_taken_where_none_is_set(address: tuple[StandIn, str], said: StandIn) -> None:
    kept = Path.home() / ".cloudvolume" / "secrets"
    kept.mkdir(parents=True)
    (kept / "cave-secret.json").write_text(f'{{"token": "{TOKEN}"}}')
    assert asking(address[1], None).datastacks()


def test_no_file_is_written_and_no_token_said(
    cave: Cave, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        cave.versions(WHOLE)
        cave.table(WHOLE, 1507, "synapses")
    assert "/tables" in caplog.text
    assert TOKEN not in caplog.text + "".join(capfd.readouterr()) + repr(vars(cave))
    assert [*Path.home().iterdir()] == []


def test_who_is_in_an_address_is_not_shown(said: StandIn) -> None:
    with pytest.raises(Unavailable) as failure:
        asking("http://user:s3cret@127.0.0.1:9").datastacks()
    assert "127.0.0.1:9/info" in str(failure.value)
    assert "s3cret" not in str(failure.value)


def test_settings_that_are_missing_are_named(cave: Cave, address: tuple[StandIn, str]) -> None:
    with pytest.raises(NotFound, match="cave_datastacks"):
        asking(address[1], cave_datastacks=()).datastacks()
    with pytest.raises(Unavailable, match="cave_database"):
        cave.rows(cave.table(WHOLE, 1507, "synapses"))
    with pytest.raises(Invalid, match="cave_server"):
        asking("", cave_server=None).datastacks()


class Databases:
    """What is asked of the frozen databases."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def parent(self, datastack: str, mat_version: int, aligned_volume: str) -> str | None:
        self.asked.append((datastack, mat_version, aligned_volume))
        return WHOLE if datastack == PUBLIC else None

    def rows(self, table: SourceTable, **how: Any) -> Rows:
        raise Unavailable(f"{table.name}: {how}")


def test_the_database_says_what_is_a_view_of_what(cave: Cave) -> None:
    databases = Databases()
    vars(cave)["_databases"] = databases
    assert {each.mat_version: each.parent for each in cave.versions(PUBLIC)} == {943: WHOLE, 1507: WHOLE, EXPIRED: None}
    assert databases.asked == [(PUBLIC, 943, "minnie65"), (PUBLIC, 1507, "minnie65")]
    expected = {"datastack": WHOLE, "keep_invalid": False, "share": "a run"}
    with pytest.raises(Unavailable, match=f"nucleus_detection: {expected}"):
        cave.rows(cave.table(PUBLIC, 1507, "nucleus_detection"), share="a run")
