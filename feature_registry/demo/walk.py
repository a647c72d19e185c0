"""`make demo`, step by step."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from feature_registry.client import FeatureRegistry
from feature_registry.demo import database, outside, pipeline
from feature_registry.demo.cortex import DATASTACK, VERSIONS, Size, build
from feature_registry.demo.refusals import SIGNATURE_SECONDS, refusals
from feature_registry.demo.report import say
from feature_registry.demo.servers import file_log, serving
from feature_registry.settings import Settings


def run() -> int:
    """The exit code: 0 if every job was done and every refusal was one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the servers are stopped
    begun = time.perf_counter()
    home = Settings().home.absolute()
    folder = database.folder()
    files = make(folder)
    materialize()
    with serving(home, folder) as address:
        say(f"\nThe API listens on {address}; tables from other labs are registered there:")
        register(address, files)
        jobs = work(address, home)
    refused = refuse(home, folder)
    say(f"\nDone in {time.perf_counter() - begun:.0f} s. The catalog and the tables are in {home}.")
    say("`make serve` shows them: the Dagster UI, the API and the file server.")
    return jobs or refused


def make(folder: Path) -> Path:
    """Where the other labs' tables are."""
    begun = time.perf_counter()
    size = Size()
    say(f"A synthetic cortex: {size.cells} cells, {size.synapses:,} synapses, seed {size.seed}")
    cortex = build(size)
    written = [*(path.name for path in database.write(folder, cortex)), *outside.write(folder, cortex)]
    say(f"  {', '.join(written) or 'its files were there already'} ({time.perf_counter() - begun:.1f} s)")
    return outside.folder_of(folder, cortex)


def materialize() -> None:
    say("\nDagster makes the feature tables and registers them:")
    with pipeline.open_instance() as instance:
        for made in pipeline.materialize(VERSIONS, instance):
            how = "made by this code already, skipped" if made.skipped else f"{made.seconds:.1f} s"
            say(f"  version {made.mat_version}: {len(made.tables)} tables, {made.rows:,} rows ({how})")


def register(address: str, files: Path) -> None:
    for report in outside.register(FeatureRegistry(DATASTACK, server=address), files):
        seen = report.entry.version.inspection
        news = "registered" if report.created else "was registered already"
        say(f"  {report.ref}: {seen.rows:,} rows of {seen.format}, {news}")


def work(address: str, home: Path) -> int:
    """The jobs, in a process of their own that knows nothing but the address (and the log, to count the bytes)."""
    command = [sys.executable, "-m", "feature_registry.demo.jobs", "--server", address]
    command += ["--log", str(file_log(home))]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - nobody else's words


def refuse(home: Path, folder: Path) -> int:
    say(f"\nWhat is refused, on a server whose signatures last {SIGNATURE_SECONDS} s:")
    failed = 0
    with serving(home, folder, signature_seconds=SIGNATURE_SECONDS) as address:
        for tried, status, expected in refusals(FeatureRegistry(DATASTACK, server=address)):
            say(f"  {status}  {tried}" + ("" if status == expected else f"   SHOULD BE {expected}"))
            failed += status != expected
    return min(failed, 1)
