"""Old dumps: `{table}.csv.gz` without a header, as PostgreSQL writes it, and beside it `{table}_header.csv`, a line a
column with its name and its SQL type as `information_schema` spells it: `pre_pt_position,USER-DEFINED`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from feature_registry.cave import BOOKKEEPING
from feature_registry.cave.geometry import AXES, voxels
from feature_registry.errors import Invalid

TYPES = {
    "bigint": pa.int64(),
    "integer": pa.int32(),
    "smallint": pa.int16(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "numeric": pa.string(),  # its digits are not said
    "boolean": pa.bool_(),
    "text": pa.string(),
    "varchar": pa.string(),
    "character varying": pa.string(),
    "user-defined": pa.string(),  # an enum; a point is known by its name
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
}

BLOCK = 16 << 20
"""Bytes of text that are read at once."""


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a CSV file. `points` are those that hold points as EWKB in hexadecimal digits."""

    types: dict[str, pa.DataType]
    points: frozenset[str]

    @classmethod
    def parse(cls, data: bytes, place: str) -> Header:
        types: dict[str, pa.DataType] = {}
        points = set()
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Invalid("is no text", field=place, expected="UTF-8") from None
        for number, line in enumerate(csv.reader(io.StringIO(text)), 1):
            if len(line) != 2 or not line[0] or line[0] in types:
                expected = "a new column's name and its SQL type"
                raise Invalid(f"says nothing in line {number}", field=place, value=",".join(line), expected=expected)
            name, sql = line[0], line[1].partition("(")[0].strip().lower()
            if sql not in TYPES:
                raise Invalid(f"has an unknown type, of {name}", field=place, value=line[1], expected=sorted(TYPES))
            if sql == "user-defined" and name.endswith("_position"):
                points.add(name)
            types[name] = pa.int32() if re.fullmatch(r"\w+_position_[xyz]", name) else TYPES[sql]
        if not types:
            raise Invalid("names no column", field=place)
        return cls(types, frozenset(points))


class CsvRows:
    """The rows of an old dump, as a new one has them; read once. Raises `Invalid` that names the row, column and value
    which is wrong; `file` names the file in it.
    """

    def __init__(self, stream: pa.NativeFile, header: Header, file: str, invalid: bool) -> None:
        self._header, self._file, self._invalid = header, file, invalid
        self._reader = self._opened(stream)
        first = self._batch(pa.RecordBatch.from_pylist([], self._schema))
        self.reader = pa.RecordBatchReader.from_batches(first.schema, self._batches())

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([(name, kind) for name, kind in self._header.types.items() if name not in BOOKKEEPING])

    def _opened(self, stream: pa.NativeFile) -> arrow_csv.CSVStreamingReader | None:
        types = self._header.types
        try:
            return arrow_csv.open_csv(
                stream,
                # Of several threads, none knows the number of its row.
                arrow_csv.ReadOptions(column_names=list(types), block_size=BLOCK, use_threads=False),
                arrow_csv.ParseOptions(newlines_in_values=pa.string() in types.values(), ignore_empty_lines=False),
                arrow_csv.ConvertOptions(
                    column_types=types,
                    include_columns=self._schema.names,
                    null_values=["", "\\N"],
                    true_values=["t"],
                    false_values=["f"],
                    strings_can_be_null=True,
                    quoted_strings_can_be_null=False,
                ),
            )
        except (pa.ArrowInvalid, OSError) as wrong:
            if str(wrong) == "Empty CSV file":
                return None
            raise self._explained(str(wrong)) from None

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self._reader is None:
            return
        while True:
            try:
                batch = self._reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowInvalid, OSError) as wrong:
                raise self._explained(str(wrong)) from None
            yield self._batch(batch)

    def _batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """With points as voxels, and without rows that CAVE says are not valid."""
        if "valid" in batch.schema.names and not self._invalid:
            batch = batch.filter(batch["valid"]).drop_columns(["valid"])
        columns: dict[str, pa.Array] = {}
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name in self._header.points:
                columns |= self._decoded(name, batch)
            else:  # CAVE's naive instants are UTC
                columns[name] = pc.assume_timezone(column, "UTC") if column.type == pa.timestamp("us") else column
        return pa.RecordBatch.from_pydict(columns)

    def _decoded(self, name: str, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        ids = batch["id"] if "id" in batch.schema.names else None
        texts = pl.Series(batch[name])
        points = texts.str.decode("hex", strict=False)
        wrong = (points.is_null() & texts.is_not_null()).arg_true()
        if len(wrong):
            of = "" if ids is None else f" of the row with id {ids[wrong[0]].as_py()}"
            raise Invalid(f"{name}{of} is no hexadecimal number", field=self._file, value=texts[wrong[0]])
        try:
            axes = voxels(points.to_arrow().cast(pa.binary()), name, ids)
        except Invalid as refusal:
            message = f"{name}: {refusal.message}"
            raise Invalid(message, field=self._file, value=refusal.value, expected=refusal.expected) from None
        return {f"{name}_{axis}": values for axis, values in zip(AXES, axes, strict=True)}

    def _explained(self, text: str) -> Invalid:
        names = list(self._header.types)
        pattern = r"In CSV column #(\d+): Row #(\d+): CSV conversion error to (.+): invalid value '(.*)'"
        found = re.fullmatch(pattern, text, re.DOTALL)
        if found:
            column, row, kind, value = found.groups()
            return Invalid(f"in row {row}, {names[int(column)]} is no {kind}", field=self._file, value=value)
        found = re.fullmatch(r"CSV parse error: Row #(\d+): Expected \d+ columns, got (\d+): (.*)", text, re.DOTALL)
        if found:
            row, number, value = found.groups()
            expected = f"the {len(names)} columns of its header"
            return Invalid(f"has {number} columns in row {row}", field=self._file, value=value, expected=expected)
        return Invalid(f"cannot be read: {text}", field=self._file)
