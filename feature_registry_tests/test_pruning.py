from __future__ import annotations

import math
import operator as op
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import write_deltalake
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from feature_registry import formats
from feature_registry.errors import Invalid
from feature_registry.formats import WriteOptions, stored_schema
from feature_registry.location import Location
from feature_registry.model import HashBuckets
from feature_registry.pruning import coerce, prune
from feature_registry.pruning.buckets import murmur3, murmur3_of_longs
from feature_registry.settings import Settings
from feature_registry.storage import open_store

FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)


@dataclass(frozen=True)
class Kind:
    type: pa.DataType
    values: st.SearchStrategy[Any]


def integers(smallest: int, largest: int) -> st.SearchStrategy[int]:
    edges = [v for v in (smallest, largest, 0, -1, 2**53, 2**53 + 1, 2**63 - 1, 2**63) if smallest <= v <= largest]
    return st.one_of(st.integers(max(smallest, -4), 4), st.sampled_from(edges), st.integers(smallest, largest))


def to_millis(at: datetime) -> datetime:
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


TEXTS = st.one_of(st.sampled_from(["", "a", "é", "z", "\U0010ffff", "a" * 70, "a" * 300]), st.text(max_size=3))
KINDS = {
    "i64": Kind(pa.int64(), integers(-(2**63), 2**63 - 1)),
    "i8": Kind(pa.int8(), integers(-128, 127)),
    "u64": Kind(pa.uint64(), integers(0, 2**64 - 1)),
    "u32": Kind(pa.uint32(), integers(0, 2**32 - 1)),
    "f64": Kind(pa.float64(), st.floats()),
    "text": Kind(pa.string(), TEXTS),
    "yes": Kind(pa.bool_(), st.booleans()),
    "day": Kind(pa.date32(), st.dates(FIRST.date(), LAST.date())),
    "utc": Kind(pa.timestamp("us", "UTC"), st.datetimes(FIRST, LAST, timezones=st.just(UTC))),
    "zone": Kind(pa.timestamp("ms", "Asia/Tokyo"), st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(to_millis)),
    "local": Kind(pa.timestamp("us"), st.datetimes(FIRST, LAST)),
    "money": Kind(pa.decimal128(20, 2), st.decimals(-(10**17), 10**17, places=2)),
}  # fmt: skip
SCHEMA = pa.schema([(name, kind.type) for name, kind in KINDS.items()])
COMPARE = {"==": op.eq, "!=": op.ne, "<": op.lt, "<=": op.le, ">": op.gt, ">=": op.ge}
OPERATORS = [*COMPARE, "in", "not in"]


def rank(value: Any) -> tuple[int, Any]:
    """NaN is larger than every number, and equal to itself."""
    return (1, 0) if isinstance(value, float) and math.isnan(value) else (0, value)


def holds(value: Any, operator: str, wanted: Any) -> bool:
    """What a condition means, on one value."""
    if value is None:
        return False
    if operator in ("in", "not in"):
        return (rank(value) in map(rank, wanted)) == (operator == "in")
    return bool(COMPARE[operator](rank(value), rank(wanted)))


def matches(row: dict[str, Any], where: Any) -> bool:
    return any(all(holds(row[column], operator, value) for column, operator, value in part) for part in where)


@st.composite
def cases(draw: st.DrawFn, names: tuple[str, ...] = tuple(KINDS)) -> tuple[list[pa.Table], Any]:
    """Some files, and a predicate whose values are often in them."""
    columns = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    pools = {name: draw(st.lists(KINDS[name].values, min_size=1, max_size=6)) for name in columns}
    cells = {name: st.one_of(st.none(), st.sampled_from(pools[name]), KINDS[name].values) for name in columns}
    files = []
    for _ in range(draw(st.integers(1, 5))):
        rows = draw(st.integers(0, 4))
        data = {name: pa.array([draw(cells[name]) for _ in range(rows)], KINDS[name].type) for name in columns}
        files.append(pa.table(data))
    conditions = []
    for _ in range(draw(st.integers(1, 3))):
        name, operator = draw(st.sampled_from(columns)), draw(st.sampled_from(OPERATORS))
        value = st.one_of(st.sampled_from(pools[name]), KINDS[name].values)
        conditions.append((name, operator, draw(st.lists(value, max_size=4) if "in" in operator else value)))
    cut = draw(st.integers(0, len(conditions)))
    return files, tuple(tuple(part) for part in (conditions[:cut], conditions[cut:]) if part)


def bounds(table: pa.Table, name: str) -> tuple[Any, Any]:
    found = pc.min_max(table[name])
    return found["min"].as_py(), found["max"].as_py()


@pytest.mark.parametrize("names", [*[(name,) for name in KINDS], tuple(KINDS)], ids=lambda names: "+".join(names[:2]))
@settings(max_examples=60, deadline=None)
@given(data=st.data(), missing=st.randoms(use_true_random=False))
def test_never_loses_a_matching_row(names: tuple[str, ...], data: st.DataObject, missing: Any) -> None:
    files, where = data.draw(cases(names))
    names = files[0].column_names
    columns: dict[str, Any] = {
        "path": [str(number) for number in range(len(files))],
        "rows": pa.array([len(file) if missing.random() < 0.8 else None for file in files], pa.int64()),
    }
    for name in names:
        if missing.random() < 0.1:
            continue
        low, high, nulls = [], [], []
        for file in files:
            smallest, largest = bounds(file, name)
            nan = any(isinstance(value, float) and math.isnan(value) for value in file[name].to_pylist())
            low.append(None if nan or missing.random() < 0.2 else smallest)
            high.append(None if nan or missing.random() < 0.2 else largest)
            nulls.append(None if missing.random() < 0.2 else file[name].null_count)
        kind = KINDS[name].type
        columns |= {f"min.{name}": pa.array(low, kind), f"max.{name}": pa.array(high, kind)}
        if missing.random() < 0.8:
            columns[f"nulls.{name}"] = pa.array(nulls, pa.int64())
    kept = set(prune(pa.table(columns), coerce(where, SCHEMA), SCHEMA).kept.tolist())
    needed = {number for number, file in enumerate(files) if any(matches(row, where) for row in file.to_pylist())}
    assert needed <= kept


def expression(where: Any) -> pl.Expr:
    def one(name: str, operator: str, value: Any) -> pl.Expr:
        kind = pl.DataFrame(pl.from_arrow(pa.schema([(name, KINDS[name].type)]).empty_table())).schema[name]
        if operator in ("in", "not in"):
            inside = pl.col(name).is_in(pl.Series(value, dtype=kind).implode())
            return inside if operator == "in" else pl.col(name).is_not_null() & ~inside
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.astimezone(ZoneInfo(kind.time_zone))
        methods = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
        return getattr(pl.col(name), methods[operator])(pl.lit(value, dtype=kind))

    return pl.any_horizontal([pl.all_horizontal([one(*condition) for condition in part]) for part in where])


STORED_BY_DELTA = tuple(name for name in KINDS if name != "u64")


@pytest.mark.parametrize("how", ["parquet", "delta", "delta by deltalake"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(STORED_BY_DELTA))
def test_never_loses_a_row_of_a_real_table(how: str, case: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    files, where = case
    folder = tmp_path_factory.mktemp("t")
    location = Location(folder / "table")
    store = open_store(location, Settings(home=folder / "home"))
    layout = formats.get("parquet" if how == "parquet" else "delta")
    logical_types: dict[str, str] = {}
    if how == "delta by deltalake":
        if {"i8", "u32", "zone"} & set(files[0].column_names):
            return  # deltalake changes the type
        for file in files:
            write_deltalake(location.key, file, mode="append")
    else:
        rows = pa.concat_tables(files)
        reader = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches())
        logical_types = layout.write(
            store, location, reader, WriteOptions(bytes_per_file=1, rows_per_group=2)
        ).logical_types
    found = layout.inspect(store, location)
    inspection = found.inspection.model_copy(update={"logical_types": logical_types})
    schema = stored_schema(inspection)
    pruned = prune(found.manifest, coerce(where, schema), schema)
    everything = layout.scan(store, inspection).collect()
    wanted = everything.filter(expression(where))
    paths = found.manifest["path"].take(pa.array(pruned.kept)).to_pylist()
    parts = [pl.read_parquet(location.joined(path).key, glob=False).cast(everything.schema) for path in paths]
    left = pl.concat([everything.clear(), *parts]).filter(expression(where))
    assert len(left) == len(wanted)


ODD = ["a b", "a%20b", "x/y", "ä中", "a=b", "01", "-0", "1e3", "\u202e", "'", '"', "..", "a" * 60, None]
PARTED = {
    "text": st.sampled_from(ODD) | st.text("ab/%=. ", min_size=1, max_size=3),
    "i64": st.none() | KINDS["i64"].values,
    "day": st.none() | KINDS["day"].values,
    "yes": st.none() | KINDS["yes"].values,
}


@pytest.mark.parametrize("how", ["parquet", "delta"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_never_loses_a_row_of_a_partitioned_table(
    how: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = data.draw(st.sampled_from(sorted(PARTED) if how == "delta" else ["i64", "text"]))
    parts = data.draw(st.lists(PARTED[name], min_size=1, max_size=6))
    rows = pa.table({name: pa.array(parts, KINDS[name].type), "u32": pa.array(range(len(parts)), pa.uint32())})
    folder = tmp_path_factory.mktemp("t")
    location = Location(folder / "table")
    store, layout = open_store(location, Settings(home=folder / "home")), formats.get(how)
    written = layout.write(store, location, rows.to_reader(), WriteOptions(partition_by=(name,)))
    found = layout.inspect(store, location)
    inspection = found.inspection.model_copy(update={"logical_types": written.logical_types})
    schema = stored_schema(inspection)
    assume(schema.field(name).type == KINDS[name].type)  # texts that look like integers are stored as such
    operator = data.draw(st.sampled_from(OPERATORS))
    wanted = st.sampled_from([part for part in parts if part is not None] or ["1"]) | KINDS[name].values
    assume(any(part is not None for part in parts))
    value = data.draw(st.lists(wanted, max_size=3) if "in" in operator else wanted)
    where = (((name, operator, value),),)
    kept = prune(found.manifest, coerce(where, schema), schema).kept.tolist()
    everything = layout.scan(store, inspection).collect()
    assert len(everything) == len(rows)
    numbers = {row["u32"] for row in everything.filter(expression(where)).to_dicts()}
    needed = {number for number, part in enumerate(parts) if holds(part, operator, value)}
    assert numbers == needed
    left: set[int] = set()
    for path in found.manifest["path"].take(pa.array(kept, pa.int64())).to_pylist():
        left |= set(pl.read_parquet(location.joined(path).key, glob=False, hive_partitioning=False)["u32"])
    assert needed <= left


@settings(max_examples=60, deadline=None)
@given(
    ids=st.lists(st.none() | KINDS["i64"].values, min_size=1, max_size=20),
    wanted=st.lists(KINDS["i64"].values, max_size=4),
    buckets=st.integers(1, 40),
    transform=st.sampled_from(["bucket", "modulo", "opaque"]),
    operator=st.sampled_from(OPERATORS),
)
def test_never_loses_a_row_of_a_bucket(
    ids: list[Any], wanted: list[int], buckets: int, transform: Any, operator: str
) -> None:
    """Each row is a file of its own, in the bucket that its id belongs to."""
    wanted = [*wanted, *[each for each in ids[:2] if each is not None]]
    hashed = {
        "bucket": lambda each: (int(murmur3(each.to_bytes(8, "little", signed=True))) & 0x7FFFFFFF) % buckets,
        "modulo": lambda each: int(math.fmod(each, buckets)) if each < 0 else each % buckets,  # as C has it
        "opaque": lambda each: 0,
    }[transform]
    numbers = [None if each is None else str(hashed(each)) for each in ids]
    manifest = pa.table({"rows": [1] * len(ids), "partition.b": pa.array(numbers, pa.string())})
    schema = pa.schema([("id", pa.int64()), ("b", pa.int32())])
    declared = HashBuckets(column="id", partition_column="b", transform=transform, buckets=buckets)
    value: Any = wanted if "in" in operator else (wanted or [0])[0]
    where = coerce(((("id", operator, value),),), schema)  # type: ignore[arg-type]
    kept = set(prune(manifest, where, schema, [declared]).kept.tolist())
    assert {number for number, each in enumerate(ids) if holds(each, operator, value)} <= kept


MANIFEST = pa.table(
    {
        "path": ["a", "b", "c", "d"],
        "size": [1, 1, 1, 1],
        "rows": [10, 10, 10, 0],
        "min.id": pa.array([0, 100, None, None], pa.int64()),
        "max.id": pa.array([99, 199, None, None], pa.int64()),
        "nulls.id": pa.array([0, 5, 10, 0], pa.int64()),
        "partition.region": ["x", "y z", None, "x"],
        "partition.day": ["2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03"],
        "partition.bucket": ["0", "1", "2", None],
    }
)
TABLE = pa.schema(
    [
        ("id", pa.int64()), ("x", pa.float64()), ("region", pa.string()), ("day", pa.date32()), ("bucket", pa.int32()),
        ("at", pa.timestamp("us", "UTC")), ("here", pa.timestamp("us")), ("yes", pa.bool_()),
        ("list", pa.list_(pa.int8())),
        ("money", pa.decimal128(9, 2)),
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ([("id", "==", 99)], [0]),
        ([("id", "==", "100")], [1]),
        ([("id", "==", 200)], []),
        ([("id", "==", 2**70)], []),
        ([("id", "<", 2**70)], [0, 1]),
        ([("id", ">", -(2**70))], [0, 1]),
        ([("id", "<", 100)], [0]),
        ([("id", "<=", 100)], [0, 1]),
        ([("id", ">", 99)], [1]),
        ([("id", ">=", 99)], [0, 1]),
        ([("id", "!=", 5)], [0, 1]),
        ([("id", "in", [5, 6])], [0]),
        ([("id", "in", [])], []),
        ([("id", "in", ["5", 150, 2**80])], [0, 1]),
        ([("id", "not in", [5])], [0, 1, 2, 3]),
        ([("region", "==", "y z")], [1]),
        ([("region", "in", ["x", "q"])], [0]),
        ([("region", "!=", "x")], [1]),
        ([("region", ">", "x")], [1]),
        ([("day", "==", "2024-01-02")], [1, 2]),
        ([("day", ">=", date(2024, 1, 2))], [1, 2]),
        ([("bucket", "==", "1")], [1]),
        ([("x", ">", 5)], [0, 1, 2, 3]),
        ([("list", "==", [1])], [0, 1, 2, 3]),
        ([("id", "==", 5), ("region", "==", "y z")], []),
    ],
)  # fmt: skip
def test_keeps(where: Any, kept: list[int]) -> None:
    pruned = prune(MANIFEST, coerce((tuple(where),), TABLE), TABLE)
    assert pruned.kept.tolist() == kept
    assert pruned.kept.dtype == np.int64
    assert all(f"of {len(MANIFEST)} files kept" in line for line in pruned.why)


def test_alternatives_are_united() -> None:
    where = ((("id", "==", 5),), (("id", "==", 105), ("region", "==", "y z")), (("id", "==", 5000),))
    pruned = prune(MANIFEST, coerce(where, TABLE), TABLE)
    assert pruned.kept.tolist() == [0, 1]
    assert pruned.why == (
        "alternative 1: statistics of id: 1 of 4 files kept",
        "alternative 2: statistics of id: 1 of 4 files kept",
        "alternative 2: partitions by region: 1 of 4 files kept",
        "alternative 3: statistics of id: 0 of 4 files kept",
        "together: 2 of 4 files kept",
    )


def test_no_condition_keeps_all() -> None:
    assert prune(MANIFEST, (), TABLE).kept.tolist() == [0, 1, 2, 3]
    assert prune(MANIFEST, ((),), TABLE).kept.tolist() == [0, 1, 2, 3]


def test_nulls_are_not_among_the_values_of_not_in() -> None:
    """pyarrow's filters keep them, so their files are kept."""
    manifest = pa.table({"rows": [9, 9, 9], "min.id": [5, 5, 5], "max.id": [5, 5, 5], "nulls.id": [0, 1, None]})
    assert prune(manifest, ((("id", "not in", (4, 5)),),), TABLE).kept.tolist() == [1, 2]
    assert prune(manifest, ((("id", "!=", 5),),), TABLE).kept.tolist() == []


def test_bounds_finer_than_python_are_rounded_outwards() -> None:
    kind = pa.timestamp("ns", "UTC")
    bound = pa.array([1_999], kind)  # 1.999 microseconds
    manifest = pa.table({"rows": [1], "min.at": bound, "max.at": bound, "nulls.at": [0]})
    schema = pa.schema([("at", kind)])
    start = datetime(1970, 1, 1, tzinfo=UTC)
    for operator, microseconds, kept in [
        (">", 1, True), ("<", 2, True), ("==", 1, True), (">", 2, False), ("<", 1, False), ("==", 3, False),
    ]:  # fmt: skip
        where = ((("at", operator, start + timedelta(microseconds=microseconds)),),)
        assert (len(prune(manifest, where, schema).kept) == 1) == kept, (operator, microseconds)


def test_bounds_in_the_wrong_order_say_nothing() -> None:
    manifest = pa.table({"rows": [1], "min.id": [5], "max.id": [-5], "nulls.id": [0]})
    assert prune(manifest, ((("id", "==", 100),),), TABLE).kept.tolist() == [0]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("id", "864691135000000001", 864691135000000001),
        ("id", 5.0, 5),
        ("id", np.int64(7), 7),
        ("x", "1.5", 1.5),
        ("x", 3, 3.0),
        ("yes", "true", True),
        ("at", "2024-05-01T12:00:00+02:00", datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("at", datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2))), datetime(2024, 5, 1, 10, tzinfo=UTC)),
        ("here", "2024-05-01", datetime(2024, 5, 1)),
        ("day", "2024-05-01", date(2024, 5, 1)),
        ("money", "1.50", Decimal("1.50")),
        ("money", 1.1, Decimal("1.1")),
    ],
)
def test_coerces(column: str, value: Any, expected: Any) -> None:
    (((_, _, found),),) = coerce((((column, "==", value),),), TABLE)
    assert found == expected
    assert type(found) is type(expected)
    (((_, _, listed),),) = coerce((((column, "in", [value]),),), TABLE)
    assert listed == (expected,)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", None), ("id", "x"), ("id", "1.5"), ("id", 1.5), ("id", True), ("id", 1e18), ("x", []), ("id", "१"),
        ("x", "x"), ("x", True), ("x", None), ("yes", 1), ("yes", "yes"), ("region", 5), ("region", "\ud800"),
        ("at", "2024-05-01T12:00:00"), ("at", datetime(2024, 1, 1)), ("at", "tomorrow"), ("at", 5),
        ("at", "2024-05-01T12:00:00.123456789Z"), ("here", "2024-05-01T12:00:00Z"), ("day", "2024-13-01"),
        ("day", datetime(2024, 1, 1)), ("money", "NaN"), ("money", True), ("money", "x"),
    ],
)  # fmt: skip
def test_refuses_values_that_do_not_fit(column: str, value: Any) -> None:
    for operator, given_value in (("==", value), ("in", [value])):
        with pytest.raises(Invalid) as caught:
            coerce((((column, operator, given_value),),), TABLE)  # type: ignore[arg-type]
        assert caught.value.field == f"where.{column}"
        assert caught.value.expected is not None


def test_refuses_unknown_columns_operators_and_shapes() -> None:
    with pytest.raises(Invalid) as caught:
        coerce(((("nothing", "==", 1),),), TABLE)
    assert caught.value.expected == TABLE.names
    for where in (((("id", "like", 1),),), ((("id", "=="),),), ((("id", "in", "12"),),), ((("id", "in", 5),),)):
        with pytest.raises(Invalid):
            coerce(where, TABLE)  # type: ignore[arg-type]


def test_hashes_are_those_of_the_specification() -> None:
    """Apache Iceberg's table specification, Appendix B."""
    assert murmur3_of_longs(np.array([34])).tolist() == [2017239379]
    assert murmur3(b"iceberg") == 1210000089
    assert murmur3(bytes(range(4))) == 2**32 - 188683207


@given(st.binary(max_size=20))
def test_hash_of_eight_bytes_is_that_of_a_long(data: bytes) -> None:
    padded = data[:8].ljust(8, b"\1")
    number = np.frombuffer(padded, "<i8").astype(np.int64)
    assert murmur3_of_longs(number).tolist() == [murmur3(padded)]


@pytest.mark.parametrize("transform", ["bucket", "modulo", "opaque"])
def test_hash_buckets(transform: Any) -> None:
    ids = np.arange(7 * 10**17, 7 * 10**17 + 1000)
    hashed = murmur3_of_longs(ids) & 0x7FFFFFFF if transform == "bucket" else ids
    numbers = hashed % 16
    manifest = pa.table({"rows": [1] * 17, "partition.b": [str(number) for number in range(16)] + [None]})
    schema = pa.schema([("id", pa.int64()), ("b", pa.int32())])
    declared = HashBuckets(column="id", partition_column="b", transform=transform, buckets=16)
    for value in (0, 1, 500):
        kept = prune(manifest, ((("id", "==", int(ids[value])),),), schema, [declared]).kept.tolist()
        assert kept == (list(range(17)) if transform == "opaque" else [int(numbers[value]), 16])
    where = ((("id", "in", tuple(ids[:3].tolist())),),)
    if transform != "opaque":
        assert prune(manifest, where, schema, [declared]).kept.tolist() == [*sorted(set(numbers[:3].tolist())), 16]
    assert len(prune(manifest, ((("id", ">", 5),),), schema, [declared]).kept) == 17


def test_negative_ids_are_not_taken_modulo() -> None:
    manifest = pa.table({"rows": [1, 1], "partition.b": ["0", "1"]})
    declared = HashBuckets(column="id", partition_column="b", transform="modulo", buckets=2)
    schema = pa.schema([("id", pa.int64()), ("b", pa.int32())])
    assert len(prune(manifest, ((("id", "==", -1),),), schema, [declared]).kept) == 2
