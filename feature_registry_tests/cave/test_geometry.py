"""The bytes are those that PostGIS 3.3 wrote, cast to bytea."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_registry.cave.geometry import Extent, voxels
from feature_registry.errors import Invalid
from feature_registry_tests.cave.frozen import ewkb

POINT_1_2_3 = "0101000080000000000000f03f00000000000000400000000000000840"
WITH_SRID_4326 = "01010000a0e6100000000000000000f03f00000000000000400000000000000840"
FARTHEST = "0101000080000000000000e0c10000c0ffffffdf410000000000000000"

REFUSED = {
    "POINT(1 2)": ("0101000000000000000000f03f0000000000000040", "type 0x00000001 in 21 bytes"),
    "POINT M (1 2 3)": ("0101000040000000000000f03f00000000000000400000000000000840", "type 0x40000001 in 29"),
    "POINT ZM (1 2 3 4)": (
        "01010000c0000000000000f03f000000000000004000000000000008400000000000001040",
        "type 0xc0000001 in 37 bytes",
    ),
    "LINESTRING Z (1 2 3,4 5 6)": (
        "010200008002000000000000000000f03f00000000000000400000000000000840000000000000104000000000000014400000000000001840",
        "type 0x80000002 in 57 bytes",
    ),
    "POINT Z EMPTY": (
        "0101000080000000000000f87f000000000000f87f000000000000f87f",
        "(nan, nan, nan), which is no voxel",
    ),
    "POINT Z (1.5 2 3)": ("0101000080000000000000f83f00000000000000400000000000000840", "(1.5, 2.0, 3.0), which is no"),
    "POINT Z (3000000000 2 3)": ("0101000080000000c00b5ae64100000000000000400000000000000840", "(3000000000.0, 2.0"),
    "big-endian": ("00800000013ff000000000000040000000000000004008000000000000", "is big-endian"),
    "no geometry": ("", "type 0x00000000 in 0 bytes"),
    "SRID cut off": (WITH_SRID_4326[:-8], "type 0xa0000001 in 29 bytes"),
}

COORDINATES = st.integers(-(2**31), 2**31 - 1)
POINTS = st.lists(st.none() | st.tuples(COORDINATES, COORDINATES, COORDINATES), max_size=30)


def binary(*values: str | None) -> pa.BinaryArray:
    return pa.array([None if each is None else bytes.fromhex(each) for each in values], pa.binary())


def decoded(column: pa.BinaryArray) -> list[tuple[int | None, ...]]:
    axes = voxels(column, "pt_position")
    assert [axis.type for axis in axes] == [pa.int32()] * 3
    return list(zip(*(axis.to_pylist() for axis in axes), strict=True))


def encoded(points: list[tuple[int, int, int] | None], srid: int | None) -> pa.BinaryArray:
    axes = [pa.array([None if point is None else point[axis] for point in points], pa.int64()) for axis in range(3)]
    return ewkb(axes, srid)


def test_what_postgis_wrote() -> None:
    column = binary(POINT_1_2_3, None, WITH_SRID_4326, FARTHEST)
    assert decoded(column) == [(1, 2, 3), (None,) * 3, (1, 2, 3), (-(2**31), 2**31 - 1, 0)]


def test_the_tests_write_what_postgis_writes() -> None:
    assert encoded([(1, 2, 3)], None).to_pylist() == [bytes.fromhex(POINT_1_2_3)]
    assert encoded([(1, 2, 3), None], 4326).to_pylist() == [bytes.fromhex(WITH_SRID_4326), None]


@pytest.mark.parametrize(
    "column", [binary(), binary(None, None), pa.nulls(2, pa.binary())], ids=["none", "null", "nulls"]
)
def test_no_point(column: pa.BinaryArray) -> None:
    assert decoded(column) == [(None,) * 3] * len(column)


@pytest.mark.parametrize("wkt", REFUSED)
@pytest.mark.parametrize("among", [[], [POINT_1_2_3], [POINT_1_2_3, None, WITH_SRID_4326]], ids=len)
def test_what_is_no_voxel_is_refused(wkt: str, among: list[str | None]) -> None:
    value, why = REFUSED[wkt]
    ids = pa.array([*range(len(among)), 864_691_135_000_000_137])
    with pytest.raises(Invalid) as refused:
        voxels(binary(*among, value), "bb_start_position", ids)
    assert (refused.value.field, refused.value.value) == ("bb_start_position", value[:96])
    assert why in refused.value.message
    assert "the row with id 864691135000000137 " in refused.value.message


def test_the_first_wrong_row_is_named() -> None:
    column = binary(None, POINT_1_2_3, REFUSED["POINT(1 2)"][0], REFUSED["POINT Z EMPTY"][0])
    with pytest.raises(Invalid, match="the row with id 12 is a geometry of type 0x00000001"):
        voxels(column, "pt_position", pa.array([10, 11, 12, 13]))
    with pytest.raises(Invalid, match=r"pt_position=0101000000.*: the point is a geometry"):
        voxels(column, "pt_position")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(points=POINTS, srids=st.sampled_from([[None], [4326], [None, 4326], [4326, None]]), start=st.integers(0, 5))
def test_it_reads_what_was_written(
    points: list[tuple[int, int, int] | None], srids: list[int | None], start: int
) -> None:
    """With and without SRID, both in one column, with nulls, and as a part of a longer column."""
    parts = [encoded(points, srid) for srid in srids]
    column = pa.concat_arrays(parts)[start:]
    expected = (points * len(srids))[start:]
    assert decoded(column) == [(None,) * 3 if point is None else point for point in expected]
    extent = Extent()
    for part in (column[: len(column) // 2], column[len(column) // 2 :]):
        extent.add(part)
    held = [point for point in expected if point is not None]
    assert extent.count == len(held)
    assert extent.minimum == ([min(axis) for axis in zip(*held, strict=True)] or [None] * 3)
    assert extent.maximum == ([max(axis) for axis in zip(*held, strict=True)] or [None] * 3)
    assert extent.total == ([sum(axis) for axis in zip(*held, strict=True)] or [None] * 3)


@pytest.mark.parametrize("spoil", [lambda axes: axes[::-1], lambda axes: [axes[0], axes[1], axes[1]]])
def test_an_extent_sees_a_decoder_that_errs(spoil: Callable[[list[pa.Array]], list[pa.Array]]) -> None:
    points = np.random.default_rng(3).integers(0, 400_000, (100, 3))
    column = encoded([tuple(map(int, point)) for point in points], None)
    extent = Extent()
    extent.add(column)
    assert extent.total == [pc.sum(axis).as_py() for axis in voxels(column, "pt_position")]
    assert extent.total != [pc.sum(axis).as_py() for axis in spoil(voxels(column, "pt_position"))]
