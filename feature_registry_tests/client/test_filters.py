from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_registry.client.filters import build
from feature_registry.errors import Invalid

NEW_YORK = ZoneInfo("America/New_York")
BIG = 864691135571546917  # a root id: beyond 2^53
SCHEMA: dict[str, pl.DataType] = {
    "id": pl.Int64(),
    "size": pl.Int32(),
    "score": pl.Float32(),
    "volume": pl.Float64(),
    "kind": pl.String(),
    "proofread": pl.Boolean(),
    "at": pl.Datetime("us", "UTC"),
    "there": pl.Datetime("ms", "America/New_York"),
    "local": pl.Datetime("us"),
    "day": pl.Date(),
    "big": pl.UInt64(),
    "money": pl.Decimal(10, 2),
}
FRAME = pl.DataFrame(
    {
        "id": [BIG, BIG + 1, BIG + 2, 5, None],
        "size": [1, 2, 3, None, 5],
        "score": [0.1, 0.5, float("nan"), None, 2.0],
        "volume": [0.1, 0.5, float("nan"), None, 2.0],
        "kind": ["23P", "BC", None, "4P", "MC"],
        "proofread": [True, False, None, True, False],
        "at": [datetime(2024, 5, day, tzinfo=UTC) for day in range(1, 6)],
        "there": [datetime(2024, 5, day, tzinfo=NEW_YORK) for day in range(1, 6)],
        "local": [datetime(2024, 5, day) for day in range(1, 6)],
        "day": [date(2024, 5, day) for day in range(1, 6)],
        "big": [0, 2**63, 2**64 - 1, 7, None],
        "money": [Decimal("1.25"), Decimal("12.50"), None, Decimal(0), Decimal(-1)],
    },
    schema=SCHEMA,
)
col = pl.col


def rows(expression: pl.Expr | None) -> set[int]:
    frame = FRAME.with_row_index("row")
    return set((frame if expression is None else frame.filter(expression))["row"])


def kept(where: Any) -> set[int]:
    return rows(build(where, SCHEMA, {}).stored)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, {0, 1, 2, 3, 4}),
        ([], {0, 1, 2, 3, 4}),
        ([[]], {0, 1, 2, 3, 4}),
        ([("id", "==", BIG + 1)], {1}),
        (("id", "==", BIG + 1), {1}),
        ([("id", "=", str(BIG + 1))], {1}),
        ([("id", "in", [BIG, BIG + 2, 2**70, -(2**70)])], {0, 2}),
        ([("id", "in", [])], set()),
        ([("id", "not in", [])], {0, 1, 2, 3}),
        ([("id", "not in", [BIG])], {1, 2, 3}),
        ([("id", "<", 2**80)], {0, 1, 2, 3}),
        ([("id", ">", 2**80)], set()),
        ([("id", "!=", -(2**80))], {0, 1, 2, 3}),
        ([("size", ">", 1.5)], {1, 2, 4}),
        ([("size", "<=", 2.5)], {0, 1}),
        ([("size", "==", 2.0)], {1}),
        ([("size", "==", 2.5)], set()),
        ([("size", "!=", 2.5)], {0, 1, 2, 4}),
        ([("size", "in", [1.0, 2.5])], {0}),
        ([("size", ">", 1), ("kind", "==", "BC")], {1}),
        ([[("size", ">", 4)], [("kind", "in", ("23P",))]], {0, 4}),
        ([("score", "==", 0.1)], {0}),
        ([("volume", "<=", 0.5)], {0, 1}),
        ([("proofread", "==", True)], {0, 3}),
        ([("at", ">", "2024-05-03T00:00:00Z")], {3, 4}),
        ([("at", "<=", datetime(2024, 5, 2, tzinfo=UTC))], {0, 1}),
        ([("at", "<", datetime(2024, 5, 2, tzinfo=NEW_YORK))], {0, 1}),
        ([("there", "==", datetime(2024, 5, 2, 4, tzinfo=UTC))], {1}),
        ([("there", "<=", datetime(2024, 5, 2, tzinfo=NEW_YORK))], {0, 1}),
        ([("there", ">", "2024-05-03T04:00:00+00:00")], {3, 4}),
        ([("there", "in", ["2024-05-02T04:00:00Z", datetime(2024, 5, 4, 4, tzinfo=UTC)])], {1, 3}),
        ([("there", "not in", [datetime(2024, 5, 2, 4, tzinfo=UTC)])], {0, 2, 3, 4}),
        ([("there", "<", "2024-05-02T04:00:00.000001Z")], {0, 1}),
        ([("there", "<=", "2024-05-02T03:59:59.999999Z")], {0}),
        ([("there", ">", "2024-05-02T04:00:00.000001Z")], {2, 3, 4}),
        ([("there", "==", "2024-05-02T04:00:00.000001Z")], set()),
        ([("there", "!=", "2024-05-02T04:00:00.000001Z")], {0, 1, 2, 3, 4}),
        ([("there", "in", ["2024-05-02T04:00:00.000001Z"])], set()),
        ([("local", "<=", datetime(2024, 5, 2))], {0, 1}),
        ([("local", ">", "2024-05-03")], {3, 4}),
        ([("local", "==", date(2024, 5, 3))], {2}),
        ([("day", "in", ["2024-05-02", date(2024, 5, 4)])], {1, 3}),
        ([("big", ">=", 2**63)], {1, 2}),
        ([("big", "in", [2**64 - 1, 2**64])], {2}),
        ([("big", ">", -1)], {0, 1, 2, 3}),
        ([("money", ">", 1.25)], {1}),
        ([("money", "in", ["1.25", 12.5])], {0, 1}),
        ([("money", ">=", Decimal("1.255"))], {1}),
    ],
)
def test_conditions_keep_their_rows(where: Any, expected: set[int]) -> None:
    assert kept(where) == expected


@pytest.mark.parametrize(
    "ids",
    [
        {BIG, BIG + 2},
        np.array([BIG, BIG + 2]),
        np.array([BIG, BIG + 2], dtype=np.uint64),
        pl.Series([BIG, BIG + 2, None]),
        pa.array([BIG, BIG + 2]),
        pa.chunked_array([[BIG], [BIG + 2]]),
        pd.Series([BIG, BIG + 2]),
        pd.Index([BIG, BIG + 2]),
        (np.int64(each) for each in (BIG, BIG + 2)),
        [str(BIG), BIG + 2, BIG],
    ],
    ids=lambda value: type(value).__name__,
)
def test_ids_come_in_any_collection_and_stay_whole(ids: Any) -> None:
    found = build([("id", "in", ids)], SCHEMA, {})
    assert found.sent == ((("id", "in", (BIG, BIG + 2)),),)
    assert rows(found.stored) == {0, 2}


def test_a_million_ids() -> None:
    ids = pl.int_range(BIG, BIG + 4_000_000, 4, eager=True)
    found = build([("id", "in", ids)], SCHEMA, {})
    assert len(found.sent[0][0][2]) == 1_000_000
    assert rows(found.stored) == {0}


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ("id == 5", "where"),
        ([("nowhere", "==", 1)], "where"),
        ([("id", "like", 1)], "where"),
        ([("id", "==")], "where"),
        ([[("id", "==", 1)], "x"], "where"),
        ([("id", "in", "abc")], "where.id"),
        ([("id", "in", 5)], "where.id"),
        ([("id", "==", float(BIG))], "where.id"),
        ([("id", "in", [float(BIG)])], "where.id"),
        ([("id", "==", float("nan"))], "where.id"),
        ([("id", "==", "five")], "where.id"),
        ([("id", "==", None)], "where.id"),
        ([("volume", "<", "much")], "where.volume"),
        ([("kind", "==", 5)], "where.kind"),
        ([("money", "==", "much")], "where.money"),
        ([("local", "<", "2024-05-03T00:00:00.123456789")], "where.local"),
        ([("proofread", "==", 1)], "where.proofread"),
        ([("at", "<", "yesterday")], "where.at"),
        ([("at", "<", "2024-05-03")], "where.at"),
        ([("at", "in", [datetime(2024, 5, 2)])], "where.at"),
        ([("there", "==", datetime(2024, 5, 2))], "where.there"),
        ([("there", "==", date(2024, 5, 2))], "where.there"),
        ([("local", "==", datetime(2024, 5, 2, tzinfo=UTC))], "where.local"),
        ([("day", "==", "2024-05-01T12:00")], "where.day"),
        (col("nowhere") > 3, "where"),
    ],
)
def test_what_is_no_filter_is_refused(where: Any, field: str) -> None:
    with pytest.raises(Invalid) as wrong:
        build(where, SCHEMA, {})
    assert wrong.value.field == field


@pytest.mark.parametrize(
    ("expression", "sent"),
    [
        (col("id") == BIG, [[("id", "==", BIG)]]),
        (pl.lit(BIG) < col("id"), [[("id", ">", BIG)]]),
        (col("id").is_in([BIG, 5]), [[("id", "in", (5, BIG))]]),
        (col("id").is_in(pl.Series([BIG, 5]).implode()), [[("id", "in", (5, BIG))]]),
        (~col("id").is_in([5]), [[("id", "not in", (5,))]]),
        ((col("id") > 5) & (col("kind") == "BC"), [[("id", ">", 5), ("kind", "==", "BC")]]),
        ((col("id") > 5) | (col("kind") == "BC"), [[("id", ">", 5)], [("kind", "in", ("BC",))]]),
        ((col("id") == 1) | (col("id") == 2) | col("id").is_in([3]), [[("id", "in", (1, 2, 3))]]),
        (~((col("size") > 5) | (col("kind") == "BC")), [[("size", "<=", 5), ("kind", "!=", "BC")]]),
        (col("size").is_between(1, 3), [[("size", ">=", 1), ("size", "<=", 3)]]),
        (col("size").is_between(1, 3, closed="none"), [[("size", ">", 1), ("size", "<", 3)]]),
        (~col("size").is_between(1, 3, closed="left"), [[("size", "<", 1)], [("size", ">=", 3)]]),
        (col("proofread") & (col("size") > 1), [[("proofread", "==", True), ("size", ">", 1)]]),
        (~col("proofread"), [[("proofread", "==", False)]]),
        (col("at") > datetime(2024, 5, 1, tzinfo=UTC), [[("at", ">", datetime(2024, 5, 1, tzinfo=UTC))]]),
        (col("day") == date(2024, 5, 1), [[("day", "==", date(2024, 5, 1))]]),
        (col("score") > 0.1, [[("score", ">", float(np.float32(0.1)))]]),
        # what is not sent
        (col("score") > pl.lit(0.1, dtype=pl.Float64), []),
        (col("id") + 1 == 5, []),
        (col("id").is_null(), []),
        (col("id") == col("size"), []),
        ((col("id") == 5) | (col("size") % 2 == 0), []),
        ((col("id") == 5) & (col("size") % 2 == 0), [[("id", "==", 5)]]),
        (col("volume").gt(float("nan")), []),
        (pl.col("id", "size") > 3, []),
        (pl.len() > 3, []),
        (col("id").map_batches(lambda values: values > 3, return_dtype=pl.Boolean), []),
    ],
)
def test_what_of_an_expression_is_sent(expression: pl.Expr, sent: list[Any]) -> None:
    assert [[tuple(condition) for condition in part] for part in build(expression, SCHEMA, {}).sent] == sent


def test_a_list_of_expressions_all_hold() -> None:
    assert build([col("id") > 5, col("size") > 1], SCHEMA, {}).sent == ((("id", ">", 5), ("size", ">", 1)),)


def test_an_expression_that_would_blow_up_is_sent_in_part() -> None:
    pairs = [(col("id") == number) | (col("size") > number) for number in range(40)]
    found = build(reduce(lambda left, right: left & right, pairs), SCHEMA, {})
    assert 0 < len(found.sent) <= 64


def test_a_long_chain_is_one_list() -> None:
    found = build(reduce(lambda left, right: left | right, [col("id") == n for n in range(300)]), SCHEMA, {})
    assert found.sent == ((("id", "in", tuple(range(300))),),)


def test_logical_types_are_compared_after_the_cast() -> None:
    stored = {**SCHEMA, "big": pl.Int64()}
    found = build(col("big") == pl.lit(7, dtype=pl.UInt64), stored, {"big": "uint64"})
    assert found.sent == ((("big", "==", 7),),)
    assert found.stored is not None and found.logical is not None
    assert build([("big", "==", 2**64 - 1)], stored, {"big": "uint64"}).logical is None


_leaves = st.one_of(
    st.tuples(st.sampled_from(["id", "size"]), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.integers(0, 6)),
    st.tuples(st.just("id"), st.sampled_from(["<", ">", "==", "!="]), st.integers(BIG - 1, BIG + 3)),
    st.tuples(
        st.sampled_from(["score", "volume"]), st.sampled_from(["<", ">=", "=="]), st.sampled_from([0.1, 0.5, 1.0])
    ),
    st.tuples(st.just("kind"), st.just("in"), st.lists(st.sampled_from(["23P", "BC", "MC"]), max_size=3)),
    st.tuples(st.just("proofread"), st.just("flag"), st.none()),
    st.tuples(st.just("size"), st.just("null"), st.none()),
)
_OPS: dict[str, Any] = {
    "<": lambda c, v: c < v,
    "<=": lambda c, v: c <= v,
    ">": lambda c, v: c > v,
    ">=": lambda c, v: c >= v,
    "==": lambda c, v: c == v,
    "!=": lambda c, v: c != v,
    "in": lambda c, v: c.is_in(pl.Series(v, dtype=pl.String).implode()),
    "flag": lambda c, v: c,
    "null": lambda c, v: c.is_null(),
}
_trees = st.recursive(
    _leaves.map(lambda leaf: _OPS[leaf[1]](col(leaf[0]), leaf[2])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1]),
        st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1]),
        inner.map(lambda one: ~one),
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(_trees)
def test_what_is_sent_keeps_every_row_that_is_meant(expression: pl.Expr) -> None:
    sent = build(expression, SCHEMA, {}).sent
    again = build([list(part) for part in sent], SCHEMA, {}).stored
    assert rows(expression) <= rows(again)
