from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from feature_registry.errors import Invalid
from feature_registry.location import Location


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gs://bucket/a/b", "gs://bucket/a/b"),
        ("gs://bucket/a//b/./c/", "gs://bucket/a/b/c"),
        ("GS://bucket/a", "gs://bucket/a"),
        ("gcs://bucket", "gs://bucket"),
        ("s3a://bucket/", "s3://bucket"),
        ("s3n://bucket/a%20b", "s3://bucket/a%20b"),
        ("file:///a/b/", "file:///a/b"),
        ("file://localhost/a", "file:///a"),
        ("file:///a%20b", "file:///a%20b"),
        ("file:///a b", "file:///a%20b"),
        ("file:///%61", "file:///a"),
        ("/a/b c/", "file:///a/b%20c"),
        ("/a/../b", "file:///b"),
        ("/a%20b", "file:///a%2520b"),
        ("/", "file:///"),
    ],
)
def test_two_spellings_of_one_place_are_one(text: str, expected: str) -> None:
    location = Location(text)
    assert str(location) == expected
    assert Location(str(location)) == location
    assert Location(location) is location


@pytest.mark.parametrize(
    "text",
    [
        "", "s3://", "s3:///key", "s3://b/../a", "gs://b/a/..", "file:///a/../b",
        "file:///a/%2e%2e/b", "file://host/a", "file:///a%00b", "gs://b/a\0",
    ],
)  # fmt: skip
def test_refuses(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        Location(text)
    assert caught.value.field == "location"
    assert caught.value.expected


def test_credentials_are_never_repeated() -> None:
    with pytest.raises(Invalid) as caught:
        Location("s3://key:hunter2@bucket/a")
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.problem())


def test_a_bare_path_is_below_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Location("a/b") == Location(tmp_path / "a/b")
    assert Location(Path("a")) == Location(tmp_path / "a")


def test_parts() -> None:
    bucket = Location("s3://bucket/a/b c")
    assert (bucket.scheme, bucket.bucket, bucket.key, bucket.name) == ("s3", "bucket", "a/b c", "b c")
    file = Location("/a/b c%")
    assert (file.scheme, file.bucket, file.key, file.name) == ("file", "", "/a/b c%", "b c%")
    assert (Location("gs://b").key, Location("gs://b").name) == ("", "")


def test_holds_what_lies_below_and_no_beginning_of_a_name() -> None:
    for root in ("/a/b", "s3://x/a/b"):
        place = Location(root)
        assert place.holds(place)
        assert place.holds(place.joined("c"))
        assert not place.holds(Location(f"{root}c"))
        assert not place.joined("c").holds(place)
    assert Location("/").holds(Location("/a"))
    assert not Location("s3://x").holds(Location("gs://x/a"))


def test_relative_refuses_what_lies_outside() -> None:
    with pytest.raises(Invalid, match="lies outside"):
        Location("/a/b").relative(Location("/a/bc"))


KEYS = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
        lambda part: part not in (".", "..")
    ),
    min_size=1,
    max_size=4,
).map("/".join)


@given(root=st.sampled_from(["/", "/a b", "file:///a%2520b", "s3://bucket", "gs://bucket/a%20b"]), key=KEYS)
def test_keys_are_literal_and_come_back(root: str, key: str) -> None:
    place = Location(root)
    below = place.joined(key)
    assert place.holds(below)
    assert place.relative(below) == key
    assert below.key.endswith(key)
    assert below.name == key.rsplit("/", 1)[-1]
    assert Location(str(below)) == below


SPELLINGS = st.lists(st.sampled_from(["a", "b c", "é", "x%20y", ".", "", "a.b", "%", "~", "a+b", "中"]), max_size=6)


@given(
    parts=SPELLINGS, scheme=st.sampled_from(["s3://b/", "S3A://b/", "gcs://b/", "/", "file:///", "file://localhost/"])
)
def test_every_spelling_of_a_place_is_the_same(parts: list[str], scheme: str) -> None:
    encode = quote if scheme.startswith("file:") else str
    spelled = Location(scheme + "/".join(map(encode, parts)))
    plain = Location(scheme + "/".join(map(encode, (part for part in parts if part not in ("", ".")))))
    assert spelled == plain
    assert Location(str(spelled)) == spelled
    assert Location(f"{scheme}{'/'.join(map(encode, parts))}//.//") == spelled
    assert str(spelled).endswith("/") == (spelled.key == "/")


@given(one=SPELLINGS, other=SPELLINGS, root=st.sampled_from(["s3://b", "gs://b", "file:///"]))
def test_a_place_holds_what_lies_below_it_and_nothing_else(one: list[str], other: list[str], root: str) -> None:
    def below(parts: list[str]) -> tuple[Location, list[str]]:
        said = [part for part in parts if part not in ("", ".")]
        return Location(root).joined("/".join(said)) if said else Location(root), said

    (place, first), (another, second) = below(one), below(other)
    assert place.holds(another) == (second[: len(first)] == first)
    if place.holds(another):
        assert place.relative(another) == "/".join(second[len(first) :])
        assert place.joined(place.relative(another)) == another


def test_in_models() -> None:
    adapter = TypeAdapter(Location)
    assert adapter.validate_python("s3://b/a/") == Location("s3://b/a")
    assert adapter.dump_json(Location("s3://b/a")) == b'"s3://b/a"'
    assert type(adapter.validate_json('"gcs://b/a"')) is Location
    with pytest.raises(ValidationError):
        adapter.validate_python("s3://b/../a")
