"""Derives the current state from events, one function a kind. Deriving all events anew gives the same state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from feature_registry.catalog import entries
from feature_registry.catalog.changes import Changes, found_by
from feature_registry.catalog.graph import edges_of
from feature_registry.model import Event


def derive(changes: Changes, recorded: Iterable[Event]) -> None:
    """Gathers what the events change; oldest first."""
    for event in recorded:
        _KINDS[event.kind](changes, event)


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
    key = _table(event)
    changes.describe(key, (changes.body(key) or {"datastack": key[0], "name": key[1]}) | event.details)


def _transferred(changes: Changes, event: Event) -> None:
    key = _table(event)
    changes.describe(key, (changes.body(key) or {}) | {"owner": event.details["to"]})


def _registered(changes: Changes, event: Event) -> None:
    body = event.details["version"]
    inspection, producer = body["inspection"], body["producer"]
    span = body.get("time_range") or {"start": body.get("snapshot_time"), "end": body.get("snapshot_time")}
    row = {
        "id": event.version_id,
        "mat_version": body["mat_version"],
        "revision": body["revision"],
        "status": "draft",
        "current": False,
        "location": inspection["location"],
        "identity": entries.identity(inspection["snapshot"], inspection["fingerprint"]),
        "format": inspection["format"],
        "pipeline": producer.get("pipeline"),
        "model": producer.get("model"),
        "run_id": producer.get("run_id"),
        "created_by": event.by,
        "starts_at": _instant(span["start"]),
        "ends_at": _instant(span["end"]),
        "schema_id": event.details["schema"],
        "checks": event.details["checks"],
        "body": body,
    }
    seen = [("column", name) for name in event.details["columns"]]
    seen += found_by(body)
    changes.add(_table(event), row, edges_of(body), seen)


def _checked(changes: Changes, event: Event) -> None:
    """A check's newest result replaces its older one."""
    before = changes.version(_version(event), "checks")
    merged = {check["name"]: check for check in [*before, *event.details["checks"]]}
    changes.change(_version(event), checks=list(merged.values()))


def _published(changes: Changes, event: Event) -> None:
    changes.change(_version(event), status="published")
    changes.touched.add(_table(event))


def _deprecated(changes: Changes, event: Event) -> None:
    body = changes.version(_version(event), "body")
    changes.change(_version(event), status="deprecated", body=body | {"deprecation": event.details})
    changes.touched.add(_table(event))


def _unregistered(changes: Changes, event: Event) -> None:
    """The table, what is said of it, and its history stay."""
    changes.remove(_table(event), _version(event))


def _relocated(changes: Changes, event: Event) -> None:
    """The same files at another place; what else was seen of them stays."""
    body = changes.version(_version(event), "body")
    inspection = body["inspection"] | event.details["inspection"]
    changes.change(
        _version(event),
        location=inspection["location"],
        identity=entries.identity(inspection["snapshot"], inspection["fingerprint"]),
        body=body | {"inspection": inspection},
    )


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
