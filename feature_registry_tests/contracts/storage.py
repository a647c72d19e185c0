"""What every storage must do. `TestStorage` runs over all schemes; a scheme's `PLACES` entry makes an empty place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from feature_registry.errors import Invalid, NotFound
from feature_registry.location import Location
from feature_registry.settings import Settings
from feature_registry.storage import Store, open_store, schemes

ODD_NAMES = ("a b", "a%20b", "a+b", "a#b", "a?b", "ä中🧠", "a=b&c", "x'\"y", "back\\slash", "~tilde", "a:b", "[0]*")

PLACES: dict[str, Callable[[Path], Location]] = {"file": lambda folder: Location(folder / "store")}
"""scheme -> an empty place to write in; to be extended with the scheme that is added."""


@pytest.fixture(params=schemes())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    return PLACES[request.param](tmp_path)


@pytest.fixture
def store(place: Location, tmp_path: Path) -> Store:
    return open_store(place, Settings(home=tmp_path / "home"))


def keys(store: Store, prefix: Location) -> list[str]:
    return [found.location.key for found in store.list(prefix)]


class TestStorage:
    def test_what_is_written_is_read(self, store: Store, place: Location) -> None:
        file = place.joined("deep/er/file.bin")
        store.write(file, b"0123456789")
        assert store.read(file) == b"0123456789"
        assert store.read(file, 3, 4) == b"3456"
        assert store.read(file, 7) == b"789"
        assert store.read(file, 8, 100) == b"89"
        assert store.read(file, 10, 1) == b""
        assert store.read(file, 4, 0) == b""

    def test_refuses_negative_ranges(self, store: Store, place: Location) -> None:
        store.write(place.joined("x"), b"01")
        with pytest.raises(Invalid):
            store.read(place.joined("x"), -1)
        with pytest.raises(Invalid):
            store.read(place.joined("x"), 0, -1)

    def test_head(self, store: Store, place: Location) -> None:
        file = place.joined("x")
        store.write(file, b"123")
        seen = store.head(file)
        assert (seen.location, seen.size) == (file, 3)
        assert abs(datetime.now(UTC) - seen.modified) < timedelta(minutes=5)
        store.write(file, b"abcd")
        assert store.head(file).etag != seen.etag

    def test_empty_file(self, store: Store, place: Location) -> None:
        store.write(place.joined("empty"), b"")
        assert store.head(place.joined("empty")).size == 0
        assert store.read(place.joined("empty")) == b""
        assert [found.size for found in store.list(place)] == [0]

    def test_writes_chunks(self, store: Store, place: Location) -> None:
        store.write(place.joined("x"), (bytes([number]) * 1000 for number in range(100)))
        assert store.read(place.joined("x")) == b"".join(bytes([number]) * 1000 for number in range(100))

    def test_a_failed_write_changes_nothing(self, store: Store, place: Location) -> None:
        def breaking() -> Iterator[bytes]:
            yield b"new"
            raise RuntimeError("the source broke")

        store.write(place.joined("x"), b"old")
        for name in ("x", "y"):
            with pytest.raises(RuntimeError):
                store.write(place.joined(name), breaking())
        assert store.read(place.joined("x")) == b"old"
        assert keys(store, place) == [place.joined("x").key]
        assert list(store.unfinished(place)) == []

    def test_lists_at_any_depth_sorted_by_key(self, store: Store, place: Location) -> None:
        names = ["b", "a/z", "a/b/c", "a-b", "a.b", "a0", "B", "é", "a/_delta_log/0.json", "a/.hidden"]
        for name in names:
            store.write(place.joined(name), b"x")
        assert keys(store, place) == sorted(place.joined(name).key for name in names)

    @pytest.mark.parametrize("below", ["", "a", "a/b.txt", "nothing"])
    def test_marks_are_what_is_listed(self, store: Store, place: Location, below: str) -> None:
        for name in ("a/b/1", "a/b.txt", "c", *ODD_NAMES):
            store.write(place.joined(name), name.encode())
        prefix = place.joined(below) if below else place
        listed = {prefix.relative(each.location): (each.size, each.etag) for each in store.list(prefix)}
        assert store.marks(prefix) == listed

    def test_a_prefix_is_a_folder_and_not_a_beginning(self, store: Store, place: Location) -> None:
        for name in ("a/b/1", "a/bc/1", "a/b.txt"):
            store.write(place.joined(name), b"x")
        assert keys(store, place.joined("a/b")) == [place.joined("a/b/1").key]
        assert keys(store, place.joined("a/b/1")) == [place.joined("a/b/1").key]

    def test_a_prefix_without_files_yields_none(self, store: Store, place: Location) -> None:
        assert keys(store, place.joined("nothing")) == []

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_names_are_literal(self, store: Store, place: Location, name: str) -> None:
        file = place.joined(f"{name}/{name}")
        store.write(file, name.encode())
        assert place.relative(file) == f"{name}/{name}"
        assert [found.location for found in store.list(place)] == [file]
        assert store.read(file) == name.encode()
        store.delete(file)
        assert keys(store, place) == []

    def test_absent_files_are_not_found(self, store: Store, place: Location) -> None:
        absent = place.joined("absent")
        store.write(place.joined("folder/x"), b"x")
        store.write(place.joined("file"), b"x")
        for nowhere in (absent, place.joined("folder"), place.joined("file/below")):
            for act in (store.head, store.read, store.delete, store.checksum):
                with pytest.raises(NotFound) as caught:
                    act(nowhere)
                assert caught.value.value == str(nowhere)

    def test_delete(self, store: Store, place: Location) -> None:
        store.write(place.joined("x"), b"x")
        store.delete(place.joined("x"))
        with pytest.raises(NotFound):
            store.head(place.joined("x"))

    def test_what_is_settled_is_what_was(self, store: Store, place: Location) -> None:
        for key in ("x", "deep/er/y"):
            store.write(place.joined(key), key.encode())
        store.settle(place)
        store.settle(place.joined("absent"))
        assert keys(store, place) == [place.joined(key).key for key in ("deep/er/y", "x")]

    def test_checksum_is_of_the_content(self, store: Store, place: Location) -> None:
        store.write(place.joined("x"), b"abc" * 1000)
        found = store.checksum(place.joined("x"))
        if found is not None:
            algorithm, digest = found.split(":")
            assert digest == hashlib.new(algorithm, b"abc" * 1000).hexdigest()

    def test_signed_urls_carry_what_they_bind(self, store: Store, place: Location) -> None:
        file = place.joined("a b/ü.parquet")
        store.write(file, b"x" * 200)
        plain = store.sign(file, timedelta(seconds=60))
        bound = store.sign(file, timedelta(seconds=60), "bytes=0-99")
        assert len({plain, bound, store.sign(file, timedelta(seconds=60), "bytes=0-98")}) == 3
        assert urlsplit(bound).path == urlsplit(plain).path
        assert parse_qs(urlsplit(bound).query)
        assert urlsplit(store.sign(file, timedelta(seconds=60), "bytes=0-99", "5-a")).path == urlsplit(plain).path

    @pytest.mark.parametrize("byte_range", ["0-99", "bytes=0-99,200-300", "bytes=-", "bytes=a-b", "bytes=0-1\n", ""])
    def test_signs_single_ranges_only(self, store: Store, place: Location, byte_range: str) -> None:
        with pytest.raises(Invalid):
            store.sign(place.joined("x"), timedelta(seconds=60), byte_range)

    def test_pyarrow_sees_the_same_files(self, store: Store, place: Location) -> None:
        file = place.joined("a b/c%20d")
        store.write(file, b"content")
        system, to_path = store.filesystem()
        with system.open_input_file(to_path(file)) as stream:
            assert stream.read() == b"content"

    def test_engine_spelling(self, store: Store, place: Location) -> None:
        assert isinstance(store.uri(place), str)
        assert all(isinstance(text, str) for pair in store.options().items() for text in pair)
