"""Differences against plain Python, over HTTP and embedded."""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.errors import Conflict, Exhausted, Invalid, NotFound
from feature_registry.model import Column, Difference, SegmentationNode
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.deployment import Deployment, deployed

ROOT = 864691135000000000  # beyond 2^53
SAID: dict[str, Any] = {"description": "Made for tests.", "owner": "tests", "license": "CC0-1.0", "publish": True}

OLD = pl.DataFrame(
    {
        "id": [ROOT, ROOT + 1, ROOT + 2, ROOT + 3],
        "pt_root_id": [ROOT + 10, ROOT + 11, ROOT + 12, ROOT + 13],
        "size": [1.0, float("nan"), None, 0.0],
        "kind": ["a", "b", None, "d"],
    }
)
NEW = pl.DataFrame(
    {
        "kind": ["a", "c", None, "e", "f"],
        "size": [1.0, float("nan"), None, 5.0, 6.0],
        "pt_root_id": [ROOT + 10, ROOT + 12, ROOT + 12, ROOT + 14, ROOT + 15],
        "id": [ROOT, ROOT + 1, ROOT + 2, ROOT + 4, ROOT + 5],
    }
)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(Settings(home=tmp_path / "home"))
    yield registry
    registry.close()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    root = tmp_path_factory.mktemp("differences")
    with deployed(root / "home", allowed_prefixes=(str(root),)) as made:
        for mat_version, frame in ((1, OLD), (2, NEW)):
            register(made.registry, root / f"{mat_version}.parquet", mat_version, frame, key=["id"])
        yield made


def register(server: Any, place: Path, mat_version: int, frame: pl.DataFrame, **said: Any) -> None:
    frame.write_parquet(place)
    FeatureRegistry("d", mat_version, server=server).register(place, "t", **SAID, **said)


def compare(registry: Registry, folder: Path, old: pl.DataFrame, new: pl.DataFrame, **asked: Any) -> Difference:
    """Registers both anew, and compares them by `id`, unless another key is said."""
    folder.mkdir(exist_ok=True)
    number = len(list(folder.iterdir()))
    for at, frame in ((number, old), (number + 1, new)):
        register(registry, folder / f"{at}.parquet", at, frame)
    return FeatureRegistry("d", server=registry).difference("t", number, number + 1, **{"key": ["id"], **asked})


@pytest.fixture(params=["http", "embedded"])
def client(request: pytest.FixtureRequest, installed: Deployment) -> FeatureRegistry:
    return installed.client("d") if request.param == "http" else FeatureRegistry("d", server=installed.registry)


def test_two_versions(client: FeatureRegistry, installed: Deployment) -> None:
    found = client.difference("t", 1, 2)
    assert (found.old, found.new, found.identical) == ("d/t@1.0", "d/t@2.0", False)
    assert (found.old_rows, found.new_rows, found.schema_changes) == (4, 5, ())
    assert found.old_bytes == client.table("t@1").bytes
    keys = found.keys
    assert keys is not None
    assert (keys.key, set(keys.columns)) == (("id",), {"pt_root_id", "size", "kind"})
    assert (keys.added, keys.removed, keys.changed, keys.same, keys.ambiguous) == (2, 1, 1, 2, 0)
    assert keys.changed_values == {"kind": 1, "size": 0, "pt_root_id": 1}
    assert keys.examples == {
        "added": (str(ROOT + 4), str(ROOT + 5)),
        "removed": (str(ROOT + 3),),
        "changed": (str(ROOT + 1),),
    }
    assert any(warning.startswith("pt_root_id: root ids belong to one") for warning in found.warnings)
    assert len(keys.grants) == 2
    assert all(client.spent(grant) > 0 for grant in keys.grants)


def test_only_what_is_compared_is_asked_for(client: FeatureRegistry) -> None:
    found = client.difference("t", 1, 2, columns=["size"])
    assert found.keys is not None
    assert (found.keys.columns, found.keys.changed, found.keys.same) == (("size",), 0, 3)
    alone = client.difference("t@1", 1, 2, columns=[]).keys
    assert alone is not None
    assert (alone.columns, alone.added, alone.removed, alone.changed, alone.same) == ((), 2, 1, 0, 3)


def test_a_budget_stops_it_before_anything_is_read(tmp_path: Path) -> None:
    with deployed(tmp_path / "home", allowed_prefixes=(str(tmp_path),), budget_bytes=1) as made:
        for mat_version, frame in ((1, OLD), (2, NEW)):
            register(made.registry, tmp_path / f"{mat_version}.parquet", mat_version, frame, key=["id"])
        assert made.client("d").service.difference("d/t@1", "d/t@2").keys is None  # the catalog's part is free
        with pytest.raises(Exhausted):
            made.client("d").difference("t", 1, 2)


def test_each_byte_is_fetched_once(tmp_path: Path) -> None:
    rows = 200_000
    ids = pl.int_range(rows, eager=True)
    old = pl.DataFrame({"id": ids.shuffle(1) + ROOT, "x": ids.shuffle(2), "y": ids.shuffle(3)})
    with deployed(tmp_path / "home", allowed_prefixes=(str(tmp_path),)) as made:
        for at, frame in ((1, old), (2, old.with_columns(pl.when(pl.col("x") % 50 > 0).then(pl.col("x"))))):
            register(made.registry, tmp_path / f"{at}.parquet", at, frame, key=["id"])
        client = made.client("d")
        found = client.difference("t", 1, 2, columns=["x"])
        assert found.keys is not None
        assert found.keys.changed_values == {"x": rows // 50}
        for grant, at in zip(found.keys.grants, (1, 2), strict=True):
            # DuckDB reads ahead somewhat; a second look at the key alone would make it 1.5.
            assert 0.99 < client.spent(grant) / stored(tmp_path / f"{at}.parquet", "id", "x") < 1.4


def stored(file: Path, *columns: str) -> int:
    """Bytes of these columns in a Parquet file."""
    groups = pq.read_metadata(file).to_dict()["row_groups"]
    chunks = [chunk for group in groups for chunk in group["columns"] if chunk["path_in_schema"] in columns]
    return sum(chunk["total_compressed_size"] for chunk in chunks)


def test_the_keys_themselves(client: FeatureRegistry, tmp_path: Path) -> None:
    client.difference("t", 1, 2, into=tmp_path / "keys")
    files = {path.stem: pl.read_parquet(path) for path in (tmp_path / "keys").iterdir()}
    assert files["added"].sort("id").to_dict(as_series=False) == {"id": [ROOT + 4, ROOT + 5]}
    assert files["removed"].to_dict(as_series=False) == {"id": [ROOT + 3]}
    changed = files["changed"].to_dicts()
    assert changed == [{"id": ROOT + 1, "kind": True, "size": False, "pt_root_id": True}]
    with pytest.raises(Conflict) as wrong:
        client.difference("t", 1, 2, into=tmp_path / "keys")
    assert wrong.value.field == "into"


def test_the_same_files_need_no_reading(embedded: Registry, tmp_path: Path) -> None:
    found = compare(embedded, tmp_path / "t", OLD, OLD)
    assert found.identical
    assert found.keys is not None
    assert (found.keys.added, found.keys.removed, found.keys.changed, found.keys.grants) == (0, 0, 0, ())
    client = FeatureRegistry("d", server=embedded)
    assert client.difference("t", 1, 1, key=["id"], into=tmp_path / "keys").keys == found.keys
    assert pl.read_parquet(tmp_path / "keys" / "added.parquet").schema == {"id": pl.Int64}


def test_declared_root_ids_are_said_and_none_within_one_materialization_version(
    embedded: Registry, tmp_path: Path
) -> None:
    columns = {"cell": Column(kind=SegmentationNode(level="root_id"))}
    for at, ids in ((1, [1, 2]), (2, [1, 3]), (2, [1, 4])):
        frame = pl.DataFrame({"id": [1, 2], "cell": ids})
        register(embedded, tmp_path / f"{at}-{ids[1]}.parquet", at, frame, key=["id"], columns=columns)
    assert embedded.difference("d/t@1", "d/t@2").warnings[0].startswith("cell: root ids")
    assert embedded.difference("d/t@2.0", "d/t@2.1").warnings == ()


def test_columns_that_came_went_or_changed_their_type(embedded: Registry, tmp_path: Path) -> None:
    old = pl.DataFrame({"id": [1, 2], "gone": [1, 1], "wide": [7, 8], "text": ["1", "2"], "big": [1, 2]})
    new = pl.DataFrame(
        {"id": [1, 2], "come": [1, 1], "wide": [7, 9], "text": [1, 2], "big": [1, 2**63]},
        schema_overrides={"id": pl.UInt64, "wide": pl.Int32, "big": pl.UInt64},
    )
    found = compare(embedded, tmp_path / "t", old, new, into=tmp_path / "keys")
    changes = {each.column: (each.old, each.new) for each in found.schema_changes}
    assert changes == {
        "id": ("int64", "uint64"),
        "come": (None, "int64"),
        "wide": ("int64", "int32"),
        "text": ("string", "int64"),
        "big": ("int64", "uint64"),
        "gone": ("int64", None),
    }
    assert found.keys is not None
    assert found.keys.changed_values == {"wide": 1, "big": 1}
    assert [warning for warning in found.warnings if warning.startswith("text: not compared")]
    assert [str(row["id"]) for row in pl.read_parquet(tmp_path / "keys" / "changed.parquet").to_dicts()] == ["2"]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"key": []}, "key"),
        ({"key": ["nothing"]}, "key"),
        ({"key": ["gone"]}, "key"),
        ({"key": ["text"]}, "key"),
        ({"key": ["id", "id"]}, "key"),
        ({"columns": ["come"]}, "columns"),
        ({"columns": ["id2"]}, "columns"),
    ],
)
def test_what_is_wrong_is_named(embedded: Registry, tmp_path: Path, asked: dict[str, Any], field: str) -> None:
    old = pl.DataFrame({"id": [1], "gone": [1], "text": ["1"]})
    new = pl.DataFrame({"id": [1], "come": [1], "text": [1]})
    with pytest.raises(Invalid) as wrong:
        compare(embedded, tmp_path / "t", old, new, **asked, into=tmp_path / "keys")
    assert wrong.value.field == field
    assert not (tmp_path / "keys").exists()


def test_a_version_that_is_not_there(client: FeatureRegistry) -> None:
    with pytest.raises(NotFound):
        client.difference("t", 1, 99)
    with pytest.raises(NotFound):
        client.service.difference("d/t@1", "d/nothing@2")


def test_empty_tables(embedded: Registry, tmp_path: Path) -> None:
    for old, new, added, removed in ((OLD.clear(), NEW, 5, 0), (OLD, NEW.clear(), 0, 4)):
        keys = compare(embedded, tmp_path / "t", old, new).keys
        assert keys is not None
        assert (keys.added, keys.removed, keys.changed, keys.same) == (added, removed, 0, 0)


def test_layouts_and_partitions(embedded: Registry, tmp_path: Path) -> None:
    """A table with several layouts is read in one of them, and one with partitions has their values."""
    frame = pl.DataFrame({"id": range(100), "part": [each % 3 for each in range(100)], "x": [0.5] * 100})
    frame.write_delta(tmp_path / "one", delta_write_options={"partition_by": ["part"]})
    for name in ("one", "two"):
        (tmp_path / "both" / name).mkdir(parents=True)
        other = frame.with_columns(pl.lit(1).alias("part")).sort("x", descending=name == "two")
        other.write_parquet(tmp_path / "both" / name / "0.parquet")
    one, other = (FeatureRegistry("d", at, server=embedded) for at in (1, 2))
    one.register(tmp_path / "one", "t", key=["id"], **SAID)
    other.register(tmp_path / "both", "t", layouts=[{"name": "one"}, {"name": "two"}], **SAID)
    assert len(other.table("t").entry.version.inspection.layouts) == 2
    keys = one.difference("t", 1, 2).keys
    assert keys is not None
    assert (keys.added, keys.removed, keys.changed) == (0, 0, 67)
    assert keys.changed_values == {"part": 67, "x": 0}


def test_the_command(installed: Deployment, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        server = ["--server", installed.settings.api_address]
        return CliRunner().invoke(app, [*server, "difference", "d/t@1", "d/t@2", *arguments])

    told = run("--keys", str(tmp_path / "keys"))
    assert told.exit_code == 0, told.stderr
    assert "2 added, 1 removed, 1 changed, 2 the same" in told.stdout
    assert pl.read_parquet(tmp_path / "keys" / "removed.parquet")["id"].to_list() == [ROOT + 3]
    found = json.loads(run("--json", "--columns", "size").stdout)
    assert found["keys"]["examples"]["removed"] == [str(ROOT + 3)]
    assert run("--key", "nothing").exit_code == 1


# ----------------------------------------------------------------------------------------------- against plain Python

IDS = st.sampled_from([0, 1, 2**62, 2**62 + 1, -(2**62), None])
VALUES: dict[str, tuple[pl.DataType, list[Any]]] = {
    "whole": (pl.Int64(), [0, 2**60, 2**60 + 1, None]),
    "natural": (pl.UInt64(), [0, 2**64 - 1, 2**64 - 2, None]),
    "real": (pl.Float64(), [0.0, -0.0, math.nan, math.inf, 1.5, None]),
    "text": (pl.String(), ["", "a", "A", "NULL", "a, b", None]),
    "flag": (pl.Boolean(), [True, False, None]),
    "list": (pl.List(pl.Int32()), [[], [None], [1, 2], [2, 1], [None, 1], [1, None], None]),
    "words": (pl.List(pl.String()), [["a", "b"], ["a, b"], ["NULL"], [None], [""], [], None]),
    "lists": (pl.List(pl.List(pl.Int8())), [[[1], [2]], [[1, 2]], [[1, 2], []], [], [[]], [None], None]),
    "point": (pl.Array(pl.Float32(), 2), [[1.0, math.nan], [math.nan, 1.0], [1.0, None], None]),
    "struct": (
        pl.Struct({"a": pl.String(), "b": pl.List(pl.Int8())}),
        [{"a": None, "b": None}, {"a": "x", "b": []}, {"a": "x", "b": None}, {"a": "NULL", "b": None}, None],
    ),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {"id": IDS, "part": st.sampled_from(["x", "y", None])}
        | {name: st.sampled_from(values) for name, (_, values) in VALUES.items()}
    ),
    max_size=8,
)


def plain(value: Any) -> Any:
    """Hashable; nulls are equal, NaNs are equal, all other floats are their bits."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("d", value)
    if isinstance(value, dict):
        return tuple((name, plain(each)) for name, each in value.items())
    return ("list", *map(plain, value)) if isinstance(value, list) else value


def expected(old: list[dict[str, Any]], new: list[dict[str, Any]], key: list[str]) -> dict[str, Any]:
    columns = [name for name in ("part", *VALUES) if name not in key]
    sides: list[dict[Any, Counter[Any]]] = [{}, {}]
    for side, rows in zip(sides, (old, new), strict=True):
        for row in rows:
            values = tuple(plain(row[name]) for name in columns)
            side.setdefault(tuple(row[name] for name in key), Counter())[values] += 1
    one, other = sides
    found = Counter({"added": len(other.keys() - one), "removed": len(one.keys() - other)})
    values = dict.fromkeys(columns, 0)
    for each in one.keys() | other:
        ambiguous = None in each or any(side.get(each, Counter()).total() > 1 for side in sides)
        found["ambiguous"] += ambiguous
        if each in one and each in other:
            found["same" if one[each] == other[each] else "changed"] += 1
            if not ambiguous:
                pairs = zip(columns, *one[each], *other[each], strict=True)
                for name, before, after in pairs:
                    values[name] += before != after
    names = ("added", "removed", "changed", "same", "ambiguous")
    return {name: found[name] for name in names} | {"changed_values": values}


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    types = {"id": pl.Int64(), "part": pl.String()} | {name: kind for name, (kind, _) in VALUES.items()}
    return pl.DataFrame({name: pl.Series([row[name] for row in rows], dtype=kind) for name, kind in types.items()})


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(old=ROWS, new=ROWS, kept=st.integers(0, 8), key=st.sampled_from([["id"], ["id", "part"]]))
def test_it_finds_what_plain_python_finds(
    embedded: Registry, tmp_path: Path, old: Any, new: Any, kept: int, key: list[str]
) -> None:
    new = [*old[:kept], *new]
    found = compare(embedded, tmp_path / "t", frame(old), frame(new), key=key)
    wanted = expected(old, new, key)
    assert found.keys is not None
    if not found.identical:
        assert {name: getattr(found.keys, name) for name in wanted} == wanted
        assert bool(wanted["ambiguous"]) == any("name no single row" in warning for warning in found.warnings)
