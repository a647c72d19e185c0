"""A table of synapses in several layouts, written by a format and ready to be registered."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from feature_registry import formats
from feature_registry.formats import WriteOptions
from feature_registry.location import Location
from feature_registry.model import HashBuckets, Layout, Registration
from feature_registry.storage import Store

ROWS = 8_000
CELLS = 100
BUCKETS = 4
ROOT = 864691135000000000  # beyond 2^53
POSITION = ("ctr_pt_position_x", "ctr_pt_position_y", "ctr_pt_position_z")
HASHED = HashBuckets(column="post_pt_root_id", partition_column="post_bucket", transform="modulo", buckets=BUCKETS)
LAYOUTS = (
    Layout(name="by_pre", sort_by=("pre_pt_root_id", "id")),
    Layout(name="by_post", sort_by=("post_pt_root_id", "id")),
    Layout(name="by_position", sort_by=POSITION, curve="morton"),
    Layout(name="bucketed", sort_by=("size",), hash_buckets=(HASHED,)),
)


def synapses() -> pl.DataFrame:
    """In no order; `tag` has nulls."""
    random = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "id": random.permutation(ROWS) + ROOT,
            "pre_pt_root_id": ROOT + random.integers(0, CELLS, ROWS) * 7,
            "post_pt_root_id": ROOT + random.integers(0, CELLS, ROWS) * 7,
            **{name: random.integers(0, 1_000, ROWS).astype(np.int32) for name in POSITION},
            "size": random.integers(1, 10_000, ROWS).astype(np.int32),
            "tag": [None if each % 5 == 0 else f"t{each % 3}" for each in range(ROWS)],
        }
    )


def write(store: Store, location: Location, layouts: tuple[Layout, ...] = LAYOUTS, format: str = "parquet") -> None:
    """Each layout into its folder, in files of some row groups of 200 rows."""
    frame = synapses()
    for layout in layouts:
        rows, parted = frame, tuple(each.partition_column for each in layout.hash_buckets)
        for each in layout.hash_buckets:
            rows = rows.with_columns((pl.col(each.column) % each.buckets).alias(each.partition_column))
        options = WriteOptions(
            partition_by=parted, sort_by=layout.sort_by, curve=layout.curve, bytes_per_file=20_000, rows_per_group=200
        )
        data = rows.to_arrow()
        reader = pa.RecordBatchReader.from_batches(data.schema, data.to_batches(max_chunksize=1_000))
        formats.get(format).write(store, location.joined(layout.name), reader, options)


def registration(location: Location, layouts: tuple[Layout, ...] = LAYOUTS, **said: Any) -> Registration:
    facts: dict[str, Any] = {"datastack": "minnie65_public", "name": "arranged", "mat_version": 1507, "publish": True}
    facts |= {"description": "Made for tests.", "owner": "tests", "license": "CC-BY-4.0", "key": ("id",)}
    return Registration(location=location, layouts=layouts, **(facts | said))
