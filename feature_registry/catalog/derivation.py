"""Derives the current state from events, one function a kind. Deriving all events anew gives the same state."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa

from feature_registry.catalog import documents, entries
from feature_registry.catalog.changes import Changes, found_by
from feature_registry.catalog.graph import edges_of
from feature_registry.catalog.schema import DERIVED, RECORD, events
from feature_registry.model import Event

PAGE = 5_000  # events in memory


def derive(changes: Changes, recorded: Iterable[Event]) -> None:
    """Gathers what the events change; oldest first."""
    for event in recorded:
        _KINDS[event.kind](changes, event)


def derive_anew(connection: sa.Connection) -> None:
    """Replaces the current state by what follows from the events, after the tables that hold it were changed."""
    documents.clear(connection)
    for table in reversed(DERIVED):
        connection.execute(sa.delete(table))
    changes = Changes(connection, empty=True)
    newest = 0
    while page := connection.execute(
        RECORD.where(events.c.number > newest).order_by(events.c.number).limit(PAGE)
    ).all():
        derive(changes, cast("Sequence[Event]", page))  # rows are as good, and validated long ago
        changes.flush()
        newest = page[-1].number
    changes.write()


def _datastack(changes: Changes, event: Event) -> None:
    body = event.details
    row = {"name": event.datastack, "aligned_volume": body.get("aligned_volume"), "body": body}
    changes.datastacks[event.datastack] = row


def _materialized(changes: Changes, event: Event) -> None:
    body = event.details
    row = {"datastack": event.datastack, "mat_version": body["mat_version"], "valid": body["valid"], "body": body}
    changes.mat_versions[event.datastack, body["mat_version"]] = row


def _described(changes: Changes, event: Event) -> None:
    """The changes of an event overwrite the fields that they name; the first one makes the table."""
    _say(changes, event, event.details)


def _transferred(changes: Changes, event: Event) -> None:
    _say(changes, event, {"owner": event.details["to"]})


def _say(changes: Changes, event: Event, fields: dict[str, Any]) -> None:
    key = _table(event)
    changes.describe(key, (changes.body(key) or {"datastack": key[0], "name": key[1]}) | fields)


def _registered(changes: Changes, event: Event) -> None:
    body = event.details["version"]
    inspection, producer = body["inspection"], _producer(body["producer"])
    span = body.get("time_range") or {"start": body.get("snapshot_time"), "end": body.get("snapshot_time")}
    row = {
        "id": event.version_id,
        "mat_version": body["mat_version"],
        "revision": body["revision"],
        "status": "draft",
        "location": inspection["location"],
        "identity": entries.identity(inspection["snapshot"], inspection["fingerprint"]),
        "snapshot": inspection["snapshot"],
        "format": inspection["format"],
        "producer_id": producer["id"],
        "run_id": body["producer"].get("run_id"),
        "created_by": event.by,
        "created_at": datetime.fromisoformat(body["created_at"]),
        "starts_at": _instant(span["start"]),
        "ends_at": _instant(span["end"]),
        "schema_id": event.details["schema"],
        "failed": _failed(event.details["checks"]),
    }
    changes.add(_table(event), row, event.details, producer, edges_of(body), found_by(body))


def _producer(said: dict[str, Any]) -> dict[str, Any]:
    """The row of what made a version, beside its run."""
    row = {name: said.get(name) for name in ("pipeline", "code_version", "model", "config")}
    digest = hashlib.sha256(repr(list(row.values())).encode()).digest()
    return {"id": int.from_bytes(digest[:8], signed=True)} | row


def _checked(changes: Changes, event: Event) -> None:
    """A check's newest result replaces its older one."""
    before = changes.said(_version(event))["checks"]
    merged = {check["name"]: check for check in [*before, *event.details["checks"]]}
    changes.patch(_version(event), checks=list(merged.values()))
    changes.change(_version(event), failed=_failed(merged.values()))


def _failed(checks: Iterable[dict[str, Any]]) -> bool:
    return any(check["outcome"] == "failed" for check in checks)


def _published(changes: Changes, event: Event) -> None:
    changes.change(_version(event), status="published")
    changes.touched.add(_table(event))


def _deprecated(changes: Changes, event: Event) -> None:
    changes.change(_version(event), status="deprecated")
    changes.patch(_version(event), deprecation=event.details)
    changes.touched.add(_table(event))


def _unregistered(changes: Changes, event: Event) -> None:
    """The table, what is said of it, and its history stay."""
    at = "unversioned" if event.details["mat_version"] is None else event.details["mat_version"]
    changes.remove(_table(event), _version(event), f"{at}.{event.details['revision']}")


def _relocated(changes: Changes, event: Event) -> None:
    """The same files at another place; what else was seen of them stays."""
    inspection = changes.said(_version(event))["version"]["inspection"] | event.details["inspection"]
    identity = entries.identity(inspection["snapshot"], inspection["fingerprint"])
    changes.change(_version(event), location=inspection["location"], identity=identity)
    changes.patch(_version(event), inspection=event.details["inspection"])


def _table(event: Event) -> tuple[str, str]:
    assert event.name is not None
    return event.datastack, event.name


def _version(event: Event) -> str:
    assert event.version_id is not None
    return event.version_id


def _instant(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


_KINDS: dict[str, Callable[[Changes, Event], None]] = {
    "datastack": _datastack,
    "materialized": _materialized,
    "described": _described,
    "transferred": _transferred,
    "registered": _registered,
    "checked": _checked,
    "published": _published,
    "deprecated": _deprecated,
    "unregistered": _unregistered,
    "relocated": _relocated,
}
