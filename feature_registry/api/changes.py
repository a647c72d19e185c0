"""The feed of changes. Whoever waits for the next one holds no thread, and all who wait ask the catalog together."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from feature_registry.api.people import Acting
from feature_registry.model import Changes
from feature_registry.registry import Registry
from feature_registry.registry.following import LONGEST_WAIT, MOST, PAUSE

router = APIRouter(tags=["changes"])


class Watch:
    """Looks at the catalog's newest number, while somebody waits, at one pace for all of them."""

    def __init__(self) -> None:
        self._look: asyncio.Task[int] | None = None

    async def newest(self, registry: Registry) -> int:
        """As it is after a pause."""
        look = self._look
        if look is None or look.done() or look.get_loop() is not asyncio.get_running_loop():
            look = self._look = asyncio.create_task(self._after_a_pause(registry))
        return await asyncio.shield(look)  # which others may wait for

    @staticmethod
    async def _after_a_pause(registry: Registry) -> int:
        await asyncio.sleep(PAUSE)
        return await run_in_threadpool(registry.newest_event)


@router.get("/v1/changes", response_model=Changes)
@router.get("/changes", response_model=Changes, include_in_schema=False)
async def changes(  # noqa: PLR0917 - they are named in a query
    request: Request,
    registry: Acting,
    after: Annotated[int, Query(ge=0, lt=2**63, description="the `next` of the answer before; 0: from the first")] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST, description="at most so many events")] = MOST,
    datastack: Annotated[str | None, Query(description="only those of this datastack")] = None,
    kind: Annotated[str | None, Query(description="only those of this kind, such as published")] = None,
    wait: Annotated[float, Query(ge=0, le=LONGEST_WAIT, description="seconds to wait for one if there is none")] = 0,
) -> Response:
    """What changed after a number. Who asks again after `next` misses nothing and gets nothing twice."""
    watch: Watch = request.app.state.watch
    until = time.monotonic() + wait
    found = await run_in_threadpool(registry.changes, after, limit, datastack, kind)
    while not found.events and time.monotonic() < until and not await request.is_disconnected():
        if found.next < found.newest or await watch.newest(registry) != found.newest:
            found = await run_in_threadpool(registry.changes, found.next, limit, datastack, kind)
    return Response(found.model_dump_json(), media_type="application/json", headers={"Cache-Control": "no-store"})
