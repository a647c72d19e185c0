"""What links refuse: their end, the end of a signature behind them, and bytes that were not asked for through them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx

from feature_registry.client import FeatureRegistry

SIGNATURE_SECONDS = 2  # of the server that this is shown on
ASKED, ALTERED = "bytes=0-99", "bytes=0-199"
SOON = 1 / 3600  # hours


def refusals(registry: FeatureRegistry) -> Iterator[tuple[str, int, int]]:
    """What was tried, the status that answered it, and the status that it should be."""
    table = registry.table("nucleus_detection")
    link = table.plan(columns=["id"]).urls[0]
    short = table.plan(columns=["id"], hours=SOON).urls[0]
    with httpx.Client() as http:
        signed = http.get(link, headers={"Range": ASKED}).headers["Location"]
        signed_at = time.monotonic()

        def read(byte_range: str) -> int:
            return http.get(signed, headers={"Range": byte_range}).status_code

        yield f"the signed URL behind a link, asked for {ASKED}", read(ASKED), 206
        yield f"its range altered to {ALTERED}", read(ALTERED), 403
        time.sleep(max(0.0, SIGNATURE_SECONDS + 1 - (time.monotonic() - signed_at)))
        yield f"its own range, {SIGNATURE_SECONDS} s later: expired", read(ASKED), 403
        yield "the link once more: it signs anew", http.get(link, headers={"Range": ASKED}).status_code, 307
        yield "a link whose grant was for 1 s: expired", http.get(short, headers={"Range": ASKED}).status_code, 403
