"""What differs between two versions of a table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feature_registry.model.noun import Noun


class SchemaChange(Noun):
    """A column that one of two versions lacks, or that has another type in it."""

    column: str
    old: str | None = Field(description="Arrow's name of its type; None: the column was added")
    new: str | None = Field(description="None: the column was removed")


class KeyDifference(Noun):
    """How the rows differ, key by key. A key is counted once, however many rows have it."""

    key: tuple[str, ...]
    columns: tuple[str, ...] = Field(description="those whose values were compared")
    added: int = Field(description="keys that only the new version has")
    removed: int = Field(description="keys that only the old version has")
    changed: int = Field(description="keys of both, with another value in some column")
    same: int | None = Field(
        description="keys of both, with equal values; None: not counted, as the files are the same"
    )
    changed_values: dict[str, int] = Field({}, description="column -> keys at which its value changed")
    ambiguous: int = Field(
        0, description="keys, among all of these, that several rows of one version have, or that hold a null"
    )
    examples: dict[Literal["added", "removed", "changed"], tuple[str, ...]] = Field(
        {}, description="the first keys of each kind, as text"
    )
    grants: tuple[str, ...] = Field((), description="the grants that the bytes read were charged to")


class Difference(Noun):
    """What changed from one table version to another."""

    old: str = Field(description="the exact reference")
    new: str = Field(description="the exact reference")
    identical: bool = Field(description="whether both are the same files: then no row differs, and none was read")
    schema_changes: tuple[SchemaChange, ...]
    old_rows: int | None
    new_rows: int | None
    old_bytes: int = Field(description="of all layouts together")
    new_bytes: int = Field(description="of all layouts together")
    keys: KeyDifference | None = Field(None, description="None: no row was looked at")
    warnings: tuple[str, ...] = ()
