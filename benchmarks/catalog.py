"""The catalog at scale: 10,000 tables of 20 columns at 10 materialization versions each, in SQLite.

Filled by the functions that a registration writes with (event, schema, manifest, derivation), without files behind
them and many registrations in a transaction. Then, in this process: the entry of an exact and of a latest reference,
all tables at one version page by page (pages never seen before, and the same ones again), full text with filters; the
same lookup over HTTP; and through a Dagster instance that was told of some of the same tables.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import tempfile
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from pydantic_core import to_jsonable_python

from benchmarks.figures import figure, preamble, size_argument
from benchmarks.servers import running
from feature_registry.catalog import entries, events
from feature_registry.catalog.changes import chunks
from feature_registry.catalog.manifests import keep_all
from feature_registry.client.http import HttpService
from feature_registry.formats import Inspected
from feature_registry.formats._manifests import encoded
from feature_registry.location import Location
from feature_registry.model import (
    CheckResult,
    Column,
    FeatureTable,
    Inspection,
    MaterializationVersion,
    Owner,
    Producer,
    Search,
    SegmentationNode,
    StoredField,
    TableVersion,
)
from feature_registry.registry import Registry, manifests
from feature_registry.registry import registration as registering
from feature_registry.settings import Settings

T = TypeVar("T")

TABLES, MAT_VERSIONS, COLUMNS = 10_000, 10, 20
TOLD = 200  # tables of which Dagster is told: it takes 50 to 100 materializations a second
AT_ONCE = 50  # tables registered in one transaction
CALLS = 400
DATASTACK = "bench"
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
LIMITS = {"lookup_ms": 1, "list_ms": 5, "search_ms": 20, "http_lookup_ms": 5}
WORDS = """
    synapse spine soma nucleus axon dendrite bouton cleft vesicle mitochondrion myelin glia astrocyte microglia
    pyramidal basket chandelier martinotti layer depth volume area length radius curvature thickness distance
    density count score probability embedding cluster type class label proofread skeleton mesh branch tip root
    angle orientation position center boundary shape texture intensity heat kernel signature spectrum moment
""".split()  # noqa: SIM905

COMMON = " and ubiquitous"  # nine of ten descriptions end with it
PARENT = "synapses"  # what most are computed from; those of these tags are computed from nothing
ROOTS = ("synapse", "spine")


def tables(count: int) -> Iterator[FeatureTable]:
    """Their words are drawn from few, so that some are in thousands of documents; `rare_N` is in one alone."""
    chance = random.Random(0)
    for number in range(count):
        said = {"id": Column("The row."), "pt_root_id": Column("The cell.", kind=SegmentationNode(level="root_id"))}
        for at in range(COLUMNS - len(said)):
            words = chance.sample(WORDS, 6)
            said[f"{words[0]}_{words[1]}_{at}"] = Column(f"The {' '.join(words)} of the cell.", unit="um")
        yield FeatureTable(
            datastack=DATASTACK,
            name=f"{'_'.join(chance.sample(WORDS, 2))}_{number}",
            description=f"The {' '.join(chance.sample(WORDS, 8))}, as in rare{number}x{COMMON if number % 10 else ''}.",
            owner=Owner(team=f"team{number % 40}"),
            license="CC-BY-4.0",
            tags=tuple(chance.sample(WORDS, 3)),
            key=("id",),
            columns=said,
        )


def hashed(text: str, algorithm: Callable[..., Any] = hashlib.sha256) -> str:
    digest: str = algorithm(text.encode()).hexdigest()
    return digest


def schema_of(table: FeatureTable) -> dict[str, Any]:
    """The fields of an inspection that say what the columns are."""
    schema = pa.schema([(name, pa.int64() if name.endswith("id") else pa.float32()) for name in table.columns])
    fields = tuple(StoredField(name=field.name, type=str(field.type)) for field in schema)
    return {"fields": fields, "arrow_schema": encoded(schema)}


def inspection(table: FeatureTable, mat_version: int, columns: dict[str, Any]) -> tuple[Inspection, pa.Table]:
    """What would be seen of one Parquet file."""
    ref = f"{table.name}@{mat_version}"
    size, rows = 1_000_000 + zlib.crc32(ref.encode()) % 100_000, 10_000 + mat_version
    marks = {"checksum": [f"sha256:{hashed(ref)}"], "etag": [hashed(ref, hashlib.md5)]}
    manifest = pa.table({"path": [f"{mat_version}.parquet"], "size": [size], "rows": [rows]} | marks)
    seen = Inspection(
        location=Location(f"s3://bench/{DATASTACK}/{table.name}/{mat_version}"),
        format="parquet",
        **columns,
        rows=rows,
        bytes=size,
        files=1,
        fingerprint=f"sha256:{hashed(f'state of {ref}')}",
        content=manifests.content(manifest),
    )
    return seen, manifest


def checks(table: FeatureTable, mat_version: int, seen: Inspection) -> tuple[CheckResult, ...]:
    """As a registration from outside has them."""
    columns = {"missing": [], "differing": {}, "undeclared": []}
    before = "no earlier version" if mat_version == 1 else f"as {DATASTACK}/{table.name}@{mat_version - 1}.0"
    counts = {"rows": seen.rows, "duplicates": 0, "nulls": 0}
    found: list[tuple[str, bool, str, dict[str, Any]]] = [
        ("exists", False, f"1 files, {seen.bytes} bytes", {}),
        ("format", False, "parquet", {}),
        ("schema", True, f"{len(seen.fields)} columns as declared", columns),
        ("location", False, "", {}),
        ("schema_change", False, before, {}),
        ("key", False, f"unique over {seen.rows} rows", counts),
        ("mat_version", False, "valid", {}),
        ("name", True, "no table of CAVE's has it", {}),
        ("world_readable", False, "not everybody may read the files", {}),
        ("type_traps", False, "every reader takes every type", {}),
        ("license", False, str(table.license), {}),
    ]
    return tuple(
        CheckResult(name=name, outcome="passed", blocking=blocking, message=message, details=details)
        for name, blocking, message, details in found
    )


def version(table: FeatureTable, mat_version: int, seen: Inspection) -> TableVersion:
    return TableVersion(
        id=str(uuid.UUID(hashed(str(seen.location))[:32], version=4)),
        datastack=table.datastack,
        name=table.name,
        mat_version=mat_version,
        revision=0,
        inspection=seen,
        producer=Producer(
            pipeline=f"dagster:{DATASTACK}/{table.name}",
            code_version=hashed(f"code {mat_version // 10}")[:40],
            model=f"{table.tags[0]}-{mat_version // 20}.1",
            config=hashed(f"config {mat_version // 10}")[:16],
            run_id=str(uuid.UUID(hashed(f"run {seen.location}")[:32], version=4)),
        ),
        derived_from=() if table.tags[0] in ROOTS else (f"{DATASTACK}/{PARENT}@{mat_version}.0",),
        checks=checks(table, mat_version, seen),
        created_at=datetime.now(UTC),
        created_by="bench",
    )


def fill(registry: Registry, described: Iterable[FeatureTable], mat_versions: int, at_once: int = AT_ONCE) -> None:
    about: dict[str, Any] = {"by": "bench", "datastack": DATASTACK}
    registry.record_versions(
        MaterializationVersion(datastack=DATASTACK, mat_version=at, time_stamp=FIRST + timedelta(days=7 * at))
        for at in range(1, mat_versions + 1)
    )
    for some in chunks(described, at_once):
        with registry.database.write() as connection:
            news = []
            for table in some:
                details = table.model_dump(mode="json", exclude={"datastack", "name"})
                news.append(events.new("described", **about, name=table.name, details=details))
                columns = schema_of(table)
                schema_id, kept = "", dict[str, Any]()
                for mat_version in range(1, mat_versions + 1):
                    seen, manifest = inspection(table, mat_version, columns)
                    made, files = version(table, mat_version, seen), manifests.encoded(Inspected(seen, manifest))
                    if not schema_id:
                        schema_id = manifests.schema_id(seen)
                        entries.keep_schema(connection, schema_id, to_jsonable_python(seen.fields), seen.arrow_schema)
                    kept[made.id] = files
                    news.append(registering.registered(made, schema_id))
                    news.append(events.new("published", **about, name=table.name, version_id=made.id))
                keep_all(connection, kept)
            events.record_all(connection, news)


def timings(call: Callable[[T], object], asked: Iterable[T]) -> list[float]:
    """Milliseconds of each call."""
    spent = []
    for each in asked:
        start = time.perf_counter()
        call(each)
        spent.append(1000 * (time.perf_counter() - start))
    return spent


def shown(name: str, spent: list[float]) -> float:
    """Prints and answers the median."""
    middle = statistics.median(spent)
    high = sorted(spent)[int(0.95 * len(spent))]
    print(f"  {name:<44}{middle:8.2f} ms (p95 {high:.2f}, n={len(spent)})", flush=True)
    return middle


def references(names: list[str], count: int = CALLS) -> list[str]:
    """Of random tables, exact and latest ones in turn."""
    chance = random.Random(1)
    ends = ("", f"@{MAT_VERSIONS // 2}")
    return [f"{DATASTACK}/{chance.choice(names)}{ends[at % 2]}" for at in range(count)]


def walk(registry: Registry, mat_version: int) -> list[float]:
    """All pages of what there is at one version."""
    spent, after = [], None
    while True:
        start = time.perf_counter()
        page = registry.search(Search(mat_version=mat_version, limit=100, after=after))
        spent.append(1000 * (time.perf_counter() - start))
        after = page.next
        if after is None:
            return spent


def again(registry: Registry, mat_version: int) -> list[float]:
    """Five pages, the third of them in the middle, many times."""
    after: str | None = None
    ends = []
    while True:
        ends.append(after)
        after = registry.search(Search(mat_version=mat_version, limit=100, after=after)).next
        if after is None:
            break
    chosen = [ends[at * (len(ends) - 1) // 4] for at in range(5)]
    wanted = [Search(mat_version=mat_version, limit=100, after=after) for after in chosen] * 20
    return timings(registry.search, wanted)


def searches(names: list[str]) -> dict[str, list[Search]]:
    chance = random.Random(2)
    numbers = [name.rsplit("_", 1)[1] for name in chance.sample(names, min(50, len(names)))]
    common = [Search(text=word, mat_version=3) for word in WORDS[:50]]
    filtered = [
        Search(text=f"{word} {word[:3]}", mat_version=7, owner=f"team{at % 40}", column="pt_root_id", unit="um")
        for at, word in enumerate(WORDS[:50])
    ]
    return {
        "one word, in one table": [Search(text=f"rare{number}x", mat_version=2) for number in numbers],
        "one word, in most tables": common,
        "two words, owner, column, unit, version": filtered,
        "two words, latest, owner": [
            Search(text=f"{word} dist", mat_version="latest", owner=f"team{at % 40}", license="CC-BY-4.0")
            for at, word in enumerate(WORDS[:50])
        ],
        "no match": [Search(text=f"nothing{number}", mat_version=2) for number in numbers],
    }


def dagster(folder: Path, described: list[FeatureTable]) -> None:
    """The same questions to an event log that was told of the same materializations. Loaded here: its two million
    objects would slow whatever is measured in this process before it.
    """
    import dagster as dg
    from dagster._core.instance.ref import InstanceRef

    folder.mkdir()
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder))) as instance:
        start = time.perf_counter()
        for table in described:
            schema = dg.TableSchema([dg.TableColumn(name) for name in table.columns])
            for at in range(1, MAT_VERSIONS + 1):
                told = dg.AssetMaterialization(
                    [DATASTACK, table.name], partition=str(at), metadata={"dagster/column_schema": schema}
                )
                instance.report_runless_asset_event(told)
        count = len(described) * MAT_VERSIONS
        print(f"Dagster's instance (SQLite), {len(described)} tables")
        print(f"  {'reported':<44}{count / (time.perf_counter() - start):8.0f} materializations/s")

        def exact(name: str) -> object:
            wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey([DATASTACK, name]), asset_partitions=["5"])
            return instance.fetch_materializations(wanted, limit=1).records[0]

        def listed(_: int) -> list[object]:
            return [exact(key.path[-1]) for key in instance.all_asset_keys()]

        chance = random.Random(1)
        chosen = [chance.choice(described).name for _ in range(CALLS // 2)]
        lookup = shown("lookup, exact", timings(exact, chosen))
        whole = shown("all tables at one version, one by one", timings(listed, range(5)))
        print(f"  {'  a table':<44}{whole / len(described):8.2f} ms, {whole / len(described) * TABLES / 1000:.0f} s")
        figure("catalog", "dagster_lookup_ms", lookup)


def main() -> None:
    count = size_argument(TABLES)
    preamble("catalog", f"{count:,} tables x {MAT_VERSIONS} versions x {COLUMNS} columns", "sqlalchemy", "pydantic")
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary, "registry")
        registry = Registry(Settings(home=home))
        start = time.perf_counter()
        fill(registry, tables(count), MAT_VERSIONS)
        rate = count * MAT_VERSIONS / (time.perf_counter() - start)
        size = (home / "catalog.db").stat().st_size / 2**20
        print(f"filled at {rate:.0f} registrations/s, {size:.0f} MiB")
        measured = {"fill_per_s": rate} | measure(registry, home, [table.name for table in tables(count)])
        registry.close()
        dagster(Path(temporary, "dagster"), list(tables(min(TOLD, count))))
    for key, value in measured.items():
        figure("catalog", key, value, LIMITS.get(key))


def measure(registry: Registry, home: Path, names: list[str]) -> dict[str, float]:
    refs = references(names)
    registry.describe(refs[0])
    print("in process")
    figures = {"lookup_ms": shown("lookup", timings(registry.describe, refs))}
    walked = [walk(registry, at) for at in (1, MAT_VERSIONS)]
    every = [spent for pages in walked for spent in pages]
    figures["list_ms"] = shown("a page of 100 at one version, new each time", every)
    print(f"  {'first page, last page':<44}{walked[-1][0]:8.2f} ms, {walked[-1][-1]:.2f} ms")
    shown("the same pages again and again", again(registry, MAT_VERSIONS // 2))
    kinds = {name: timings(registry.search, wanted) for name, wanted in searches(names).items()}
    for name, spent in kinds.items():
        shown(f"search: {name}", spent)
    figures["search_ms"] = shown("search: all of these", [each for spent in kinds.values() for each in spent])
    with running(home, allowed=home) as servers:
        service = HttpService(servers.settings.api_address)
        service.describe(refs[0])
        figures["http_lookup_ms"] = shown("lookup over HTTP", timings(service.describe, refs))
        service.close()
    return figures


if __name__ == "__main__":
    main()
