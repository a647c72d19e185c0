"""Does the seven jobs one after the other, through links, and prints a block for each."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from feature_registry.client import FeatureRegistry
from feature_registry.demo import use_cases
from feature_registry.demo.cortex import DATASTACK, LATEST
from feature_registry.demo.report import Meter, block, say

FIXED = 2  # the materialization version of the jobs that ask for one
Done = tuple[pl.DataFrame, int, Mapping[str, int]]  # the head of an answer or all of it, its rows, what else to say


def main() -> int:
    """The exit code: 0 if the bytes charged are the bytes sent, in every job."""
    parser = argparse.ArgumentParser(prog="python -m feature_registry.demo.jobs", description=__doc__)
    parser.add_argument("--server", required=True, help="address of the registry's API")
    parser.add_argument("--log", required=True, type=Path, help="access log of the file server")
    given = parser.parse_args()
    meter = Meter(given.server, given.log)
    fixed = FeatureRegistry(DATASTACK, mat_version=FIXED, server=meter)
    latest = FeatureRegistry(DATASTACK, mat_version="latest", server=meter)
    newest = FeatureRegistry(DATASTACK, mat_version=LATEST, server=meter)  # for joins: one version for all tables
    jobs: list[tuple[str, FeatureRegistry, Callable[[FeatureRegistry], Done]]] = [
        (f"the entire synapse table of version {FIXED}, downloaded", fixed, _download),
        (f"synapses of proofread axons of version {FIXED}, with two features", fixed, _synapses),
        ("nucleus folding of two cell types, latest version, in DuckDB", latest, _folding),
        ("SegCLR embeddings of presynaptic sites of proofread cells, in batches", newest, _embeddings),
        ("the synapses most like a given one, by the cosine of their embeddings", newest, _similar),
        ("heat kernel signatures of both sides of every synapse", newest, _signatures),
        (f"spines within {use_cases.NEAR_SOMA} nm of the soma, on excitatory cells", newest, _spines),
    ]
    agreed = True
    for number, (title, registry, job) in enumerate(jobs, 1):
        with meter.measured() as measured:
            frame, rows, notes = job(registry)
        block(f"use case {number}: {title}", frame, rows, measured, notes)
        agreed &= measured.agree
    say("\nPolars asks for the end of each file first, 256 KiB; a read of nearly all of it asks for that part twice.")
    if not agreed:
        say("\nSome bytes were sent that were not charged, or charged that were not sent.")
    return 0 if agreed else 1


def _download(registry: FeatureRegistry) -> Done:
    with tempfile.TemporaryDirectory() as folder:
        files = use_cases.use_case_1(registry, Path(folder))
        frame = pl.read_parquet(files)
    shown = frame.select("id", "created", "size", "pre_pt_root_id", "post_pt_root_id")
    return shown, frame.height, {"columns": frame.width}


def _synapses(registry: FeatureRegistry) -> Done:
    frame, lacking = use_cases.use_case_2(registry)
    chosen = frame.select("id", "pre_pt_root_id", "post_pt_root_id", "size", "distance_to_post_soma", "bouton_volume")
    return chosen, frame.height, lacking


def _folding(registry: FeatureRegistry) -> Done:
    frame = use_cases.use_case_3(registry)
    resolved = registry.table("soma_nucleus_features").entry.version.mat_version
    return frame, frame.height, {"the latest version is": resolved or 0}


def _embeddings(registry: FeatureRegistry) -> Done:
    head, rows, batches, alone, largest = pl.DataFrame(), 0, 0, 0, 0
    for batch in use_cases.use_case_4(registry):
        head = batch.head() if head.is_empty() else head
        rows, batches = rows + batch.height, batches + 1
        alone += batch["distance"].null_count()
        largest = max(largest, batch.height)
    return head, rows, {"batches": batches, "rows of the largest": largest, "sites without an embedding": alone}


def _similar(registry: FeatureRegistry) -> Done:
    frame = use_cases.use_case_5(registry)
    return frame, frame.height, {}


def _signatures(registry: FeatureRegistry) -> Done:
    frame = use_cases.use_case_6(registry)
    notes = {f"without {side}_*": frame[f"{side}_hks_0"].null_count() for side in ("pre", "post")}
    return frame.select("id", "pre_hks_0", "pre_hks_1", "post_hks_0", "post_hks_1"), frame.height, notes


def _spines(registry: FeatureRegistry) -> Done:
    frame = use_cases.use_case_7(registry)
    return frame, frame.height, {}


if __name__ == "__main__":
    sys.exit(main())
