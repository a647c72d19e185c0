"""The catalog's changes as somebody sees them who follows it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from feature_registry.errors import Conflict, Unavailable
from feature_registry.model import Event

if TYPE_CHECKING:
    from feature_registry.client.http import Service

WAIT = 25.0  # seconds that the server keeps a question open
PAUSE = 1.0  # seconds between two tries while it does not answer


class ChangeFeed:
    """The changes after a number. `after` is the number of the last one that was handed out, or of one beyond it that
    is not shown: keep it, and a new feed goes on from there.
    """

    def __init__(self, service: Service, after: int = 0, datastack: str | None = None, kind: str | None = None) -> None:
        self._service = service
        self._asked = (datastack, kind)
        self._last: Event | None = None
        self.after = after

    def __iter__(self) -> Iterator[Event]:
        """Up to the newest."""
        more = True
        while more:
            more = yield from self._part(0)

    def follow(self) -> Iterator[Event]:
        """For ever; while the server is gone, it waits for it."""
        interrupted = False
        while True:
            try:
                if interrupted:
                    self._check()
                yield from self._part(WAIT)
                interrupted = False
            except Unavailable:
                interrupted = True
                time.sleep(PAUSE)

    def _part(self, wait: float) -> Generator[Event, None, bool]:
        """Answers whether there is more."""
        found = self._service.changes(self.after, 1000, *self._asked, wait)
        for event in found.events:
            self._last, self.after = event, event.number
            yield event
        self.after = found.next
        return found.next < found.newest

    def _check(self) -> None:
        """A server that was gone may have come back with a catalog that was restored, and has gone other ways since."""
        if self._last is None:
            return
        found = self._service.changes(self._last.number - 1, 1, *self._asked).events
        if found and found[0].number == self._last.number and found[0] != self._last:
            message = "is another change now: this catalog is not the one that was followed"
            raise Conflict(message, field="after", value=self.after, expected="0, to resume from the beginning")
