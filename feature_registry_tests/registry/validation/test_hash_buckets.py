from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Literal

import polars as pl
import pytest
from deltalake import write_deltalake

from feature_registry.errors import Invalid
from feature_registry.model import HashBuckets, Layout
from feature_registry.pruning.buckets import bucket_numbers
from feature_registry.registry.validation import hash_buckets
from feature_registry_tests.deployment import Deployment
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


@pytest.mark.row("M19")
@pytest.mark.parametrize("transform", ["bucket", "modulo"])
def test_looking_up_an_id_opens_the_file_that_the_hash_names(
    deployment: Deployment, tmp_path: Path, transform: Literal["bucket", "modulo"]
) -> None:
    """As the file server counts them; without the declaration, every file may hold the id."""
    by, wanted = declared(transform), 2**60 + 123
    place = written(tmp_path / "t", by)
    (number,) = bucket_numbers(by, pl.Series([wanted]).to_arrow()).to_pylist()
    client = deployment.client("d", mat_version=7)
    for name, buckets in (("hashed", [by]), ("plain", [])):
        client.register(place, name, hash_buckets=buckets, publish=True, description="T.", owner="lab", license="MIT")
        before = len(opened(deployment.log))
        found = client.table(name).to_polars(where=[("root_id", "=", wanted)])
        assert found["root_id"].to_list() == [wanted]
        until = time.monotonic() + 10
        while len(opened(deployment.log)) == before and time.monotonic() < until:
            time.sleep(0.01)  # a line is written after its answer
        files = set(opened(deployment.log)[before:])
        assert files == {f"bucket={number}/0.parquet"} if buckets else len(files) > 1


def opened(log: Path) -> list[str]:
    """The table's files that were asked for, in turn."""
    return re.findall(r"(bucket(?:=|%3D)\d+/0\.parquet)", log.read_text() if log.exists() else "")
