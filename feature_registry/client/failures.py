"""What an engine's failure means to a reader: a file that changed or is gone, a grant that ended, a budget used up, a
server that does not answer.

A frame or a relation that the user collects by himself fails with the engine's own error, which holds the answer too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from feature_registry.errors import (
    KINDS,
    Conflict,
    Denied,
    Exhausted,
    NotFound,
    RegistryError,
    Unavailable,
    from_problem,
)
from feature_registry.model import Plan

_STATUS = re.compile(r"(?:status code:|\(HTTP) (\d{3})\b")  # Polars' and DuckDB's words
_PROBLEM = re.compile(r'\{"kind":.*?"status":\d+\}')
# Polars says the first words when it has tried often enough; the others are libcurl's, which DuckDB passes on.
_SILENCE = re.compile(
    r"error sending request|response body"
    r"|ould not connect|nothing \(no headers|receiving data from|sending data to|partial file|Timeout was reached"
)
AGAIN = "plan the read again; if it still fails, `check` says what changed, and the table is to be registered again"
_MEANING: dict[int, tuple[type[RegistryError], str]] = {
    403: (Denied, "may not be read any more: the grant ended, or the link was altered"),
    404: (NotFound, "is gone since the table was registered"),
    412: (Conflict, "is no longer the file that was registered"),
    416: (Conflict, "is shorter than the file that was registered"),
    429: (Exhausted, "is beyond the budget"),
}


def refused(status: int, table: str, path: str, body: str = "") -> RegistryError | None:
    """The error behind a link's or a storage's answer; None for one that says nothing of the kind."""
    if problem := _PROBLEM.search(body):
        said = json.loads(problem[0])
        return from_problem(said) if said["kind"] in KINDS else None
    if status not in _MEANING:
        return None
    kind, message = _MEANING[status]
    return kind(f"{message} (of {table})", field="file", value=path, expected=AGAIN)


@contextmanager
def explained(plans: Iterable[Plan]) -> Iterator[None]:
    """Turns an engine's failure to read a file of these plans into the registry's error."""
    try:
        yield
    except RegistryError:
        raise
    except Exception as failure:  # the engines' errors have no base in common
        found = _meaning(str(failure), plans)
        if found is None:
            raise
        raise found from None  # the engine's message holds the link, which is a secret


def _meaning(text: str, plans: Iterable[Plan]) -> RegistryError | None:
    answered = _STATUS.search(text)
    status = int(answered[1]) if answered else 404 if "No such file" in text else 0
    if status >= 500 or (not status and _SILENCE.search(text)):
        tables = sorted({str(plan.entry.ref) for plan in plans})
        return Unavailable("a server of its files does not answer", field="table", value=tables, expected="a new try")
    if not status:
        return None
    for plan in plans:
        for file in plan.files:
            if file.url is not None and urlsplit(file.url).path in text:
                return refused(status, str(plan.entry.ref), file.path, text)
    return None
