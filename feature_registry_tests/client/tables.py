"""Small tables in the shapes that readers meet, and what they hold."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import polars as pl

DATASTACK = "minnie65_public"
MAT_VERSION = 1507
ROOT = 864691135000000000  # beyond 2^53
SYNAPSES = 20_000
CELLS = 100
SAID: dict[str, Any] = {"description": "Made for tests.", "owner": "tests", "license": "CC-BY-4.0"}


def synapses() -> pl.DataFrame:
    """Sorted by the postsynaptic root; `target_id` has nulls."""
    number = pl.int_range(SYNAPSES, eager=True)
    return pl.DataFrame(
        {
            "id": number * 7 + ROOT,
            "post_pt_root_id": number // (SYNAPSES // CELLS) + ROOT,
            "size": (number * 37 % 1000).cast(pl.Int32),
            "score": (number % 97).cast(pl.Float32) / 97,
            "cell_type": ["23P" if each % 3 else "BC" for each in number],
            "target_id": pl.select(pl.when(number % 5 > 0).then(number + ROOT)).to_series(),
            "created": pl.select(pl.lit(datetime(2024, 1, 1, tzinfo=UTC)) + pl.duration(seconds=number))
            .to_series()
            .dt.cast_time_unit("us"),
        }
    )


def segclr() -> pl.DataFrame:
    """To be partitioned by `bucket`, which is `root_id % 4`, and by `region`, whose names are awkward, one null."""
    number = pl.int_range(2_000, eager=True)
    regions = ["V1", "a b/ü=1", None]
    return pl.DataFrame(
        {
            "root_id": number % 50 + ROOT,
            "embedding": pl.Series([[each / 10, 1.0] for each in number], dtype=pl.Array(pl.Float32, 2)),
            "bucket": (number % 50 + ROOT) % 4,
            "region": [regions[each % 50 % 3] for each in number],
        }
    )


def write_synapses(folder: Path, files: int = 4) -> Path:
    folder.mkdir(parents=True)
    frame = synapses()
    rows = SYNAPSES // files
    for number in range(files):
        frame.slice(number * rows, rows).write_parquet(folder / f"part-{number}.parquet", row_group_size=1_000)
    return folder


def write_segclr(folder: Path) -> Path:
    """A Hive-partitioned folder, as pyarrow writes it."""
    import pyarrow.dataset as ds
    from pyarrow import int64, large_string, schema

    partitioning = ds.partitioning(schema([("bucket", int64()), ("region", large_string())]), flavor="hive")
    ds.write_dataset(segclr().to_arrow(), folder, format="parquet", partitioning=partitioning)
    return folder


def write_parted_delta(folder: Path) -> Path:
    frame = segclr().with_columns(pl.col("embedding").arr.to_list())
    deltalake.write_deltalake(folder, frame.to_arrow(), partition_by=["bucket", "region"])
    return folder


def write_logical(folder: Path) -> Path:
    """Ids that are unsigned, in a format that has no unsigned integers."""
    deltalake.write_deltalake(folder, pl.DataFrame({"root_id": [5, ROOT, 2**63 - 1]}).to_arrow())
    return folder


def write_evolved(folder: Path) -> Path:
    """A Delta table whose older files lack a column."""
    deltalake.write_deltalake(folder, pl.DataFrame({"id": [ROOT, ROOT + 1]}).to_arrow())
    newer = pl.DataFrame({"id": [ROOT + 2], "volume": [0.5]})
    deltalake.write_deltalake(folder, newer.to_arrow(), mode="append", schema_mode="merge")
    return folder


def evolved() -> pl.DataFrame:
    return pl.DataFrame({"id": [ROOT, ROOT + 1, ROOT + 2], "volume": [None, None, 0.5]})
