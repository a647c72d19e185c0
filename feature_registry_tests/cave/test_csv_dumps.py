from __future__ import annotations

import gzip
import struct
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from feature_registry.cave import csv_dumps
from feature_registry.cave.csv_dumps import CsvRows, Header
from feature_registry.errors import Invalid

HEADER = """id,bigint
created,timestamp without time zone
valid,boolean
pt_position,USER-DEFINED
ctr_pt_position_x,double precision
pt_root_id,bigint
size,real
tag,character varying(255)
superceded_id,bigint
at,timestamp with time zone
"""
ID = 864691136041487043  # no float holds it


def point(x: float, y: float, z: float, srid: bytes = b"") -> str:
    kind = b"\x01\x01\x00\x00\xa0" if srid else b"\x01\x01\x00\x00\x80"
    return (kind + srid + struct.pack("<3d", x, y, z)).hex().upper()


LINES = [
    f'{ID},2020-01-01 00:00:00,t,{point(1, 2, 3)},-7,{2**63 - 1},1.5,"a, ""b""\nc",,2024-01-02 03:04:05.678901+00',
    f"2,,f,{point(4, 5, 6)},8,0,,gone,1,",
    f'3,,t,{point(-1, 0, 2**31 - 1, b"SRID")},\\N,\\N,NaN,"",,2024-01-02 03:04:05+01',
    "4,,\\N,,,,,\\N,,",
]


def rows(lines: list[str], header: str = HEADER, invalid: bool = False) -> pa.Table:
    text = "".join(f"{line}\n" for line in lines).encode()
    stream = pa.CompressedInputStream(pa.BufferReader(gzip.compress(text)), "gzip")
    return CsvRows(stream, Header.parse(header.encode(), "t_header.csv"), "t.csv.gz", invalid).reader.read_all()


def refusal(lines: list[str], header: str = HEADER) -> Invalid:
    with pytest.raises(Invalid) as wrong:
        rows(lines, header)
    return wrong.value


def test_values_come_out_exactly() -> None:
    table = rows(LINES)
    assert dict(zip(table.schema.names, map(str, table.schema.types), strict=True)) == {
        "id": "int64",
        "pt_position_x": "int32",
        "pt_position_y": "int32",
        "pt_position_z": "int32",
        "ctr_pt_position_x": "int32",
        "pt_root_id": "int64",
        "size": "float",
        "tag": "string",
        "at": "timestamp[us, tz=UTC]",
    }
    found = pl.DataFrame(table)
    assert found["id"].to_list() == [ID, 3]
    assert found.select(f"pt_position_{axis}" for axis in "xyz").rows() == [(1, 2, 3), (-1, 0, 2**31 - 1)]
    assert found["ctr_pt_position_x"].to_list() == [-7, None]
    assert found["pt_root_id"].to_list() == [2**63 - 1, None]
    assert found["tag"].to_list() == ['a, "b"\nc', ""]
    assert str(found["size"].to_list()) == "[1.5, nan]"
    assert [str(each) for each in found["at"]] == [
        "2024-01-02 03:04:05.678901+00:00",
        "2024-01-02 02:04:05+00:00",
    ]


def test_rows_that_are_not_valid_are_kept_if_asked_for() -> None:
    found = pl.DataFrame(rows(LINES, invalid=True))
    assert found.select("id", "valid").rows() == [(ID, True), (2, False), (3, True), (4, None)]
    assert found.row(3)[2:] == (None,) * 8


def test_naive_instants_are_utc() -> None:
    table = rows(["2020-01-02 03:04:05.6", ""], "at,timestamp without time zone\n")
    assert [str(each) for each in table["at"].to_pylist()] == ["2020-01-02 03:04:05.600000+00:00", "None"]


def test_an_empty_file_is_an_empty_table() -> None:
    assert rows([]).schema == rows(LINES).schema
    assert len(rows([])) == 0


def test_a_file_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.writelines(f"{ID + number},{number}\n" for number in range(1_500_000))
    stream = pa.input_stream(str(path), compression="gzip")
    header = Header.parse(b"id,bigint\nn,integer\n", "h")
    before, total, batches = pa.total_allocated_bytes(), 0, 0
    for batch in CsvRows(stream, header, "t", False).reader:
        total, batches = total + int((pl.Series(batch["id"]) - ID).sum()), batches + 1
        assert pa.total_allocated_bytes() - before < 120 << 20
    assert (total, batches > 1) == (1_500_000 * 1_499_999 // 2, True)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("x,,t,,,,,,,", "t.csv.gz='x': in row 5, id is no int64"),
        ("5.0,,t,,,,,,,", "'5.0': in row 5, id is no int64"),
        (f"{2**63},,t,,,,,,,", f"'{2**63}': in row 5, id is no int64"),
        ("5,,t,,,,,,", "has 9 columns in row 5 (expected: the 10 columns of its header)"),
        ("5,,t,,,,,,,,", "has 11 columns in row 5"),
        ("5,,yes,,,,,,,", "'yes': in row 5, valid is no bool"),
        ("5,,t,,1.5,,,,,", "'1.5': in row 5, ctr_pt_position_x is no int32"),
        ("5,,t,0101zz,,,,,,", "t.csv.gz='0101zz': pt_position of the row with id 5 is no hexadecimal number"),
        (f"5,,t,{point(1.5, 2, 3)},,,,,,", "pt_position: the point of the row with id 5 lies at (1.5, 2.0, 3.0)"),
        ("5,,t,,,,,,,yesterday", "'yesterday': in row 5, at is no timestamp[us, tz=UTC]"),
    ],
)
def test_what_is_wrong_is_named(line: str, text: str) -> None:
    assert text.replace("'", "") in str(refusal([*LINES, line]))


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("id\nsize\n", "t_header.csv=id: says nothing in line 1"),
        ("id,bigint\nid,bigint\n", "says nothing in line 2"),
        ("id,bigint\nsize,money\n", "t_header.csv=money: has an unknown type, of size"),
        ("", "names no column"),
    ],
)
def test_a_wrong_header_is_refused(header: str, text: str) -> None:
    assert text in str(refusal(LINES, header))


def test_a_header_is_text() -> None:
    assert list(Header.parse("\ufeffid,bigint\n".encode(), "h").types) == ["id"]
    with pytest.raises(Invalid, match="is no text"):
        Header.parse(b"\xff\xfe\x00", "h")


def test_types_are_those_of_arrow() -> None:
    assert all(isinstance(each, pa.DataType) for each in csv_dumps.TYPES.values())
