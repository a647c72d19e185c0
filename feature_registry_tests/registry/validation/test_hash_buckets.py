from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from deltalake import write_deltalake

from feature_registry.errors import Invalid
from feature_registry.model import HashBuckets, Layout
from feature_registry.pruning.buckets import bucket_numbers
from feature_registry.registry.validation import hash_buckets
from feature_registry_tests.registry.validation.conftest import Outside, check

IDS = pl.DataFrame({"root_id": range(2**60, 2**60 + 400)})
BUCKETS = 8


def declared(transform: Literal["bucket", "modulo", "opaque"], buckets: int = BUCKETS) -> HashBuckets:
    return HashBuckets(column="root_id", partition_column="bucket", transform=transform, buckets=buckets)


def written(folder: Path, by: HashBuckets) -> Path:
    numbers = pl.Series("bucket", bucket_numbers(by, IDS["root_id"].to_arrow()))
    for (number,), part in IDS.with_columns(numbers).group_by("bucket"):
        place = folder / f"bucket={number}"
        place.mkdir(parents=True)
        part.drop("bucket").write_parquet(place / "0.parquet")
    return folder


@pytest.mark.row("M19")
@pytest.mark.parametrize("transform", ["bucket", "modulo"])
def test_a_wrong_declaration_fails_on_a_sample(outside: Outside, transform: Literal["bucket", "modulo"]) -> None:
    place = written(outside.folder / "t", declared(transform))
    assert check(outside.register(place, hash_buckets=[declared(transform)]), "hash_buckets").outcome == "passed"
    other: Literal["bucket", "modulo"] = "modulo" if transform == "bucket" else "bucket"
    for wrong in (declared(other), declared(transform, BUCKETS + 1)):
        with pytest.raises(Invalid) as raised:
            outside.register(place, "wrong", hash_buckets=[wrong])
        assert raised.value.field == "hash_buckets"
        assert "are elsewhere, such as 115292150460684" in raised.value.message


def test_one_bucket_that_is_wrong_is_found(outside: Outside) -> None:
    place = written(outside.folder / "t", declared("modulo"))
    (place / "bucket=7").rename(place / "bucket=9")
    outside.open(checks={"hash_buckets": "warn"})
    found = check(outside.register(place, hash_buckets=[declared("modulo")]), "hash_buckets")
    assert (found.outcome, "in 9" in found.message) == ("warned", True)


def test_of_many_files_one_a_folder_is_opened(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_buckets, "FOLDERS", 4)
    by, place = declared("modulo"), outside.folder / "t"
    numbers = pl.Series("bucket", bucket_numbers(by, IDS["root_id"].to_arrow()))
    for half in (0, 1):
        rows = IDS.with_columns(numbers).slice(half * 200, 200)
        write_deltalake(place, rows.to_arrow(), mode="append", partition_by="bucket")
    for folder in sorted(place.glob("bucket=*")):
        _, second = sorted(folder.iterdir())
        second.write_bytes(bytes(second.stat().st_size))
        if int(folder.name[-1]) % 2:  # every second folder is looked at
            first = sorted(folder.iterdir())[0]
            first.write_bytes(bytes(first.stat().st_size))
    found = check(outside.register(place, hash_buckets=[by]), "hash_buckets")
    assert (found.outcome, "as computed, of 100 rows" in found.message) == ("passed", True), found.message


def test_an_opaque_hash_is_its_writers(outside: Outside) -> None:
    place = written(outside.folder / "t", declared("modulo"))
    found = check(outside.register(place, hash_buckets=[declared("opaque")]), "hash_buckets")
    assert (found.outcome, "known to its writer only" in found.message) == ("passed", True)


def test_a_hash_of_what_has_none_is_refused(outside: Outside) -> None:
    wrong = HashBuckets(column="size", partition_column="root_id", transform="modulo", buckets=3)
    with pytest.raises(Invalid) as raised:
        outside.register(IDS.with_columns(size=pl.lit(0.5)), hash_buckets=[wrong])
    assert "is of type double" in raised.value.message


def test_each_layout_is_looked_at_in_its_own_buckets(outside: Outside) -> None:
    whole = outside.folder / "whole"
    written(whole / "hashed", declared("bucket"))
    (whole / "sorted").mkdir()
    IDS.write_parquet(whole / "sorted" / "0.parquet")
    layouts = [Layout(name="sorted", sort_by=["root_id"]), Layout(name="hashed", hash_buckets=[declared("bucket")])]
    assert check(outside.register(whole, layouts=layouts), "hash_buckets").outcome == "passed"
    layouts[1] = Layout(name="hashed", hash_buckets=[declared("modulo")])
    with pytest.raises(Invalid) as raised:
        outside.register(whole, "wrong", layouts=layouts)
    assert raised.value.field == "hash_buckets"
