"""Points of PostGIS as their bytes: EWKB POINT Z, little-endian, with or without SRID.

A byte order (1), a type word, the SRID if the type word says so, and x, y, z as float64: 29 or 33 bytes. CAVE's points
are voxels, so what is no whole number of 32 bits is refused rather than rounded. The SRID says nothing and is dropped.
"""

from __future__ import annotations

import struct
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.errors import Invalid

AXES = "xyz"
_POINT_BYTES = 24
_TYPES = {29: 0x80000001, 33: 0xA0000001}  # by length: POINT Z, and POINT Z with an SRID
_KINDS = {
    length: np.dtype(
        {
            "names": ["order", "type", *AXES],
            "formats": ["u1", "<u4", "<f8", "<f8", "<f8"],
            "offsets": [0, 1, length - 24, length - 16, length - 8],
            "itemsize": length,
        }
    )
    for length in _TYPES
}


def voxels(column: pa.BinaryArray, name: str, ids: pa.Array | None = None) -> list[pa.Int32Array]:
    """x, y and z of every point, null where it is; `name`, and the row's id of `ids`, are said of a wrong one."""
    held = column.drop_null()
    points = _points(held)
    with np.errstate(invalid="ignore"):  # what does not fit is found by comparing
        whole = points.astype(np.int32)
    wrong = np.flatnonzero((whole != points).any(axis=0))
    if wrong.size:
        raise _refusal(held[wrong[0]].as_py(), name, _id_of(column, ids, int(wrong[0])))
    if not column.null_count:
        return [pa.array(axis) for axis in whole]
    present = column.is_valid().to_numpy(zero_copy_only=False)
    spread = np.zeros((len(AXES), len(column)), np.int32)
    spread[:, present] = whole
    return [pa.array(axis, mask=~present) for axis in spread]


def _points(held: pa.BinaryArray) -> npt.NDArray[np.float64]:
    """The coordinates, an axis a row; NaN where the bytes are no point."""
    ends, data = _buffers(held)
    lengths = np.diff(ends)
    points = np.full((len(AXES), len(held)), np.nan)
    for length, kind in _KINDS.items():
        chosen = lengths == length
        if chosen.all():
            points[:] = _coordinates(data[ends[0] : ends[-1]].view(kind))
        elif chosen.any():
            bytes_of_each = data[ends[:-1][chosen][:, None] + np.arange(length)]
            points[:, chosen] = _coordinates(bytes_of_each.reshape(-1).view(kind))
    return points


def _coordinates(records: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    point = np.stack([records[axis] for axis in AXES])
    wrong = (records["order"] != 1) | (records["type"] != _TYPES[records.dtype.itemsize])
    if wrong.any():
        point[:, wrong] = np.nan
    return point


def _buffers(held: pa.BinaryArray) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Where the values begin and end, and their bytes."""
    _, offsets, data = held.buffers()
    ends = np.frombuffer(offsets, np.int32, len(held) + 1, held.offset * 4) if offsets else np.zeros(1, np.int32)
    return ends, np.frombuffer(data, np.uint8) if data else np.zeros(0, np.uint8)


def _id_of(column: pa.BinaryArray, ids: pa.Array | None, position: int) -> Any:
    """The id of the row that holds the point of that position among those that are not null."""
    row = int(np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))[position])
    return ids[row].as_py() if ids is not None else None


def _refusal(value: bytes, name: str, row: Any) -> Invalid:
    kind = int.from_bytes(value[1:5], "little")
    if value[:1] == b"\x01" and kind == _TYPES.get(len(value)):
        why = f"lies at {struct.unpack('<3d', value[-_POINT_BYTES:])}, which is no voxel"
    elif value[:1] == b"\x00":
        why = "is big-endian"
    else:
        why = f"is a geometry of type {kind:#010x} in {len(value)} bytes"
    where = "" if row is None else f" of the row with id {row}"
    expected = "a little-endian EWKB POINT Z of whole numbers of 32 bits"
    return Invalid(f"the point{where} {why}", field=name, value=value[:48].hex(), expected=expected)


class Extent:
    """Count, minimum, maximum and sum of each axis, taken from the bytes as the server sent them.

    It looks at the last 24 bytes of a value and at nothing else, and shares no code with `voxels`: what this says is
    the proof of what that answered. Sums are whole while fewer than 2^22 points of 32 bits are added at once.
    """

    def __init__(self) -> None:
        self.count = 0
        self.minimum: list[Any] = [None] * len(AXES)
        self.maximum: list[Any] = [None] * len(AXES)
        self.total: list[Any] = [None] * len(AXES)

    def add(self, column: pa.BinaryArray) -> None:
        held = column.drop_null()
        if not len(held):
            return
        sizes = pc.unique(pc.binary_length(held)).to_pylist()
        if len(sizes) == 1:
            fixed = held.cast(pa.binary(sizes[0]))
            kind = np.dtype([("header", f"V{sizes[0] - _POINT_BYTES}"), ("point", "<f8", len(AXES))])
            points = np.frombuffer(fixed.buffers()[1], kind, len(fixed), fixed.offset * sizes[0])["point"]
        else:
            points = np.array([struct.unpack("<3d", value[-_POINT_BYTES:]) for value in held.to_pylist()])
        axes = np.ascontiguousarray(points.T)
        low, high, total = ([int(each) for each in of] for of in (axes.min(axis=1), axes.max(axis=1), axes.sum(axis=1)))
        if self.count:
            low, high = list(map(min, low, self.minimum)), list(map(max, high, self.maximum))
            total = list(map(add, total, self.total))
        self.count += len(held)
        self.minimum, self.maximum, self.total = low, high, total
