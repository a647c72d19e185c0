"""Whether a new revision says what it corrects of the one that readers have."""

from __future__ import annotations

from collections.abc import Iterator

from feature_registry.catalog import Connection, entries
from feature_registry.model import CheckResult, Inspection, Registration, TableRef


def corrects(
    connection: Connection, ref: TableRef, registration: Registration, inspection: Inspection
) -> Iterator[CheckResult]:
    """Nothing where nothing is corrected. What a run made again says so by itself."""
    read = entries.find(connection, ref, "")
    if read is None or entries.at_place(connection, ref, inspection) is not None:
        return
    said = registration.corrects or registration.producer.run_id
    message = f"takes the place of {read.ref}" + ("" if said else ", and does not say what it corrects")
    yield CheckResult(name="corrects", outcome="passed" if said else "failed", message=message)
