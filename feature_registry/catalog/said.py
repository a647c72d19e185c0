"""What was said of a version when it was registered, and since, as a noun. It is made of texts in one step: by way of
dictionaries a page of a list takes twice as long.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from feature_registry.model import CheckResult, Deprecation, Inspection, StoredField, TableVersion

# As the events of registrations spell and order them. Quotes within strings are escaped, and no version has such keys.
_VERSION, _SCHEMA, _CHECKS = b'{"version":{', b',"schema":"', b',"checks":['
_INSPECTION = b'"inspection":{'
_COLUMNLESS = _INSPECTION + b'"fields":[],"arrow_schema":"",'
_OUTCOME, _PASSED, _EXISTS = b'"outcome":"', b'"outcome":"passed"', b'{"name":"exists"'
_DECODER = json.JSONDecoder()


class _Registered(BaseModel):
    version: TableVersion
    checks: tuple[CheckResult, ...]


class _Patch(BaseModel):
    checks: tuple[CheckResult, ...] = ()
    deprecation: Deprecation | None = None
    inspection: dict[str, Any] = {}


def version(row: Any, fields: tuple[StoredField, ...], arrow_schema: str) -> TableVersion:
    """Of a row with `details` and `patch`, as texts, and `status`."""
    said = _Registered.model_validate_json(row.details.replace(_INSPECTION, _COLUMNLESS, 1))
    changes = {"status": row.status, "checks": said.checks} | _patched(said.version, row.patch)
    inspection = changes.get("inspection", said.version.inspection)
    inspection = inspection.model_copy(update={"fields": fields, "arrow_schema": arrow_schema})
    return said.version.model_copy(update=changes | {"inspection": inspection})


def brief(row: Any) -> TableVersion:
    """As a list shows it: without columns, also of its layouts, and of the checks that passed, whether it is there."""
    text, _, checks = row.details.partition(_CHECKS)
    body = text[len(_VERSION) : text.rfind(_SCHEMA)].replace(_INSPECTION, _COLUMNLESS, 1)
    begin = b'{"status":"%s","checks":[%s],' % (row.status.encode(), _telling(checks))
    said = TableVersion.model_validate_json(begin + body)
    changes = _patched(said, row.patch)
    if "checks" in changes:
        changes["checks"] = tuple(filter(_tells, changes["checks"]))
    inspection = changes.get("inspection", said.inspection)
    if inspection.layouts:
        layouts = tuple(each.model_copy(update={"arrow_schema": None}) for each in inspection.layouts)
        changes["inspection"] = inspection.model_copy(update={"layouts": layouts})
    return said.model_copy(update=changes) if changes else said


def _patched(said: TableVersion, text: bytes | None) -> dict[str, Any]:
    """The fields that events since gave other values."""
    if text is None:
        return {}
    patch = _Patch.model_validate_json(text)
    changes = {name: getattr(patch, name) for name in patch.model_fields_set}
    if patch.inspection:
        changes["inspection"] = Inspection.model_validate(said.inspection.model_dump() | patch.inspection)
    return changes


def _tells(check: CheckResult) -> bool:
    return check.outcome != "passed" or check.name == "exists"


def _telling(checks: bytes) -> bytes:
    """Of the text from the first check on, those that a list shows. Mostly all passed, and the first says that it is
    there: no other need be parsed.
    """
    if checks.count(_PASSED) == checks.count(_OUTCOME):
        if checks.startswith(_EXISTS):
            text = checks.decode()
            return text[: _DECODER.raw_decode(text)[1]].encode()
        if _EXISTS not in checks:
            return b""
    found = _Patch.model_validate_json(b'{"checks":[' + checks).checks
    return b",".join(each.model_dump_json().encode() for each in found if _tells(each))
