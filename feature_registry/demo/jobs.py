"""Does the seven jobs one after the other, through links, and prints a block for each.

The bytes come from where they are known: plans, grants, and the file server's own log.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from feature_registry.client import FeatureRegistry, HttpService
from feature_registry.demo import use_cases
from feature_registry.demo.cortex import DATASTACK, LATEST
from feature_registry.model import Plan, PlanRequest

FIXED = 2  # the materialization version of the jobs that ask for one
HEAD = 5  # rows of an answer that are shown
SETTLED_WITHIN = 5  # seconds; the server logs a response after the reader has its last byte
Done = tuple[pl.DataFrame, int, Mapping[str, int]]  # the head of an answer or all of it, its rows, what else to say
Job = Callable[[FeatureRegistry], Done]


class Meter(HttpService):
    """The registry over HTTP, remembering what was planned."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.plans: list[Plan] = []

    def plan(self, request: PlanRequest) -> Plan:
        plan = super().plan(request)
        if plan.grant is not None:
            self.plans.append(plan)
        return plan

    def charged(self) -> int:
        return sum(self.grant(plan.grant.id).charged for plan in self.plans if plan.grant)


@dataclass(frozen=True)
class Measured:
    """What one job cost. `sent` are the file server's bytes, `charged` those of the plans' grants."""

    plans: list[Plan]
    sent: int
    charged: int
    seconds: float

    def figures(self) -> dict[str, str]:
        kept, known = (sum(getattr(plan.cost, name) for plan in self.plans) for name in ("files", "files_total"))
        total = {plan.entry.version.id: plan.cost.bytes_total for plan in self.plans}  # of each table once
        verdict = "as charged" if self.sent == self.charged else "NOT AS CHARGED"
        return {
            "files planned": f"{kept} of {known}, in {len(self.plans)} plan{'s' * (len(self.plans) > 1)}",
            "bytes planned": f"{sum(p.cost.bytes for p in self.plans):,} of {sum(total.values()):,} in total",
            "bytes that the file server sent": f"{self.sent:,}",
            "bytes charged": f"{self.charged:,} ({verdict})",
            "seconds": f"{self.seconds:.2f}",
        }


def main(address: str, log: Path) -> int:
    """The exit code: 0 if the bytes charged are the bytes sent, in every job."""
    jobs: list[tuple[str, int | None, Job]] = [  # joins go by one version for all tables
        (f"the entire synapse table of version {FIXED}, downloaded", FIXED, _download),
        (f"synapses of proofread axons of version {FIXED}, with two features", FIXED, _synapses),
        ("nucleus folding of two cell types, latest version, in DuckDB", None, _folding),
        ("SegCLR embeddings of presynaptic sites of proofread cells, in batches", LATEST, _embeddings),
        ("the synapses most like a given one, by the cosine of their embeddings", LATEST, _whole(use_cases.use_case_5)),
        ("heat kernel signatures of both sides of every synapse", LATEST, _signatures),
        (
            f"spines within {use_cases.NEAR_SOMA} nm of the soma, on excitatory cells",
            LATEST,
            _whole(use_cases.use_case_7),
        ),
    ]
    agreed = True
    for number, (title, mat_version, job) in enumerate(jobs, 1):
        meter = Meter(address)
        (frame, rows, notes), measured = _measured(meter, log, job, mat_version)
        said = {"rows": f"{rows:,}", **{name: f"{count:,}" for name, count in notes.items()}, **measured.figures()}
        _block(f"use case {number}: {title}", frame, said)
        agreed &= measured.sent == measured.charged
    print("\nPolars asks for the end of each file first, 256 KiB; a read of nearly all of it asks for that part twice.")
    if not agreed:
        print("\nSome bytes were sent that were not charged, or charged that were not sent.")
    return 0 if agreed else 1


def _measured(meter: Meter, log: Path, job: Job, mat_version: int | None) -> tuple[Done, Measured]:
    offset, begun = log.stat().st_size, time.perf_counter()
    done = job(FeatureRegistry(DATASTACK, mat_version, server=meter))
    seconds = time.perf_counter() - begun
    until = time.monotonic() + SETTLED_WITHIN
    while (sent := _sent_since(log, offset)) != (charged := meter.charged()) and time.monotonic() < until:
        time.sleep(0.1)
    return done, Measured(meter.plans, sent, charged, seconds)


def _sent_since(log: Path, offset: int) -> int:
    """Bytes of files that the server sent, by the lines of its log after `offset`."""
    with log.open("rb") as lines:
        lines.seek(offset)
        return sum(line["bytes"] for line in map(json.loads, lines) if line["status"] in (200, 206))


def _block(title: str, frame: pl.DataFrame, figures: Mapping[str, str]) -> None:
    """One job: the head of its answer and its figures."""
    width = max(map(len, figures))
    with pl.Config(tbl_rows=HEAD, tbl_cols=7, tbl_hide_dataframe_shape=True, fmt_str_lengths=30, tbl_width_chars=118):
        print(f"\n{title}", frame.head(HEAD), sep="\n")
    print(*(f"  {name:<{width}}  {figure}" for name, figure in figures.items()), sep="\n", flush=True)


# ----------------------------------------------------------------------------------------------------- the seven


def _whole(job: Callable[[FeatureRegistry], pl.DataFrame]) -> Job:
    def done(registry: FeatureRegistry) -> Done:
        frame = job(registry)
        return frame, frame.height, {}

    return done


def _download(registry: FeatureRegistry) -> Done:
    with tempfile.TemporaryDirectory() as folder:
        frame = pl.read_parquet(use_cases.use_case_1(registry, Path(folder)))
    shown = frame.select("id", "size", "pre_pt_root_id", "post_pt_root_id")
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
    head, heights, alone = pl.DataFrame(), [], 0
    for batch in use_cases.use_case_4(registry):
        head = batch.head() if head.is_empty() else head
        heights.append(batch.height)
        alone += batch["distance"].null_count()
    notes = {"batches": len(heights), "rows of the largest": max(heights), "sites without an embedding": alone}
    return head, sum(heights), notes


def _signatures(registry: FeatureRegistry) -> Done:
    frame = use_cases.use_case_6(registry)
    notes = {f"without {side}_*": frame[f"{side}_hks_0"].null_count() for side in ("pre", "post")}
    return frame.select("id", "pre_hks_0", "pre_hks_1", "post_hks_0", "post_hks_1"), frame.height, notes


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
