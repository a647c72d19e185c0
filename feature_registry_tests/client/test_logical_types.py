"""Types that Delta lacks, written by our own format and read through links."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from feature_registry import formats
from feature_registry.client import FeatureRegistry
from feature_registry.errors import Invalid
from feature_registry.formats import WriteOptions
from feature_registry.location import Location
from feature_registry_tests.client.tables import DATASTACK, MAT_VERSION, ROOT, SAID
from feature_registry_tests.deployment import Deployment, deployed

TIMES = [datetime(2024, 3, 31, 1, 59, 59), None, datetime(1969, 12, 31, 23, 59, 59)]
SMALL = [1, None, 127]
HALVES = [0.5, None, -1.25]
LISTS = [[1, 2, 3], None, [4, 5, 6]]


def zoned(zone: str, unit: str = "us") -> pa.Array:
    return pa.array(TIMES, pa.timestamp(unit)).cast(pa.timestamp(unit, zone))


COLUMNS = {
    "string": pa.array(["a", None, "ü"], pa.string()),
    "large_string": pa.array(["a", None, "ü"], pa.large_string()),
    "uint8": pa.array(SMALL, pa.uint8()),
    "uint16": pa.array(SMALL, pa.uint16()),
    "uint32": pa.array([1, None, 2**32 - 1], pa.uint32()),
    "uint64": pa.array([ROOT, None, 2**63 - 1], pa.uint64()),
    "float16": pa.array(HALVES, pa.float16()),
    "timestamp[s]": pa.array(TIMES, pa.timestamp("s")),
    "timestamp[ms]": pa.array(TIMES, pa.timestamp("ms")),
    "timestamp[us]": pa.array(TIMES, pa.timestamp("us")),
    "timestamp[ns]": pa.array(TIMES, pa.timestamp("ns")),
    "UTC": zoned("UTC"),
    "Etc/UTC": zoned("Etc/UTC"),
    "ms of Etc/UTC": zoned("Etc/UTC", "ms"),
    "New York": zoned("America/New_York"),
    "+05:30": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None, None], pa.timestamp("us", "Asia/Kolkata")),
    "float[3]": pa.array(LISTS, pa.list_(pa.float32(), 3)),
    "int64[3]": pa.array([[ROOT, ROOT + 1, None], None, [1, 2, 3]], pa.list_(pa.int64(), 3)),
    "required[3]": pa.array([[1, 2, 3]] * 3, pa.list_(pa.field("element", pa.float64(), nullable=False), 3)),
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    root = tmp_path_factory.mktemp("logical")
    with deployed(root / "home", allowed_prefixes=(str(root / "lab"),)) as made:
        yield made


@pytest.fixture(params=["http", "embedded"])
def reader(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[FeatureRegistry]:
    server = deployment.settings.api_address if request.param == "http" else deployment.registry
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FEATURE_REGISTRY_HOME", str(deployment.settings.home))
        yield FeatureRegistry(DATASTACK, MAT_VERSION, server=server)


def registered(deployment: Deployment, reader: FeatureRegistry, data: pa.Table, options: WriteOptions) -> str:
    """The name of a Delta table with this content."""
    folder = deployment.settings.home.parent / "lab" / f"d{secrets.token_hex(6)}"
    location = Location(str(folder))
    store = deployment.registry.store(location)
    written = formats.get("delta").write(store, location, data.to_reader(), options)
    reader.register(folder, folder.name, logical_types=written.logical_types, publish=True, **SAID)
    return folder.name


@pytest.mark.parametrize("kind", COLUMNS)
def test_what_was_written_is_read(deployment: Deployment, reader: FeatureRegistry, kind: str) -> None:
    data = pa.table({"id": [0, 1, 2], "value": COLUMNS[kind]})
    source = pl.from_arrow(data)
    assert isinstance(source, pl.DataFrame)
    name = registered(deployment, reader, data, WriteOptions())
    assert reader[name].schema == source.schema
    assert_frame_equal(reader[name].to_polars(), source)
    assert_frame_equal(reader[name].to_polars(where=[("id", ">", 0)], columns=["value"]), source[1:, ["value"]])
    with reader.duckdb() as connection:
        promised = connection.sql(f"DESCRIBE {name}").fetchall()
        found = connection.sql(f"FROM {name} ORDER BY id").pl()
        assert connection.sql(f"DESCRIBE {name}").fetchall() == promised
    assert_frame_equal(found, source.with_columns(in_duckdb(source["value"])))


@pytest.mark.parametrize("kind", ["UTC", "Etc/UTC", "ms of Etc/UTC", "New York", "timestamp[s]", "timestamp[us]"])
def test_instants_are_compared_in_any_zone(deployment: Deployment, reader: FeatureRegistry, kind: str) -> None:
    name = registered(deployment, reader, pa.table({"id": [0, 1, 2], "value": COLUMNS[kind]}), WriteOptions())
    said = COLUMNS[kind][2].as_py()
    other = said if said.tzinfo is None else said.astimezone(timezone(timedelta(hours=3)))
    for where, ids in (
        ([("value", "==", other)], [2]),
        ([("value", ">", other)], [0]),
        ([("value", "in", [other])], [2]),
        (pl.col("value") == pl.lit(other).cast(reader[name].schema["value"]), [2]),
    ):
        assert reader[name].to_polars(where)["id"].to_list() == ids
        if isinstance(where, list):
            with reader.duckdb({name: where}) as connection:
                assert [row[0] for row in connection.sql(f"SELECT id FROM {name}").fetchall()] == ids
    naive = other.replace(tzinfo=None if other.tzinfo else UTC)
    with pytest.raises(Invalid) as wrong:
        reader[name].plan([("value", "<", naive)])
    assert wrong.value.field == "where.value"


def in_duckdb(values: pl.Series) -> pl.Series:
    """DuckDB has one type of instants, and no half floats."""
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        return values.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    return values.cast(pl.Float32) if values.dtype == pl.Float16 else values


def test_partitions_have_their_logical_types(deployment: Deployment, reader: FeatureRegistry) -> None:
    data = pa.table({"id": [0, 1, 2], "bucket": COLUMNS["uint16"]})
    name = registered(deployment, reader, data, WriteOptions(partition_by=("bucket",)))
    source = pl.from_arrow(data)
    assert isinstance(source, pl.DataFrame)
    assert_frame_equal(reader[name].to_polars().sort("id"), source)
    assert_frame_equal(reader[name].to_polars([("bucket", "==", 127)]), source[2:])
    with reader.duckdb() as connection:
        assert_frame_equal(connection.sql(f"FROM {name} ORDER BY id").pl(), source)
