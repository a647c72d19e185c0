"""`make demo`, step by step."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from feature_registry.cli.supervisor import file_log, serving
from feature_registry.client import FeatureRegistry
from feature_registry.demo import database, outside, pipeline
from feature_registry.demo.cortex import DATASTACK, RESOLUTION, VERSIONS, Size, build
from feature_registry.demo.refusals import SIGNATURE_SECONDS, refusals
from feature_registry.settings import Settings

NEAR = 20_000  # nm
say = partial(print, flush=True)


def run() -> int:
    """The exit code: 0 if every job was done and every refusal was one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the jobs are stopped too
    begun = time.perf_counter()
    folder = database.folder()
    files = make(folder)
    materialize()
    settings = Settings(port=0, file_port=0, allowed_prefixes=(str(folder),))
    with serving(settings) as (registry, _):
        served = registry.settings
        say(f"\nThe API listens on {served.api_address}; tables from other labs are registered there:")
        register(served.api_address, files)
        arrange(served.api_address)
        jobs = work(served)
    refused = refuse(settings.model_copy(update={"signature_seconds": SIGNATURE_SECONDS}))
    say(f"\nDone in {time.perf_counter() - begun:.0f} s. The catalog and the tables are in {settings.home.absolute()}.")
    say("`make serve` shows them: the Dagster UI, the API and the file server.")
    return jobs or refused


def make(folder: Path) -> Path:
    """Where the other labs' tables are."""
    begun = time.perf_counter()
    size = Size()
    say(f"A synthetic cortex: {size.cells} cells, {size.synapses:,} synapses, seed {size.seed}")
    with ThreadPoolExecutor(1) as beside:
        beside.submit(database.server, folder)  # PostgreSQL takes seconds to begin
        cortex = build(size)
        written = outside.write(folder, cortex)
    written += database.write(folder, cortex)
    say(f"  {', '.join(written) or 'its files were there already'} ({time.perf_counter() - begun:.1f} s)")
    return outside.folder_of(folder, cortex)


def materialize() -> None:
    say("\nDagster makes the feature tables and registers them:")
    with pipeline.open_instance() as instance:
        for made in pipeline.materialize(VERSIONS, instance):
            how = "made by this code already, skipped" if made.skipped else f"{made.seconds:.1f} s"
            files = "" if made.version.parent is None else f", in the files of {made.version.parent}: no byte is copied"
            version = f"{made.version.datastack}, version {made.version.mat_version}"
            say(f"  {version}: {len(made.tables)} tables, {made.rows:,} rows{files} ({how})")


def register(address: str, files: Path) -> None:
    for report in outside.register(FeatureRegistry(DATASTACK, server=address), files):
        seen = report.entry.version.inspection
        news = "registered" if report.created else "was registered already"
        say(f"  {report.ref}: {seen.rows:,} rows of {seen.format}, {news}")


def arrange(address: str) -> None:
    """Which layout a plan reads, and what the others would cost; nothing is read."""
    registry = FeatureRegistry(DATASTACK, server=address)
    nuclei = registry.table("nucleus_detection").scan(where=[("pt_root_id", "!=", 0)])
    nucleus = nuclei.sort("id").collect().row(0, named=True)
    around = [
        (f"ctr_pt_position_{axis}", sign, nucleus[f"pt_position_{axis}"] + reach * NEAR // nm)
        for axis, nm in zip("xyz", RESOLUTION.tolist(), strict=True)
        for sign, reach in ((">=", -1), ("<=", 1))
    ]
    wanted = {
        "all inputs of a cell": [("post_pt_root_id", "==", nucleus["pt_root_id"])],
        "all outputs of a cell": [("pre_pt_root_id", "==", nucleus["pt_root_id"])],
        f"all synapses within {NEAR // 1000} um of a nucleus, along each axis": around,
    }
    say("\nEvery layout of the synapses holds all rows; a plan picks the one that costs least:")
    for what, where in wanted.items():
        why = registry.table("synapses").plan(where=where, dry_run=True).why
        say(f"  {what}", *(f"    {line}" for line in why if line.startswith("layout ")), sep="\n")


def work(served: Settings) -> int:
    """The jobs, in a process of their own that knows nothing but the address (and the log, to count the bytes)."""
    command = [sys.executable, "-m", "feature_registry.demo.jobs", served.api_address, str(file_log(served))]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - nobody else's words


def refuse(settings: Settings) -> int:
    say(f"\nWhat is refused, on a server whose signatures last {SIGNATURE_SECONDS} s:")
    failed = 0
    with serving(settings) as (registry, _):
        for tried, status, expected in refusals(FeatureRegistry(DATASTACK, server=registry.settings.api_address)):
            say(f"  {status}  {tried}" + ("" if status == expected else f"   SHOULD BE {expected}"))
            failed += status != expected
    return min(failed, 1)
