"""The materialization version: whether there is such a one, and which names it keeps for CAVE's tables."""

from __future__ import annotations

from typing import Literal

from feature_registry.model import CheckResult, MaterializationVersion, TableRef
from feature_registry.registry.validation.subject import Subject, unverified


def mat_version(subject: Subject) -> CheckResult:
    """It exists, is valid and is kept. One that expires is accepted, with its expiry."""
    number, heard = subject.mat_version, subject.announced()
    if number is None:
        return CheckResult(name="mat_version", outcome="skipped", message="unversioned")
    if heard.unverified:
        return unverified("mat_version", f"{number}: {heard.unverified}")
    if heard.version is None:
        message = f"{subject.table.datastack} has no version {number}; known: {list(heard.known)}"
        return CheckResult(name="mat_version", outcome="failed", message=message)
    outcome, message = _judged(heard.version)
    expires = heard.version.expires_on
    return CheckResult(
        name="mat_version",
        outcome=outcome,
        message=message,
        details={"long_term": heard.version.long_term, "expires_on": expires and expires.isoformat()},
    )


def _judged(found: MaterializationVersion) -> tuple[Literal["passed", "warned", "failed"], str]:
    expires = f"expires on {found.expires_on:%Y-%m-%d}" if found.expires_on else ""
    if found.status == "expired":
        return "warned", f"{found.mat_version} has expired"
    if not found.valid or found.status != "available":
        return "failed", f"{found.mat_version} is not valid ({found.status})"
    if not found.long_term:
        return "warned", f"{found.mat_version} is no long-term version: it {expires}"
    return "passed", f"of {found.time_stamp.isoformat()}" + (f"; {expires}" if expires else "")


def name(subject: Subject) -> CheckResult:
    """That of a table of CAVE's is for its dump, and for what lies somewhere else under the same name: an alias."""
    own, heard = subject.table.name, subject.announced()
    if own not in (heard.tables or ()):
        return CheckResult(name="name", outcome="passed", message="no table of CAVE's has it")
    aliased = [ref for ref in subject.derived_from if TableRef.parse(ref).name == own]
    if aliased:
        return CheckResult(name="name", outcome="passed", message=f"an alias of {aliased[0]}")
    message = f"CAVE lists a table {own} at {subject.mat_version}, whose name is kept for its dump"
    return CheckResult(name="name", outcome="failed", message=message)
