"""The feature table: its name, and what people say about it."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from feature_registry.model.columns import Column
from feature_registry.model.noun import Days, Instant, Name, Nanometres, Noun, Text


class Owner(Noun):
    """Who answers for a table."""

    team: str | None = Field(None, max_length=128)
    person: str | None = Field(None, max_length=128, description="an e-mail address or a name")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not (self.team or self.person):
            raise ValueError("an owner is a team, a person or both")
        return self


class HashBuckets(Noun):
    """How rows are spread over the values of a partition column."""

    column: str = Field(description="the column that is hashed")
    partition_column: str = Field(description="the partition column that holds the bucket's number")
    transform: Literal["bucket", "modulo", "opaque"] = Field(
        description="bucket: Iceberg's bucket[N] (murmur3); modulo: id % N; opaque: known to its writer only"
    )
    buckets: int = Field(gt=0, lt=2**31)


class Retention(Noun):
    """Until when a table version is kept."""

    days: Days | None = Field(None, description="after the registration; None: kept")
    note: Text = ""


def _owner(value: Any) -> Any:
    return {"person" if "@" in value else "team": value} if isinstance(value, str) else value


def _columns_of_tables(references: dict[str, str]) -> dict[str, str]:
    for column, target in references.items():
        if not re.fullmatch(r"([A-Za-z0-9_]+/)?[A-Za-z0-9_]+\.[A-Za-z0-9_]+", target):
            raise ValueError(f"the reference of {column!r} is {target!r}; it should be 'table.column'")
    return references


LONGEST_TAG = 128
Tag = Annotated[str, Field(min_length=1, max_length=LONGEST_TAG)]


class Metadata(Noun):
    """What people say about a feature table, whatever its materialization version."""

    description: Text = Field("", description="what a row is, and how it came to be")
    owner: Annotated[Owner | None, BeforeValidator(_owner)] = Field(None, description="a team, a person, or both")
    license: str | None = Field(None, max_length=256, description="an SPDX identifier, or the licence's name")
    usage_constraints: Text = Field("", description="what one may not do with it, or should know before")
    redistribution: Literal["allowed", "forbidden"] = Field(
        "allowed", description="whether it may be handed on; if not, no public export holds it"
    )
    citation: Text = Field("", description="how to cite the table: BibTeX, or a sentence with a DOI")
    retention: Retention = Field(Retention(), description="until when a table version is kept")
    tags: tuple[Tag, ...] = Field((), max_length=1_000, description="words to search by")
    key: tuple[str, ...] = Field(
        (), max_length=100, description="the columns that name a row; unique and not null together"
    )
    columns: dict[str, Column] = Field(default_factory=dict, description="what the columns mean, by name")
    references: Annotated[dict[str, str], AfterValidator(_columns_of_tables)] = Field(
        default_factory=dict,
        max_length=1_000,
        description="column -> table.column of the annotation table it points to",
    )
    invalidation_radius: Nanometres | None = Field(
        None, description="nm around an edit of the segmentation within which rows become stale"
    )
    hash_buckets: tuple[HashBuckets, ...] = Field(
        (), max_length=100, description="how a column's hash spreads the rows over partitions"
    )
    mutability: Literal["static", "append", "mutable"] = Field(
        "static", description="whether the bytes of a table version may change after its registration"
    )
    durability: Literal["durable", "reproducible", "best_effort"] = Field(
        "reproducible", description="what the owner promises: backed up, can be computed again, or nothing"
    )
    superseded_by: str | None = Field(None, description="the table that replaces this one, as datastack/name")
    read_permission: Literal["private", "group", "public"] | None = Field(
        None,
        description="who may read it, as CAVE says: its owner, the owner's groups, or everybody who sees CAVE's data",
    )


class FeatureTable(Metadata):
    """The logical table: its name in a datastack, and what people say about it."""

    datastack: Name
    name: Name

    @property
    def etag(self) -> str:
        """What tells this state of the metadata from another. Fields at their defaults do not count, so that one that a
        later release adds changes no etag.
        """
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:32]


class Producer(Noun):
    """What made a table version."""

    pipeline: str | None = Field(None, description="the program, or the Dagster asset key")
    code_version: str | None = Field(None, description="a commit, or the hash of the code")
    model: str | None = Field(None, description="the trained model, if any")
    config: str | None = Field(None, description="the configuration's hash, or its name")
    run_id: str | None = Field(None, description="what made all that it wrote at once")


class TimeRange(Noun):
    """A half-open range [start, end) in UTC."""

    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"the range is reversed or empty: {self.start.isoformat()} .. {self.end.isoformat()}")
        return self
