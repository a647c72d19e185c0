"""A version source that says what a test wants."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from feature_registry.errors import NotFound, Unavailable
from feature_registry.model import Datastack, MaterializationVersion

FROZEN = datetime(2024, 5, 1, tzinfo=UTC)
SOURCE = f"{__name__}:FakeCave"


def version(number: int, **said: Any) -> MaterializationVersion:
    return MaterializationVersion(datastack="d", mat_version=number, time_stamp=FROZEN, **said)


EXPIRING = version(8, expires_on=FROZEN + timedelta(days=3))


class FakeCave:
    down = False
    announced: tuple[MaterializationVersion, ...] = ()

    def datastacks(self) -> list[Datastack]:
        return [Datastack(name="d")]

    def versions(self, datastack: str) -> list[MaterializationVersion]:
        if self.down:
            raise Unavailable("does not answer", field="cave_server")
        if datastack != "d":
            raise NotFound("CAVE does not know it", field="datastack", value=datastack)
        return list(self.announced)

    def table(self, *_: Any) -> Any:
        raise NotImplementedError

    def rows(self, *_: Any) -> Any:
        raise NotImplementedError
