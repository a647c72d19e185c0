from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from feature_registry.model import HashBuckets
from feature_registry.pruning import Arranged, choose
from feature_registry_tests.test_pruning import holds

BUCKETS = 3
HASHED = HashBuckets(column="b", partition_column="bucket", transform="modulo", buckets=BUCKETS)
SCHEMA = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("c", pa.int64())])
BYTES = 10  # a row
VALUES = st.one_of(st.none(), st.integers(-3, 12))
CONDITIONS = st.one_of(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.integers(-4, 13)),
    st.tuples(st.sampled_from("abc"), st.sampled_from(["in", "not in"]), st.lists(st.integers(-4, 13), max_size=4)),
)
Row = tuple[int | None, int | None, int | None]


class Stored:
    """Rows in files of 2 row groups of 4, and what the manifests say of them; `c` has statistics of files only."""

    def __init__(self) -> None:
        self.rows: list[list[Row]] = []  # a list a file
        self._files: list[dict[str, Any]] = []
        self._groups: list[dict[str, Any]] = []

    def arranged(self, name: str, rows: list[Row], order: str, bucketed: bool = False) -> Arranged:
        first = len(self.rows)
        column = SCHEMA.names.index(order)
        parts: dict[Any, list[Row]] = {}
        for row in sorted(rows, key=lambda row: (row[column] is None, row[column] or 0)):
            hashed = bucketed and row[1] is not None
            parts.setdefault(str((row[1] or 0) % BUCKETS) if hashed else None, []).append(row)
        for bucket, inside in parts.items():
            for start in range(0, len(inside), 8):
                self._file(inside[start : start + 8], bucket)
        numbers = np.arange(first, len(self.rows))
        files = pa.Table.from_pylist(self._files[first:], self._schema("abc", {"partition.bucket": pa.string()}))
        return Arranged(name, numbers, files, (HASHED,) if bucketed else ())

    def _file(self, rows: list[Row], bucket: str | None) -> None:
        for start in range(0, len(rows), 4):
            group = rows[start : start + 4]
            self._groups.append({"file": len(self.rows), **self._described(group, "ab")})
        self._files.append({"partition.bucket": bucket, **self._described(rows, "abc")})
        self.rows.append(rows)

    def _described(self, rows: list[Row], columns: str) -> dict[str, Any]:
        said: dict[str, Any] = {"size": BYTES * len(rows), "rows": len(rows)}
        for name in columns:
            values = [row["abc".index(name)] for row in rows]
            known = [value for value in values if value is not None]
            said[f"size.{name}"] = len(known)
            said |= {f"min.{name}": min(known, default=None), f"max.{name}": max(known, default=None)}
            said[f"nulls.{name}"] = len(values) - len(known)
        return said

    def _schema(self, columns: str, more: dict[str, pa.DataType]) -> pa.Schema:
        names = ["size", "rows"]
        names += [f"{part}.{name}" for part in ("size", "min", "max", "nulls") for name in columns]
        return pa.schema([*more.items(), *((name, pa.int64()) for name in names)])

    @property
    def groups(self) -> pa.Table:
        return pa.Table.from_pylist(self._groups, self._schema("ab", {"file": pa.int64()}))


def matches(row: Row, where: Any) -> bool:
    return not where or any(all(holds(row["abc".index(c)], o, v) for c, o, v in part) for part in where)


@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=60),
    st.lists(st.lists(CONDITIONS, min_size=1, max_size=3), max_size=3),
    st.booleans(),
)
def test_no_layout_loses_a_row_and_the_cheapest_is_read(rows: list[Row], where: Any, known: bool) -> None:
    stored = Stored()
    layouts = [
        stored.arranged("by_a", rows, "a"),
        stored.arranged("by_b", rows, "b"),
        stored.arranged("buckets", rows, "a", bucketed=True),
    ]
    groups = stored.groups if known else None
    best = choose(layouts, groups, where, SCHEMA)
    costs = []
    for layout in layouts:
        choice = choose(layouts, groups, where, SCHEMA, name=layout.name)
        wanted = sorted((row for row in rows if matches(row, where)), key=repr)
        found = [row for number in choice.kept for row in stored.rows[number] if matches(row, where)]
        assert sorted(found, key=repr) == wanted
        assert set(choice.kept) <= set(layout.numbers)
        assert len(wanted) * BYTES <= choice.read <= choice.size
        assert choice.size == BYTES * sum(len(stored.rows[number]) for number in choice.kept)
        costs.append((choice.read, choice.size))
    assert (best.read, best.size) == min(costs)
    assert best.layout is layouts[costs.index(min(costs))]


def test_a_file_none_of_whose_row_groups_can_match_is_left_out() -> None:
    stored = Stored()
    rows: list[Row] = [(number, 0, 0) for number in (0, 1, 2, 3, 7, 8, 9, 10, 20, 21)]
    layout = stored.arranged("by_a", rows, "a")
    assert choose([layout], None, ((("a", "==", 5),),), SCHEMA).kept.tolist() == [0]
    choice = choose([layout], stored.groups, ((("a", "==", 5),),), SCHEMA)
    assert (choice.kept.tolist(), choice.read, choice.size) == ([], 0, 0)


def test_it_says_what_the_others_would_cost() -> None:
    stored = Stored()
    rows: list[Row] = [(number, 31 * number % 64, 0) for number in range(64)]
    layouts = [stored.arranged("by_a", rows, "a"), stored.arranged("by_b", rows, "b")]
    where = ((("b", "<", 4),),)
    assert choose(layouts, stored.groups, where, SCHEMA).why[:2] == (
        "layout by_b: 40 of 80 bytes in 1 of 8 files",
        "layout by_a would be 120 of 240 bytes in 3 of 8 files",
    )
    assert choose(layouts, stored.groups, where, SCHEMA, name="by_a").why[:2] == (
        "layout by_a was asked for: 120 of 240 bytes in 3 of 8 files",
        "layout by_b would be 40 of 80 bytes in 1 of 8 files",
    )


def test_only_the_columns_that_are_read_count() -> None:
    stored = Stored()
    rows: list[Row] = [(number, None if number % 2 else number, 0) for number in range(16)]
    layout = stored.arranged("by_a", rows, "a")
    where = ((("a", "<", 4),),)
    assert choose([layout], stored.groups, where, SCHEMA, columns=["b"]).read == 4 + 2  # bytes of `a` and of `b`
    assert choose([layout], stored.groups, where, SCHEMA, columns=["a"]).read == 4
    assert choose([layout], stored.groups, (), SCHEMA, columns=["b"]).read == 8
    assert choose([layout], stored.groups, (), SCHEMA, columns=["parted by it"]).read == 0
    assert choose([layout], stored.groups, (), SCHEMA).read == 16 * BYTES
