"""Named rules that the tables of a datastack should keep, and what was found."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feature_registry.model.noun import Instant, MatVersion, Name, Noun


class Rule(Noun):
    """What should hold of a feature table and its parents, which are the tables that it references.

    coverage: every key of the parent has a row. complete: the table exists at every materialization version at which
    the parent does. consistent: columns hold what the parent's row holds in its own.
    """

    kind: Literal["coverage", "complete", "consistent"]
    table: Name
    references: dict[str, str] = Field(
        {}, description="column -> [datastack/]table.column of the parent; empty: all that the table declares"
    )
    equal: dict[str, str] = Field({}, description="of a consistent rule: column -> the parent's column that it equals")
    mat_versions: Literal["valid", "long_term"] = Field("valid", description="at which ones it should hold")


class RuleReport(Noun):
    """What one rule found of one table version, or of all of them if it is about their being there.

    `keys` are ranges in the order of the parent's keys: 17-1204 means that all of the parent's keys from 17 to 1204
    violate the rule, not that all these numbers are keys. `missing` are ranges of the parent's versions, likewise.
    """

    rule: str
    kind: Literal["coverage", "complete", "consistent"]
    table: str = Field(description="its exact reference, or datastack/name")
    mat_version: MatVersion | None = None
    parent: str | None = Field(None, description="its exact reference, or datastack/name")
    outcome: Literal["passed", "failed", "skipped"]
    violations: int = Field(0, description="the parent's keys, or materialization versions")
    share: float = Field(0.0, description="of all of the parent's")
    keys: str = Field("", description="such as 17-1204, 1300; the first ones where they are many")
    missing: str = Field("", description="materialization versions, such as 3-7, 11")
    message: str = ""
    at: Instant
