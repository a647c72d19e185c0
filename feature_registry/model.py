"""The nouns of the registry: frozen, validated, without I/O.

Field names, types and help texts live here once; the API, the Dagster metadata and the reference pages derive from
them. Ids are 64-bit: in JSON an integer beyond 2^53 is a string.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    model_validator,
)

from feature_registry.errors import Invalid
from feature_registry.location import Location

MAX_TEXT = 20_000
LARGEST_JSON_INTEGER = 2**53


class Noun(BaseModel):
    """Base of all nouns: immutable, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


Instant = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,127}$")]
Nanometres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Resolution = Annotated[tuple[Nanometres, Nanometres, Nanometres], Field(description="nm of a voxel along x, y, z")]


# ---------------------------------------------------------------------------------------------------- datastacks


class Datastack(Noun):
    """CAVE's name for one dataset: an aligned volume plus a segmentation."""

    name: Name
    aligned_volume: str | None = Field(None, description="the image space; several datastacks may share one")
    segmentation_source: str | None = None
    voxel_resolution: Resolution | None = None


class MaterializationVersion(Noun):
    """CAVE's frozen version of all annotation tables of a datastack at one instant."""

    datastack: Name
    mat_version: int = Field(ge=0)
    time_stamp: Instant = Field(description="the instant of the segmentation that was frozen, UTC")
    expires_on: Instant | None = Field(None, description="when CAVE drops its database; None: kept")
    valid: bool = True
    parent: str | None = Field(None, description="the datastack of which this one's version is a view")


# ------------------------------------------------------------------------------------------------------- columns


class Plain(Noun):
    """A value without a role in the volume."""

    kind: Literal["plain"] = "plain"


class TableId(Noun):
    """The id of a row of an annotation table; stays valid until that row is superseded."""

    kind: Literal["id"] = "id"
    table: str = Field(description="the table whose ids these are")


class SegmentationNode(Noun):
    """A node of the segmentation's hierarchy. A root id belongs to one materialization version only."""

    kind: Literal["segmentation_node"] = "segmentation_node"
    level: Literal["root_id", "supervoxel_id", "level2_id"]


class PackedPoint(Noun):
    """A point in one column, as a list of x, y, z."""

    kind: Literal["packed_point"] = "packed_point"
    resolution: Resolution = Field(description="nm of one unit along x, y, z; (1, 1, 1) is nm")


class SplitPoint(Noun):
    """One axis of a point that is spread over three columns."""

    kind: Literal["split_point"] = "split_point"
    point: str = Field(description="the point's name, the same on its three columns")
    axis: Literal["x", "y", "z"]
    resolution: Nanometres = Field(description="nm of one unit along this axis; 1 is nm")


class Embedding(Noun):
    """A vector in one column, or one element of a vector that is spread over columns."""

    kind: Literal["embedding"] = "embedding"
    dimension: int = Field(gt=0)
    model: str | None = None


ColumnKind = Annotated[
    Annotated[Plain, Tag("plain")]
    | Annotated[TableId, Tag("id")]
    | Annotated[SegmentationNode, Tag("segmentation_node")]
    | Annotated[PackedPoint, Tag("packed_point")]
    | Annotated[SplitPoint, Tag("split_point")]
    | Annotated[Embedding, Tag("embedding")],
    Discriminator("kind"),
]


class Column(Noun):
    """What a column means. Its stored type is observed, never typed by hand, unless `type` asks for a check."""

    description: Text = ""
    unit: str | None = Field(None, description="of its values, such as nm, um^3, voxel", max_length=64)
    kind: ColumnKind = Plain()
    type: str | None = Field(None, description="the Arrow type that the data must have, such as int64")
    derived_from: tuple[str, ...] = Field((), description="table.column of its sources, for column lineage")

    def __init__(self, description: str = "", **fields: Any) -> None:
        super().__init__(description=description, **fields)


class StoredField(Noun):
    """A column as the format saw it."""

    name: str
    type: str = Field(description="Arrow's name of the logical type")
    nullable: bool = True


# --------------------------------------------------------------------------------------------- what people say


class Owner(Noun):
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
    buckets: int = Field(gt=0)


class Retention(Noun):
    """Until when a table version is kept."""

    days: int | None = Field(None, gt=0, description="after the registration; None: kept")
    note: Text = ""


def _owner(value: Any) -> Any:
    return {"person" if "@" in value else "team": value} if isinstance(value, str) else value


class Metadata(Noun):
    """What people say about a feature table, whatever its materialization version."""

    description: Text = ""
    owner: Annotated[Owner | None, BeforeValidator(_owner)] = Field(None, description="a team, a person, or both")
    license: str | None = Field(None, max_length=256, description="an SPDX identifier, or the licence's name")
    usage_constraints: Text = ""
    citation: Text = Field("", description="how to cite the table: BibTeX, or a sentence with a DOI")
    retention: Retention = Retention()
    tags: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] = ()
    key: tuple[str, ...] = Field((), description="the columns that name a row; unique and not null together")
    columns: dict[str, Column] = Field({}, description="what the columns mean, by name")
    references: dict[str, str] = Field({}, description="column -> table.column of the annotation table it points to")
    invalidation_radius: Nanometres | None = Field(
        None, description="nm around an edit of the segmentation within which rows become stale"
    )
    hash_buckets: tuple[HashBuckets, ...] = ()
    mutability: Literal["static", "append", "mutable"] = Field(
        "static", description="whether the bytes of a table version may change after its registration"
    )
    durability: Literal["durable", "reproducible", "best_effort"] = Field(
        "reproducible", description="what the owner promises: backed up, can be computed again, or nothing"
    )
    superseded_by: str | None = Field(None, description="the table that replaces this one")

    @model_validator(mode="after")
    def _references_name_columns(self) -> Self:
        for column, target in self.references.items():
            if not re.fullmatch(r"([A-Za-z0-9_]+/)?[A-Za-z0-9_]+\.[A-Za-z0-9_]+", target):
                raise ValueError(f"the reference of {column!r} is {target!r}; it should be 'table.column'")
        return self


class FeatureTable(Metadata):
    """The logical table: its name in a datastack, and what people say about it."""

    datastack: Name
    name: Name


class Producer(Noun):
    """What made a table version."""

    pipeline: str | None = Field(None, description="the program, or the Dagster asset key")
    code_version: str | None = Field(None, description="a commit, or the hash of the code")
    model: str | None = Field(None, description="the trained model, if any")
    run_id: str | None = None


class TimeRange(Noun):
    """A half-open range [start, end) in UTC."""

    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.start >= self.end:
            raise ValueError(f"the range is reversed or empty: {self.start.isoformat()} .. {self.end.isoformat()}")
        return self


# ------------------------------------------------------------------------------------------------ table versions


class TableRef(Noun):
    """`datastack/name@1507`, `@1507.2` (revision 2), `@latest` or `@unversioned`; without `@`, latest."""

    datastack: Name
    name: Name
    mat_version: Annotated[int, Field(ge=0)] | Literal["latest", "unversioned"] = "latest"
    revision: int | None = Field(None, ge=0, description="None: the newest valid one")

    @classmethod
    def parse(cls, text: str) -> TableRef:
        found = re.fullmatch(
            r"([A-Za-z]\w{0,127})/([A-Za-z]\w{0,127})(?:@(?:(latest|unversioned|\d{1,9})(?:\.(\d{1,9}))?))?", text, re.A
        )
        if found is None:
            raise Invalid("is no reference", field="table", value=text, expected="datastack/name@mat_version")
        datastack, name, mat_version, revision = found.groups()
        return cls(
            datastack=datastack,
            name=name,
            mat_version=int(mat_version) if (mat_version or "").isdecimal() else mat_version or "latest",
            revision=int(revision) if revision else None,
        )

    def __str__(self) -> str:
        revision = "" if self.revision is None else f".{self.revision}"
        return f"{self.datastack}/{self.name}@{self.mat_version}{revision}"


class Inspection(Noun):
    """What a format saw at a location."""

    location: Location
    format: str
    snapshot: str | None = Field(None, description="the format's own version that was seen; None: it has none")
    fields: tuple[StoredField, ...]
    arrow_schema: str = Field(
        description="the stored schema as base64 of an Arrow IPC stream without rows, partition columns included"
    )
    partition_columns: tuple[str, ...] = ()
    rows: int | None
    bytes: int
    files: int
    logical_types: dict[str, str] = Field(
        {}, description="column -> type to cast to on read, where the format lacks it (uint64 in Delta)"
    )
    fingerprint: str = Field(description="a hash of the data files' names, sizes and checksums or times")


class CheckResult(Noun):
    """What one check found."""

    name: str
    outcome: Literal["passed", "warned", "failed", "skipped"]
    blocking: bool = False
    message: str = ""
    details: dict[str, Any] = {}


Status = Literal["draft", "published", "deprecated"]


class TableVersion(Noun):
    """A feature table at one materialization version, immutable; made again, it is a new revision."""

    id: str = Field(description="a UUID that names this revision for ever")
    datastack: Name
    name: Name
    mat_version: int | None = Field(description="None: unversioned")
    revision: int = Field(ge=0)
    status: Status = "draft"
    inspection: Inspection
    layout: str = Field("default", description="the arrangement of the rows, such as sorted by a column")
    producer: Producer = Producer()
    derived_from: tuple[str, ...] = Field((), description="references of the table versions it was computed from")
    snapshot_time: Instant | None = Field(None, description="the instant that the data show, UTC")
    time_range: TimeRange | None = Field(None, description="or the range of time that they cover, UTC")
    checks: tuple[CheckResult, ...] = ()
    corrects: str | None = Field(None, description="what this revision mends in the one before")
    created_at: Instant
    created_by: str

    @property
    def ref(self) -> TableRef:
        """The exact reference of this revision."""
        mat_version: Any = "unversioned" if self.mat_version is None else self.mat_version
        return TableRef(datastack=self.datastack, name=self.name, mat_version=mat_version, revision=self.revision)


class Registration(Metadata):
    """A manifest: where a table is, and what is said about it. Metadata that is left out stays as it was."""

    location: Location
    datastack: Name
    name: Name
    mat_version: int | None = Field(None, ge=0, description="None: unversioned")
    format: str | None = Field(None, description="None: found from the data")
    snapshot: str | None = Field(None, description="the format's own version; None: the newest")
    layout: str = "default"
    producer: Producer = Producer()
    derived_from: tuple[str, ...] = ()
    logical_types: dict[str, str] = {}
    snapshot_time: Instant | None = None
    time_range: TimeRange | None = None
    corrects: str | None = None
    publish: bool = Field(False, description="publish at once if no blocking check fails")

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata that was said, and only that."""
        return {name: getattr(self, name) for name in Metadata.model_fields if name in self.model_fields_set}


class Entry(Noun):
    """One line of the catalog: the table, one of its versions, and the materialization version it belongs to."""

    table: FeatureTable
    version: TableVersion
    materialization: MaterializationVersion | None = None
    warnings: tuple[str, ...] = ()

    @property
    def ref(self) -> TableRef:
        return self.version.ref


class Report(Noun):
    """The answer to a registration."""

    entry: Entry
    created: bool = Field(description="False: the same location and snapshot were registered already")
    checks: tuple[CheckResult, ...]

    @property
    def ref(self) -> TableRef:
        return self.entry.ref


class Written(Noun):
    """What a feature function returns when it wrote the table by itself."""

    location: Location
    format: str | None = None
    snapshot: str | None = None
    rows: int | None = None


class Event(Noun):
    """One change of the catalog."""

    number: int = Field(description="counts up by the order of commits")
    at: Instant
    by: str
    kind: str = Field(description="registered, described, checked, published, deprecated ...")
    datastack: str
    name: str | None = None
    version_id: str | None = None
    details: dict[str, Any] = {}


# --------------------------------------------------------------------------------------------- search and access


class Search(Noun):
    """What is searched for; every filter that is given must hold."""

    text: str = Field("", max_length=1_000, description="words in names, descriptions, columns, tags and owners")
    datastack: str | None = None
    aligned_volume: str | None = None
    name: str | None = None
    mat_version: int | Literal["latest", "unversioned"] | None = Field(None, description="None: any")
    column: str | None = Field(None, description="a column that the table has")
    tags: tuple[str, ...] = Field((), description="all of them")
    owner: str | None = Field(None, description="a team or a person")
    license: str | None = None
    format: str | None = None
    status: Status | None = None
    producer: str | None = Field(None, description="the pipeline or the model")
    references: str | None = Field(None, description="a table that it points to")
    derived_from: str | None = Field(None, description="a table that it was computed from")
    mutability: str | None = None
    durability: str | None = None
    at: Instant | None = Field(None, description="the instant that the data show")
    limit: int = Field(100, ge=1, le=1000)
    after: str | None = Field(None, description="the `next` of the page before")


class Found(Noun):
    """One page of entries."""

    entries: tuple[Entry, ...]
    next: str | None = Field(None, description="give it as `after` for the next page; None: there is none")


Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in"]


def _json_safe(value: Any) -> Any:
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_json_safe(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_JSON_INTEGER:
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


Condition = tuple[str, Operator, Annotated[Any, PlainSerializer(_json_safe, when_used="json")]]


def _normal_form(where: Any) -> Any:
    """pyarrow's filters: a list of conditions (and), or a list of such lists (or of ands)."""
    if where is None or len(where) == 0:
        return ()
    alternatives = where if isinstance(where[0], (list, tuple)) and not isinstance(where[0][0], str) else [where]
    return tuple(
        tuple((column, "==" if operator == "=" else operator, value) for column, operator, value in conditions)
        for conditions in alternatives
    )


Where = Annotated[tuple[tuple[Condition, ...], ...], BeforeValidator(_normal_form)]


Mode = Literal["links", "urls", "direct"]


class PlanRequest(Noun):
    """Which rows and columns of which table version are wanted."""

    table: str = Field(description="datastack/name@mat_version")
    columns: tuple[str, ...] | None = Field(None, description="None: all")
    where: Where = Field((), description="pyarrow's filters: [(column, operator, value), ...] or a list of such lists")
    mode: Mode = Field("links", description="links of the registry, direct signed URLs, or, embedded only, paths")
    hours: float = Field(24, gt=0, le=24 * 7, description="how long the grant lasts")
    dry_run: bool = Field(False, description="only say what it would cost: no grant, no links")


class PlannedFile(Noun):
    """One file that can hold wanted rows."""

    url: str | None = Field(None, description="a bearer secret; None in a dry run")
    path: str = Field(description="below the table's location")
    size: int = Field(description="bytes")
    rows: int | None = None
    checksum: str | None = Field(None, description="algorithm:hex of the whole file, where known")


class Cost(Noun):
    """What a plan reserves, before anything is read."""

    files: int
    files_total: int
    bytes: int
    bytes_total: int
    rows: int | None = Field(description="in the kept files, not only the matching ones")
    rows_total: int | None
    price: float | None = Field(None, description="in the settings' currency, if a price per GB is set")
    budget_left: int | None = Field(None, description="bytes left after this plan; None: no limit")


class Grant(Noun):
    """A record of access given."""

    id: str
    person: str
    version_id: str
    table: str = Field(description="the exact reference")
    mode: Mode
    files: str = Field(description="numbers of the granted files in the manifest, as ranges such as 0-3,7")
    reserved: int = Field(description="bytes")
    charged: int = Field(description="bytes asked for so far, repeats included")
    created_at: Instant
    expires_at: Instant


class Plan(Noun):
    """Links to just the files that can hold the wanted rows, and what they cost."""

    entry: Entry
    grant: Grant | None = Field(description="None in a dry run")
    files: tuple[PlannedFile, ...]
    cost: Cost
    why: tuple[str, ...] = Field(description="what the pruning did")
    columns: tuple[str, ...] | None
    where: Where
    warnings: tuple[str, ...] = ()


class Person(Noun):
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    admin: bool = False
