"""Counts the bytes that links ask for: durably before each answer, many answers in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from feature_registry.errors import RegistryError

# Writes the bytes of each grant, and answers the error of each grant that they exceed.
Commit = Callable[[Mapping[str, Sequence[int]]], Mapping[str, RegistryError]]


class Ledger:
    """Group commit: while one transaction is under way, what comes in waits together for the next."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def charge(self, grant_id: str, size: int) -> None:
        """Returns when the bytes are charged; raises `Exhausted` if neither the reservation nor the budget holds."""
        charged = asyncio.get_running_loop().create_future()
        self._waiting.append((grant_id, size, charged))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await charged

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            sizes: dict[str, list[int]] = {}
            for grant_id, size, _ in batch:
                sizes.setdefault(grant_id, []).append(size)
            try:
                refused = await asyncio.to_thread(self._commit, sizes)
            except Exception as failure:  # whoever waits must hear of it
                refused = dict.fromkeys(sizes, failure)  # type: ignore[arg-type]
            for grant_id, _, charged in batch:
                if charged.done():  # its reader went away
                    continue
                if grant_id in refused:
                    charged.set_exception(refused[grant_id])
                else:
                    charged.set_result(None)
        self._writer = None
