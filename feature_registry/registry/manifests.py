"""Manifests as the catalog keeps them, and the schema of an inspection."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_registry.catalog import entries
from feature_registry.catalog.manifests import LARGE
from feature_registry.formats import Inspected
from feature_registry.model import Inspection


def encode(manifest: pa.Table) -> bytes:
    """An Arrow IPC stream. The catalog packs what small ones have in common, which is most of them."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd" if manifest.nbytes > LARGE else None)
    with pa.ipc.new_stream(sink, manifest.schema, options=options) as writer:
        writer.write_table(manifest.combine_chunks())
    return bytes(sink.getvalue())


def decode(content: bytes) -> pa.Table:
    return pa.ipc.open_stream(content).read_all()


def encoded(inspected: Inspected) -> dict[entries.ManifestPart, bytes]:
    """Each manifest of what was inspected, as the catalog keeps it."""
    files: dict[entries.ManifestPart, bytes] = {"files": encode(inspected.manifest)}
    return files if inspected.groups is None else {**files, "groups": encode(inspected.groups)}


def of_layout(manifest: pa.Table, inspection: Inspection, name: str) -> tuple[npt.NDArray[np.int64], pa.Table]:
    """The row numbers of a layout's files, ascending, and those rows; of the partition columns, only the layout's."""
    numbers = np.flatnonzero(pc.equal(manifest["layout"], name))
    kept = {f"partition.{column}" for column in inspection.of_layout(name).partition_columns}
    others = [column for column in manifest.column_names if column.startswith("partition.") and column not in kept]
    return numbers, manifest.drop_columns(others).take(pa.array(numbers))


def schema_id(inspection: Inspection) -> str:
    fields = [field.model_dump() for field in inspection.fields]
    content = json.dumps([fields, inspection.arrow_schema], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def content(manifest: pa.Table) -> str | None:
    """A hash of what the files hold; None where one of them has no checksum."""
    if manifest["checksum"].null_count:
        return None
    sums = manifest["checksum"].to_pylist()
    return f"sha256:{hashlib.sha256(' '.join(sorted(sums)).encode()).hexdigest()}"


def ranges(numbers: list[int]) -> str:
    """Ascending numbers as `0-3,7`."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)
