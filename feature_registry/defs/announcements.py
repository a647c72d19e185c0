"""What a version source announces, heard within bounds and recorded in the catalog; nothing is ever deleted there."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from feature_registry.cave import VersionSource
from feature_registry.defs import wanted
from feature_registry.errors import RegistryError, Unavailable
from feature_registry.model import Datastack, MaterializationVersion
from feature_registry.registry import Registry

Announced = tuple[Datastack, list[MaterializationVersion]]


def heard(source: VersionSource, seconds: float) -> tuple[list[Announced], list[str]]:
    """What it says of each datastack, and what kept it from saying more: one datastack's trouble is not another's.

    What takes longer than so many seconds is given up; its thread ends with the source's own time limits.
    """
    ends = time.monotonic() + seconds
    threads = ThreadPoolExecutor(4, "version_source")
    found: list[Announced] = []
    problems: list[str] = []
    try:
        datastacks = _answer(threads.submit(source.datastacks), ends)
        asked = [(each, threads.submit(source.versions, each.name)) for each in datastacks]
        for datastack, future in asked:
            try:
                found.append((datastack, _answer(future, ends)))
            except RegistryError as wrong:
                problems.append(f"{datastack.name}: {wrong}")
    except RegistryError as wrong:
        problems.append(str(wrong))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
    return found, problems


def _answer(future: Future[Any], ends: float) -> Any:
    try:
        return future.result(max(0.0, ends - time.monotonic()))
    except TimeoutError:
        raise Unavailable("does not answer in time", field="version_source") from None
    except RegistryError:
        raise
    except Exception as wrong:  # whatever it is, it may hold a secret
        raise Unavailable(f"answers nonsense: {type(wrong).__name__}", field="version_source") from None


def record(registry: Registry, datastack: Datastack, announced: Iterable[MaterializationVersion]) -> None:
    """Raises `Unavailable` for what cannot be: that no version is left.

    A version whose database CAVE has dropped is marked as expired: it says so, its time is over, or it is not announced
    any more. Of such a one CAVE does not say the tables, and calls it invalid; what was known of it stays.
    """
    known = {each.mat_version: each for each in wanted.versions(registry, datastack.name)}
    said = {each.mat_version: each for each in announced}
    living = [number for number, each in known.items() if each.status != "expired"]
    if living and not said:
        message = f"announces no version of {datastack.name}, of which {len(living)} are known"
        raise Unavailable(f"{message}: that is not believed", field="version_source")
    gone = {number: each.model_copy(update={"status": "expired"}) for number, each in known.items()}
    registry.record_datastack(datastack)
    registry.record_versions(_kept(each, known.get(number)) for number, each in (gone | said).items())


def _kept(said: MaterializationVersion, known: MaterializationVersion | None) -> MaterializationVersion:
    over = said.expires_on is not None and said.expires_on <= datetime.now(UTC)
    status = "expired" if over and said.status == "available" else said.status
    changes: dict[str, Any] = {"status": status}
    if known is not None:
        names = ("tables", "parent")
        changes |= {name: getattr(known, name) for name in names if getattr(said, name) is None}
        changes |= {"valid": known.valid} if status == "expired" else {}
    return said.model_copy(update=changes)
