from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn

from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage.file import Storage
from feature_registry.storage.file.server import Roots, create_app

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
MINUTE = timedelta(seconds=60)


class Served:
    """A running file server over `folder`, which its settings allow."""

    def __init__(self, folder: Path) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.folder = folder / "data"
        self.folder.mkdir()
        self.log_path = folder / "log/access.jsonl"
        settings = Settings(home=folder / "home", file_port=self.port, allowed_prefixes=(str(self.folder),))
        self.store = Storage(settings)
        self.app = create_app(settings, self.log_path)
        self._server = uvicorn.Server(uvicorn.Config(self.app, log_level="critical", access_log=False))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]}, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(20)

    def sign(
        self, name: str, byte_range: str | None = None, lifetime: timedelta = MINUTE, etag: str | None = None
    ) -> str:
        parts = urlsplit(self.store.sign(Location(self.folder / name), lifetime, byte_range, etag))
        return f"{parts.path}?{parts.query}"

    def ask(self, target: str, byte_range: str | None = None, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, target, headers={} if byte_range is None else {"Range": byte_range})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    def log(self) -> list[dict]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    running = Served(tmp_path)
    (running.folder / "x").write_bytes(CONTENT)
    yield running
    running.stop()


def test_serves_a_file(server: Served) -> None:
    status, headers, body = server.ask(server.sign("x"))
    assert (status, body) == (200, CONTENT)
    assert headers["accept-ranges"] == "bytes"
    assert headers["content-length"] == "10240"
    assert headers["etag"] == f'"{server.store.head(Location(server.folder / "x")).etag}"'
    assert "content-range" not in headers


@pytest.mark.parametrize(
    ("byte_range", "start", "end"),
    [
        ("bytes=0-99", 0, 100),
        ("bytes=100-", 100, 10240),
        ("bytes=-8", 10232, 10240),
        ("bytes=-99999", 0, 10240),
        ("bytes=10239-10239", 10239, 10240),
        ("bytes=10000-99999", 10000, 10240),
        ("bytes=0-", 0, 10240),
    ],
)
def test_serves_ranges(server: Served, byte_range: str, start: int, end: int) -> None:
    for target in (server.sign("x"), server.sign("x", byte_range)):
        status, headers, body = server.ask(target, byte_range)
        assert (status, body) == (206, CONTENT[start:end])
        assert headers["content-range"] == f"bytes {start}-{end - 1}/10240"
        assert headers["content-length"] == str(end - start)


@pytest.mark.parametrize("byte_range", ["bytes=10240-", "bytes=10240-10250", "bytes=-0"])
def test_a_range_outside_of_the_file_is_416(server: Served, byte_range: str) -> None:
    status, _, body = server.ask(server.sign("x"), byte_range)
    assert (status, json.loads(body)["code"]) == (416, "InvalidRange")


@pytest.mark.parametrize(
    "byte_range", ["bytes=9-1", "bytes=0-1,5-6", "bytes=-", "items=0-1", "bytes=" + "9" * 5000 + "-"]
)
def test_a_malformed_or_multiple_range_is_ignored(server: Served, byte_range: str) -> None:
    assert server.ask(server.sign("x"), byte_range)[::2] == (200, CONTENT)


def test_a_bound_range_serves_no_other(server: Served) -> None:
    target = server.sign("x", "bytes=0-99")
    for byte_range in (None, "bytes=0-100", "bytes=0-98", "bytes=00-99", "bytes=0-"):
        status, _, body = server.ask(target, byte_range)
        assert (status, json.loads(body)["code"]) == (403, "SignatureDoesNotMatch")
    altered = target.replace("0-99", "0-999")
    assert server.ask(altered, "bytes=0-999")[0] == 403
    without = target.replace("&range=bytes%3D0-99", "")
    assert server.ask(without)[0] == 403
    assert server.app.state.bytes_sent == 0


def test_a_bound_file_serves_no_other(server: Served) -> None:
    known = server.store.head(Location(server.folder / "x")).etag
    target, ranged = server.sign("x", etag=known), server.sign("x", "bytes=0-9", etag=known)
    assert server.ask(target)[::2] == (200, CONTENT)
    assert server.ask(ranged, "bytes=0-9")[::2] == (206, CONTENT[:10])
    for altered in (target.replace("&etag=", "&etag=0"), target.replace(f"&etag={known}", ""), f"{target}&etag=0"):
        assert server.ask(altered)[0] == 403
    sent = server.app.state.bytes_sent
    (server.folder / "x").write_bytes(CONTENT[::-1])
    for url, byte_range in ((target, None), (ranged, "bytes=0-9")):
        status, _, body = server.ask(url, byte_range)
        assert (status, json.loads(body)["code"]) == (412, "PreconditionFailed")
    assert server.app.state.bytes_sent == sent
    assert server.ask(server.sign("x"))[0] == 200


def test_refuses_what_is_not_signed(server: Served) -> None:
    (server.folder / "y").write_bytes(b"other")
    target = server.sign("x")
    path = target.partition("?")[0]
    for wrong in (
        path,
        f"{path}?expires=9999999999",
        target.replace("/x?", "/y?"),
        target[:-1] + ("0" if target[-1] != "0" else "1"),
        target.replace("expires=1", "expires=2"),
        server.sign("x", lifetime=timedelta(seconds=-5)),
        "/",
    ):
        status, _, body = server.ask(wrong)
        assert status == 403, wrong
        assert json.loads(body)["code"] in ("SignatureDoesNotMatch", "AccessDenied")


def test_head_and_other_methods_are_refused(server: Served) -> None:
    assert server.ask(server.sign("x"), method="HEAD")[0] == 403
    for method in ("PUT", "POST", "DELETE", "OPTIONS"):
        assert server.ask(server.sign("x"), method=method)[0] == 405


@pytest.mark.parametrize("name", ["a b", "a%20b", "a%2Fb", "a+b", "a#b", "a?b", "ä中🧠", "a=b&c", "a\nb"])
def test_odd_names(server: Served, name: str) -> None:
    (server.folder / name).write_bytes(name.encode())
    assert server.ask(server.sign(name))[::2] == (200, name.encode())


def test_other_spellings_of_a_path_are_refused(server: Served) -> None:
    target = server.sign("x")
    folder = str(server.folder)
    for spelling in (
        f"{folder}/./x",
        f"{folder}/../data/x",
        f"{folder}//x",
        f"{folder}/x/",
        f"/{folder}/x",
        f"{folder}%2Fx",
        f"{folder}/%2e%2e/data/x",
        f"{folder}/x%00",
    ):
        assert server.ask(target.replace(f"{folder}/x", spelling))[0] == 403, spelling


def test_absent_files_and_what_is_no_file(server: Served) -> None:
    (server.folder / "folder").mkdir()
    os.mkfifo(server.folder / "pipe")
    for name in ("absent", "folder", "pipe", "x/below"):
        status, _, body = server.ask(server.sign(name))
        assert (status, json.loads(body)["code"]) == (404, "NoSuchKey"), name


def test_links_must_stay_below_the_prefix(server: Served, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (server.folder / "inside").symlink_to(server.folder / "x")
    (server.folder / "outside").symlink_to(tmp_path / "secret")
    (server.folder / "away").symlink_to(tmp_path)
    assert server.ask(server.sign("inside"))[::2] == (200, CONTENT)
    assert server.ask(server.sign("outside"))[0] == 403
    assert server.ask(server.sign("away/secret"))[0] == 403


def test_links_to_the_secret_are_refused(server: Served, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder in (home / "tables", home / "cortex"):
        folder.mkdir()
        (folder / "x").write_bytes(b"x")
        (folder / "link").symlink_to(home / "secret")
        (folder / "other").symlink_to(folder / "x")
        assert server.ask(server.sign(f"../home/{folder.name}/x"))[0] == 200
        assert server.ask(server.sign(f"../home/{folder.name}/link"))[0] == 403
    assert server.ask(server.sign("../home/tables/other"))[0] == 200
    assert server.ask(server.sign("../home/cortex/other"))[0] == 403


def test_the_prefixes_may_be_reached_by_links(tmp_path: Path) -> None:
    (tmp_path / "real/data").mkdir(parents=True)
    (tmp_path / "real/home/cortex").mkdir(parents=True)
    for place in ("data/x", "home/cortex/x"):
        (tmp_path / "real" / place).write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    link = tmp_path / "link"
    roots = Roots(Settings(home=link / "home", allowed_prefixes=(str(link / "data"),)))
    for place in ("data/x", "home/cortex/x"):
        assert roots.permit(str(link / place), str(tmp_path / "real" / place))
    assert not roots.permit(str(link / "other"), str(tmp_path / "real/other"))


def test_links_elsewhere_are_refused(server: Served, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_bytes(b"x")
    (tmp_path / "elsewhere/link").symlink_to(server.folder / "x")
    assert server.ask(server.sign("../elsewhere/x"))[0] == 200
    assert server.ask(server.sign("../elsewhere/link"))[0] == 403


def test_empty_file(server: Served) -> None:
    (server.folder / "empty").write_bytes(b"")
    assert server.ask(server.sign("empty"))[::2] == (200, b"")
    assert server.ask(server.sign("empty"), "bytes=0-")[0] == 416


def test_a_large_file_comes_in_chunks(server: Served) -> None:
    content = os.urandom(5 * 2**20 + 17)
    (server.folder / "large").write_bytes(content)
    assert server.ask(server.sign("large"))[::2] == (200, content)
    assert server.ask(server.sign("large"), "bytes=17-4999999")[::2] == (206, content[17:5_000_000])
    assert server.app.state.bytes_sent == len(content) + 5_000_000 - 17


def test_the_log_counts_every_request(server: Served) -> None:
    server.ask(server.sign("x"))
    server.ask(server.sign("x"), "bytes=-10")
    server.ask(server.sign("absent"))
    server.ask(f"{server.folder}/x?expires=1&signature=00")
    seen = [(line["method"], line["range"], line["status"], line["bytes"]) for line in server.log()]
    assert seen == [
        ("GET", None, 200, 10240),
        ("GET", "bytes=-10", 206, 10),
        ("GET", None, 404, 0),
        ("GET", None, 403, 0),
    ]
    assert server.log()[0]["path"] == str(server.folder / "x")
    assert server.app.state.bytes_sent == 10250
    assert server.app.state.requests == 4


def test_a_client_that_breaks_off_is_charged_what_was_sent(server: Served) -> None:
    size = 200 * 2**20
    with (server.folder / "large").open("wb") as file:
        file.truncate(size)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {server.sign('large')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        connection.recv(1000)
    until = time.monotonic() + 10
    while not server.log() and time.monotonic() < until:
        time.sleep(0.01)
    (line,) = server.log()
    assert 1000 < line["bytes"] < size / 2
    assert server.app.state.bytes_sent == line["bytes"]
    assert server.ask(server.sign("x"))[0] == 200
