"""What the demo prints, and where its numbers come from: plans, grants, and the file server's own log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from feature_registry.client import HttpService
from feature_registry.model import Plan, PlanRequest

HEAD = 5
SETTLED_WITHIN = 5  # seconds; the server logs a response after the reader has its last byte


@dataclass
class Measured:
    """Bytes of one job. `planned` is of its plans, `charged` of their grants, `sent` of the file server, and `total`
    of the tables that it planned, each once.
    """

    plans: list[Plan] = field(default_factory=list)
    sent: int = 0
    charged: int = 0
    seconds: float = 0.0

    @property
    def planned(self) -> int:
        return sum(plan.cost.bytes for plan in self.plans)

    @property
    def total(self) -> int:
        return sum({plan.entry.version.id: plan.cost.bytes_total for plan in self.plans}.values())

    @property
    def files(self) -> str:
        kept, known = (sum(getattr(plan.cost, name) for plan in self.plans) for name in ("files", "files_total"))
        plans = len(self.plans)
        return f"{kept} of {known}, in {plans} plan{'s' * (plans > 1)}"

    @property
    def agree(self) -> bool:
        return self.sent == self.charged


class Meter(HttpService):
    """The registry over HTTP, remembering what was planned."""

    def __init__(self, address: str, log: Path) -> None:
        super().__init__(address)
        self.plans: list[Plan] = []
        self._log = log

    def plan(self, request: PlanRequest) -> Plan:
        plan = super().plan(request)
        if plan.grant is not None:
            self.plans.append(plan)
        return plan

    @contextmanager
    def measured(self) -> Iterator[Measured]:
        """Fills in the figures of what is done inside."""
        self.plans = []
        offset, begun = self._log.stat().st_size, time.perf_counter()
        figures = Measured()
        yield figures
        figures.seconds = time.perf_counter() - begun
        figures.plans = self.plans
        until = time.monotonic() + SETTLED_WITHIN
        while True:
            figures.charged = sum(self.grant(plan.grant.id).charged for plan in self.plans if plan.grant)
            figures.sent = sent_since(self._log, offset)
            if figures.agree or time.monotonic() > until:
                return
            time.sleep(0.1)


def sent_since(log: Path, offset: int) -> int:
    """Bytes of files that the server sent, by the lines of its log after `offset`."""
    with log.open("rb") as lines:
        lines.seek(offset)
        return sum(line["bytes"] for line in map(json.loads, lines) if line["status"] in (200, 206))


def say(text: str = "") -> None:
    print(text, flush=True)


def block(title: str, frame: pl.DataFrame, rows: int, measured: Measured, notes: Mapping[str, Any]) -> None:
    """One job: the head of its answer and its figures."""
    say(f"\n{title}")
    with pl.Config(tbl_rows=HEAD, tbl_cols=7, tbl_hide_dataframe_shape=True, fmt_str_lengths=30, tbl_width_chars=118):
        say(str(frame.head(HEAD)))
    verdict = "as charged" if measured.agree else "NOT AS CHARGED"
    figures = {
        "rows": f"{rows:,}",
        **{name: f"{count:,}" for name, count in notes.items()},
        "files planned": measured.files,
        "bytes planned": f"{measured.planned:,} of {measured.total:,} in total",
        "bytes that the file server sent": f"{measured.sent:,}",
        "bytes charged": f"{measured.charged:,} ({verdict})",
        "seconds": f"{measured.seconds:.2f}",
    }
    width = max(map(len, figures))
    for name, figure in figures.items():
        say(f"  {name:<{width}}  {figure}")
