"""References: what a column points to, followed to the table, to its column, or to its values; and the other way
round, how much of the parent has a row here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from feature_registry.model import CheckResult, Policies, TableVersion
from feature_registry.registry.validation import rows
from feature_registry.registry.validation.subject import Subject, unverified

LEVELS = ("text", "name", "column", "keys")
REGISTERED_COLUMN = "id"  # which every annotation table of CAVE's has


def check_name(column: str) -> str:
    return f"references_{column}"


@dataclass(frozen=True, slots=True)
class Reference:
    """From the column `own` to a column of a table."""

    own: str
    datastack: str
    table: str
    column: str

    @classmethod
    def parse(cls, own: str, target: str, datastack: str) -> Reference:
        """Of a target such as `[datastack/]table.column`, as a table of the datastack spells it."""
        path, _, column = target.rpartition(".")
        other, _, table = path.rpartition("/")
        return cls(own, other or datastack, table, column)


@dataclass(frozen=True, slots=True)
class Shares:
    """Of the values of a column, how many are in the parent, and the other way round; the latter is None unless all
    rows were looked at.
    """

    rows: int
    orphans: int
    examples: tuple[str, ...]
    keys: int | None = None
    covered: int | None = None
    sample: str = ""


def references(subject: Subject, policies: Policies, whole: bool) -> Iterator[CheckResult]:
    """One result a column, and one for the coverage of all."""
    covered: dict[str, Any] = {}
    for column, text in subject.table.references.items():
        link = Reference.parse(column, text, subject.table.datastack)
        result, shares = reference(subject, link, policies.references, whole)
        yield result.model_copy(update={"details": {"level": policies.references, "target": text} | result.details})
        if shares is not None and shares.keys is not None:
            share = (shares.covered or 0) / shares.keys if shares.keys else 1.0
            covered[column] = {"target": text, "keys": shares.keys, "covered": shares.covered, "share": share}
    if policies.references == "keys" and subject.table.references:
        yield _coverage(covered)


def _coverage(covered: dict[str, Any]) -> CheckResult:
    if not covered:
        message = "not counted: all rows must be looked at, and the parent's"
        return CheckResult(name="coverage", outcome="skipped", message=message)
    said = [
        f"{each['covered']:,} of {each['keys']:,} keys of {each['target']} ({each['share']:.1%}) have a row"
        for each in covered.values()
    ]
    return CheckResult(name="coverage", outcome="passed", message="; ".join(said), details=covered)


def reference(subject: Subject, link: Reference, level: str, whole: bool) -> tuple[CheckResult, Shares | None]:
    """As far as the level says, and as far as one can tell."""
    name = check_name(link.own)
    if level == "text":
        return CheckResult(name=name, outcome="skipped", message="recorded as text"), None
    parent = parent_of(subject, link)
    if lost := lacking(subject, link, None if level == "name" else parent):
        return lost, None
    if parent is None:
        return _listed(subject, link, level), None
    said = {"parent": str(parent.ref)}
    if level == "name":
        return CheckResult(name=name, outcome="passed", message=f"the table is {parent.ref}", details=said), None
    if level == "column":
        message = f"{parent.ref} has the column {link.column}"
        return CheckResult(name=name, outcome="passed", message=message, details=said), None
    shares = rows.read(name, lambda: compared(subject, link, parent, whole))
    return (shares, None) if isinstance(shares, CheckResult) else (judged(name, shares, parent), shares)


def _listed(subject: Subject, link: Reference, level: str) -> CheckResult:
    """Of a table that is not registered, what CAVE says: which tables there are, and no more."""
    name, heard = check_name(link.own), subject.announced(link.datastack)
    at = "unversioned" if subject.mat_version is None else subject.mat_version
    if heard.tables is None:
        why = heard.unverified or f"nobody knows the tables of {link.datastack}@{at}"
        return unverified(name, f"{link.table} is not registered at {at}; {why}")
    if link.table not in heard.tables:
        message = f"neither the catalog nor CAVE has a table {link.table} of {link.datastack} at {at}"
        return CheckResult(name=name, outcome="failed", message=message, details={"known": list(heard.tables)})
    if level == "name" or (level == "column" and link.column == REGISTERED_COLUMN):
        return CheckResult(name=name, outcome="passed", message=f"CAVE lists {link.table} at {at}")
    return unverified(name, f"CAVE lists {link.table} at {at}, and it is not registered yet")


def parent_of(subject: Subject, link: Reference) -> TableVersion | None:
    """At the same materialization version, never at another; a parent without versions has none to differ in."""
    find = subject.registry.find
    same = find(link.datastack, link.table, subject.mat_version, subject.run_id)
    return same or find(link.datastack, link.table, None, subject.run_id)


def lacking(subject: Subject, link: Reference, parent: TableVersion | None) -> CheckResult | None:
    """The failure, if one of both columns is not stored."""
    name = check_name(link.own)
    if subject.lacks([link.own]):
        details: dict[str, Any] = {"missing": [link.own]}
        return CheckResult(name=name, outcome="failed", message=f"{link.own} is not stored", details=details)
    if parent is not None and subject.of_version(parent).lacks([link.column]):
        details = {"parent": str(parent.ref)}
        message = f"{parent.ref} has no column {link.column}"
        return CheckResult(name=name, outcome="failed", message=message, details=details)
    return None


def judged(name: str, shares: Shares, parent: TableVersion) -> CheckResult:
    details: dict[str, Any] = {"parent": str(parent.ref), "rows": shares.rows, "orphans": shares.orphans}
    details["share"] = shares.orphans / shares.rows if shares.rows else 0.0
    sample = f", {shares.sample}" if shares.sample else ""
    if not shares.orphans:
        message = f"all {shares.rows} values are in {parent.ref}{sample}"
        return CheckResult(name=name, outcome="passed", message=message, details=details)
    details["examples"] = list(shares.examples)
    message = f"{shares.orphans} of {shares.rows} values are not in {parent.ref}{sample}"
    return CheckResult(name=name, outcome="failed", message=message, details=details)


def compared(subject: Subject, link: Reference, parent: TableVersion, whole: bool = True, cover: bool = True) -> Shares:
    """Holds the distinct values of one pass, and never those of the parent, which may be far larger."""
    frame, sample = (subject.scan(), "") if whole else subject.sampled()
    values = frame.select(pl.col(link.own).alias("value")).drop_nulls()
    parents = subject.of_version(parent).scan().select(pl.col(link.column).alias("value")).drop_nulls()
    values, parents = rows.comparable(values, parents)
    hashed = pl.col("value").hash()
    sides = (
        rows.passes(side, hashed, rows.ROWS_SAMPLED if sample else subject.inspection.rows)
        for side in (values, parents)
    )
    lost: list[pl.DataFrame] = []
    seen = covered = 0
    for part, known in zip(*sides, strict=True):
        counted = rows.collected(part.group_by("value").len())
        seen += int(counted["len"].sum())
        # The parent streams by what is looked for; most engines would rather hold the parent.
        there = rows.collected(known.join(counted.lazy().select("value"), on="value", how="semi").unique())
        covered += there.height
        lost.append(counted.join(there, on="value", how="anti"))
    orphans = sum(int(each["len"].sum()) for each in lost)
    countable = cover and not sample and (parent.inspection.rows or 0) <= rows.ROWS_PER_PASS
    keys = rows.row(parents.select(pl.col("value").n_unique()))[0] if countable else None
    return Shares(seen, orphans, _examples(lost), keys, covered, sample)


def _examples(lost: Sequence[pl.DataFrame]) -> tuple[str, ...]:
    smallest = pl.concat([each.select(pl.col("value").bottom_k(rows.EXAMPLES)) for each in lost]).unique()
    return tuple(str(value) for value in smallest["value"].sort().head(rows.EXAMPLES))
