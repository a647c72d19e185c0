"""The checks that follow from a declaration, evaluated on the revision as it was written.

`schema`: every declared column is stored, with the declared type. `key`: the key columns are unique together and not
null. `references_COLUMN`: every value is in the parent's column at the same materialization version. A reference into
a table that is not registered at that version is skipped, or fails if it blocks: nobody can tell. Then follow the
checks that were declared by name.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from feature_registry.defs.declaration import Declaration, reference_check
from feature_registry.model import CheckResult, TableVersion
from feature_registry.registry import Registry, validation
from feature_registry.registry.validation import Subject, keys, references
from feature_registry.registry.validation.references import Reference


def names(declaration: Declaration) -> list[str]:
    key = ["key"] if declaration.table.key else []
    return ["schema", *key, *map(reference_check, declaration.table.references), *declaration.checks]


def blocks(declaration: Declaration, name: str) -> bool:
    if name in declaration.checks or name in declaration.blocking:
        return True
    return name.startswith("references_") and "references" in declaration.blocking


def specs(declaration: Declaration, partitions: dg.PartitionsDefinition[str] | None) -> list[dg.AssetCheckSpec]:
    table = declaration.table
    texts = {"schema": "Every declared column is there, with the declared type."}
    texts["key"] = f"({', '.join(table.key)}) is unique and not null."
    for column, target in table.references.items():
        texts[reference_check(column)] = f"Every {column} is in {target} at the same materialization version."
    texts |= {name: (inspect.getdoc(check) or "").split("\n")[0] for name, check in declaration.checks.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # partitions of checks are a preview in 1.13
        return [
            dg.AssetCheckSpec(
                name,
                asset=declaration.asset_key,
                description=texts[name],
                blocking=blocks(declaration, name),
                partitions_def=partitions,
            )
            for name in names(declaration)
        ]


def evaluate(
    declaration: Declaration, version: TableVersion, registry: Registry, value: Any = None
) -> list[CheckResult]:
    """All checks of the declaration, whatever Dagster selected: the catalog publishes by them.

    `value` is what the feature function returned.
    """
    table, subject = declaration.table, Subject.of(registry, declaration.table, version)
    found = [validation.schema(table, version.inspection)]
    if table.key:
        found.append(keys.key(subject))
    for column, target in table.references.items():
        link = Reference.parse(column, target, table.datastack)
        found.append(_reference(subject, link, strict=blocks(declaration, reference_check(column))))
    results = [_judged(each, blocks(declaration, each.name)) for each in found]
    for name, check in declaration.checks.items():
        result = check(version, registry, value)
        blocking = result.outcome in ("passed", "failed")  # what was only warned of, or skipped, keeps nothing back
        results.append(result.model_copy(update={"name": name, "blocking": blocking}))
    return results


def to_dagster(declaration: Declaration, results: Iterable[CheckResult], selected: set[str]) -> Iterator[Any]:
    for result in results:
        if result.name in selected:
            yield dg.AssetCheckResult(
                asset_key=declaration.asset_key,
                check_name=result.name,
                passed=result.outcome == "passed",
                severity=dg.AssetCheckSeverity.ERROR if result.blocking else dg.AssetCheckSeverity.WARN,
                description=result.message,
                metadata=result.details,
            )


def _judged(found: CheckResult, blocking: bool) -> CheckResult:
    outcome = "warned" if found.outcome == "failed" and not blocking else found.outcome
    return found.model_copy(update={"outcome": outcome, "blocking": blocking})


def _reference(subject: Subject, link: Reference, *, strict: bool) -> CheckResult:
    name = reference_check(link.own)
    parent = references.parent_of(subject, link)
    if lost := references.lacking(subject, link, parent):
        return lost
    if parent is None:
        at = "unversioned" if subject.mat_version is None else subject.mat_version
        message = f"{link.table} is not registered at {at}; nothing was verified"
        return CheckResult(name=name, outcome="failed" if strict else "skipped", message=message)
    return references.judged(name, references.compared(subject, link, parent, cover=False), parent)
