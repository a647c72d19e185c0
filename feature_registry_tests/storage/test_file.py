from __future__ import annotations

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from feature_registry.errors import Denied, Invalid, NotFound
from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage.file import Refused, Storage, signing_key, verify


@pytest.fixture
def store(tmp_path: Path) -> Storage:
    return Storage(Settings(home=tmp_path / "home"))


def test_an_unfinished_write_is_never_listed(store: Storage, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def chunks():
        yield b"half"
        seen.append([found.location.name for found in store.list(Location(tmp_path / "t"))])
        assert len(list((tmp_path / "t").iterdir())) == 1
        yield b"done"

    store.write(Location(tmp_path / "t/x"), chunks())
    assert seen == [[]]
    assert [found.name for found in (tmp_path / "t").iterdir()] == ["x"]


def test_a_name_that_is_not_utf8_is_refused(store: Storage, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "t") + b"/\xff")).touch()
    except OSError:
        pytest.skip("the file system refuses such names")
    with pytest.raises(Invalid, match="not UTF-8"):
        list(store.list(Location(tmp_path / "t")))


def test_links_to_files_are_listed_and_links_to_folders_are_not(store: Storage, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t/real").write_bytes(b"x")
    (tmp_path / "t/link").symlink_to(tmp_path / "t/real")
    (tmp_path / "t/dangling").symlink_to(tmp_path / "t/nothing")
    (tmp_path / "t/loop").symlink_to(tmp_path / "t")
    assert [found.location.name for found in store.list(Location(tmp_path / "t"))] == ["link", "real"]
    assert store.marks(Location(tmp_path / "t")).keys() == {"link", "real"}


def test_a_pipe_is_no_file(store: Storage, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotFound):
        store.head(Location(tmp_path / "pipe"))
    assert list(store.list(Location(tmp_path))) == []
    assert not store.marks(Location(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_the_system_refuses_is_denied(store: Storage, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    (tmp_path / "x").chmod(0)
    with pytest.raises(Denied):
        store.read(Location(tmp_path / "x"))


def test_writing_below_a_file_is_invalid(store: Storage, tmp_path: Path) -> None:
    store.write(Location(tmp_path / "x"), b"x")
    with pytest.raises((Invalid, NotFound)):
        store.write(Location(tmp_path / "x/y"), b"x")
    assert stat.S_ISREG((tmp_path / "x").stat().st_mode)


def test_a_signature_covers_path_range_and_expiry(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    key = signing_key(settings)
    url = Storage(settings).sign(Location("/data/a b\n5"), timedelta(seconds=60), "bytes=0-9", "5-a")
    assert url.startswith(f"{settings.file_address}/data/a%20b%0A5?expires=")
    query = dict(pair.split("=") for pair in url.split("?")[1].split("&"))
    query["range"] = query["range"].replace("%3D", "=")
    expires = int(query["expires"])
    verify(key, "/data/a b\n5", query, "bytes=0-9", now=expires - 1)
    for path, wrong, header, now in [
        ("/data/a b", query, "bytes=0-9", expires - 1),
        ("/data/a b\n5", query | {"range": "bytes=0-99"}, "bytes=0-99", expires - 1),
        ("/data/a b\n5", query | {"range": ""}, None, expires - 1),
        ("/data/a b\n5", query | {"etag": "5-b"}, "bytes=0-9", expires - 1),
        ("/data/a b\n5", query | {"etag": ""}, "bytes=0-9", expires - 1),
        ("/data/a b\n5", query | {"expires": str(expires + 1)}, "bytes=0-9", expires - 1),
        ("/data/a b\n5", query, "bytes=0-8", expires - 1),
        ("/data/a b\n5", query, None, expires - 1),
        ("/data/a b\n5", query, "bytes=0-9", expires),
        ("/data/a b\n5", query | {"signature": query["signature"][:-1] + "é"}, "bytes=0-9", expires - 1),
        ("/data/a b\n5", {"expires": str(expires)}, "bytes=0-9", expires - 1),
        ("/data/a b\n5", query | {"expires": "x"}, "bytes=0-9", expires - 1),
    ]:
        with pytest.raises(Refused):
            verify(key, path, wrong, header, now=now)
    assert key != signing_key(Settings(home=tmp_path / "other"))
    assert key != settings.link_key


def test_what_a_killed_writer_left_is_listed_apart(store: Storage, tmp_path: Path) -> None:
    place = Location(tmp_path / "left")
    store.write(place.joined("a/whole"), b"x")
    draft = place.joined("a/.draft-0123456789abcdef")
    Path(draft.key).write_bytes(b"begun")
    assert [found.location for found in store.list(place)] == [place.joined("a/whole")]
    assert [(found.location, found.size) for found in store.unfinished(place)] == [(draft, 5)]


def test_settling_reaches_every_file_and_folder_below_the_managed_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(home=tmp_path)
    store, table = Storage(settings), settings.managed_root.joined("d/t/1/run")
    files = [table.joined(key) for key in ("a.parquet", "_delta_log/0.json")]
    for file in files:
        store.write(file, b"x")
    synced: set[str] = set()
    monkeypatch.setattr("feature_registry.storage.file._sync", lambda path: synced.add(str(path)))
    store.settle(table)
    root = settings.managed_root
    folders = [table.joined("_delta_log"), table, *(root.joined(each) for each in ("d/t/1", "d/t", "d")), root]
    assert synced == {place.key for place in (*files, *folders)}
