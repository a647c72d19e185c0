"""Table versions: their references, what was seen of them, and how they come into the catalog."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, computed_field, model_validator

from feature_registry.errors import Invalid
from feature_registry.location import Location
from feature_registry.model.columns import StoredField
from feature_registry.model.datastacks import Datastack, MaterializationVersion
from feature_registry.model.noun import MAX_TEXT, Instant, MatVersion, Name, Noun, Reference, Text, showable
from feature_registry.model.tables import FeatureTable, HashBuckets, Metadata, Producer, TimeRange


def is_version_id(text: str) -> bool:
    """Whether it is a table version's UUID, which names it as well as its exact reference does."""
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


class TableRef(Noun):
    """`datastack/name@1507`, `@1507.2` (revision 2), `@latest` or `@unversioned`; without `@`, latest."""

    datastack: Name
    name: Name
    mat_version: MatVersion | Literal["latest", "unversioned"] = "latest"
    revision: MatVersion | None = Field(None, description="None: the newest valid one")

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


def check_successor(successor: str | None) -> None:
    """Raises `Invalid` for what is no table."""
    try:
        TableRef.parse(successor or "any/any")
    except Invalid:
        expected = "datastack/name, or datastack/name@mat_version"
        raise Invalid("is no reference", field="superseded_by", value=showable(successor), expected=expected) from None


class Layout(Noun):
    """One physical arrangement of a table version's rows."""

    name: Name = Field(description="its folder, where a table version has several")
    sort_by: tuple[str, ...] = Field((), description="the columns that order the rows; empty: as they came")
    curve: Literal["morton"] | None = Field(
        None, description="morton: by the interleaved bits of the columns of `sort_by`, which are a point's axes"
    )
    hash_buckets: tuple[HashBuckets, ...] = Field((), description="how a column's hash spreads the rows over files")


class StoredLayout(Layout):
    """A layout as the format saw it, in a folder of its name below the location."""

    snapshot: str | None = None
    fingerprint: str = Field(description="as in `Inspection`, of this layout alone")
    partition_columns: tuple[str, ...] = ()
    arrow_schema: str | None = Field(None, description="as in `Inspection`, if there are columns of this layout alone")
    bytes: int
    files: int


class Inspection(Noun):
    """What a format saw at a location. Of a table with several layouts, which are folders below the location: the
    columns, rows and logical types that all of them share, the bytes and files of all of them together.
    """

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
    fingerprint: str = Field(description="a hash of the data files' names, sizes and times: the state of the location")
    content: str | None = Field(None, description="a hash of the data files' checksums, whatever they are called")
    layouts: tuple[StoredLayout, ...] = Field((), description="empty: one layout, which lies at the location itself")

    def of_layout(self, name: str) -> Inspection:
        """One of several layouts as a table of its own; its rows, fields and content are those of the whole."""
        layout = {each.name: each for each in self.layouts}.get(name)
        if layout is None:
            expected = [each.name for each in self.layouts] or "none, for there is one only"
            raise Invalid("is no layout of the table version", field="layout", value=name, expected=expected)
        return self.model_copy(
            update={
                "location": self.location.joined(name),
                "snapshot": layout.snapshot,
                "fingerprint": layout.fingerprint,
                "partition_columns": layout.partition_columns,
                "arrow_schema": layout.arrow_schema or self.arrow_schema,
                "bytes": layout.bytes,
                "files": layout.files,
                "layouts": (),
            }
        )


class CheckResult(Noun):
    """What one check found."""

    name: str
    outcome: Literal["passed", "warned", "failed", "skipped"]
    blocking: bool = False
    message: str = ""
    details: dict[str, Any] = Field({})
    at: Instant | None = Field(None, description="when; None: at the registration")


Status = Literal["draft", "published", "deprecated"]


class Deprecation(Noun):
    """Why a table version should be read no more."""

    reason: Text = ""
    superseded_by: str | None = Field(None, description="what to read instead: a table, or a version of it")


Existence = Literal["recorded", "unverified", "verified", "missing"]
DRIFT = ("exists", "content", "schema_drift", "rows")  # what a look at a registered table finds, by name
EXPIRED = "expired"  # the detail of a check that found the materialization version expired
_EXISTENCE: dict[str, Existence] = {
    "passed": "verified",
    "warned": "verified",
    "failed": "missing",
    "skipped": "unverified",
}


class TableVersion(Noun):
    """A feature table at one materialization version, immutable; made again, it is a new revision."""

    id: str = Field(description="a UUID that names this revision for ever")
    datastack: Name
    name: Name
    mat_version: int | None = Field(description="None: unversioned")
    revision: int = Field(ge=0)
    status: Status = "draft"
    inspection: Inspection
    layouts: tuple[Layout, ...] = Field((), description="what is said of the arrangements of the rows")
    producer: Producer = Producer()
    derived_from: tuple[str, ...] = Field((), description="references of the table versions it was computed from")
    snapshot_time: Instant | None = Field(None, description="the instant that the data show, UTC")
    time_range: TimeRange | None = Field(None, description="or the range of time that they cover, UTC")
    checks: tuple[CheckResult, ...] = ()
    corrects: str | None = Field(None, description="what this revision mends in the one before")
    deprecation: Deprecation | None = Field(None, description="None: it is not deprecated")
    created_at: Instant
    created_by: str

    @property
    def ref(self) -> TableRef:
        """The exact reference of this revision."""
        mat_version: Any = "unversioned" if self.mat_version is None else self.mat_version
        return TableRef(datastack=self.datastack, name=self.name, mat_version=mat_version, revision=self.revision)

    @property
    def drift(self) -> tuple[CheckResult, ...]:
        """In what it is no longer as it was registered, or may not be."""
        return tuple(
            each
            for each in self.checks
            if each.outcome in ("warned", "failed") and (each.name in DRIFT or EXPIRED in each.details)
        )

    @property
    def existence(self) -> Existence:
        """Recorded: nobody has looked; unverified: its storage did not answer; missing: it is gone, or a part of it."""
        outcome = next((each.outcome for each in self.checks if each.name == "exists"), "")
        return _EXISTENCE.get(outcome, "recorded")


def _short(producer: Producer) -> Producer:
    """Where it comes in: what a catalog holds is read, whatever it is."""
    for name, said in producer:
        if said is not None and len(said) > MAX_TEXT:
            raise ValueError(f"{name} should have at most {MAX_TEXT} characters")
    return producer


class Registration(Metadata):
    """A manifest: where a table is, and what is said about it. Metadata that is left out stays as it was."""

    location: Location
    datastack: Name
    name: Name
    mat_version: MatVersion | None = Field(None, description="None: unversioned")
    format: str | None = Field(None, description="None: found from the data")
    snapshot: str | None = Field(None, description="the format's own version; None: the newest")
    layouts: tuple[Layout, ...] = Field(
        (),
        max_length=100,
        description="the arrangements of the rows; several lie in folders of their names below the location",
    )
    producer: Annotated[Producer, AfterValidator(_short)] = Producer()
    derived_from: tuple[str, ...] = Field((), max_length=10_000)
    logical_types: dict[str, str] = Field({}, description="column -> type to cast to on read")
    superseded_by: Reference | None = Field(None, description=Metadata.model_fields["superseded_by"].description)
    snapshot_time: Instant | None = None
    time_range: TimeRange | None = None
    corrects: Text | None = None
    publish: bool = Field(False, description="publish at once if no blocking check fails")
    confirm: str | None = Field(
        None, description="what a preview answered: refused if the data are others by now; None: whatever is there"
    )

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

    @model_validator(mode="before")
    @classmethod
    def _derived(cls, given: Any) -> Any:
        """What follows from the rest is told, and not taken."""
        return {name: each for name, each in given.items() if name != "existence"} if isinstance(given, dict) else given

    @computed_field(description="whether the table is there, as the last look found it")  # type: ignore[prop-decorator]
    @property
    def existence(self) -> Existence:
        return self.version.existence

    @property
    def ref(self) -> TableRef:
        return self.version.ref


class Contents(Noun):
    """What a catalog holds, as an export writes it and a rebuild reads it. Entries are in the order of registration."""

    datastacks: tuple[Datastack, ...] = ()
    mat_versions: tuple[MaterializationVersion, ...] = ()
    entries: tuple[Entry, ...] = ()

    @property
    def public(self) -> Contents:
        """Without what may not be handed on."""
        allowed = tuple(entry for entry in self.entries if entry.table.redistribution == "allowed")
        return self.model_copy(update={"entries": allowed})


class Exported(str):
    """The text of an export. `withheld` table versions are not in it, because they may not be handed on."""

    withheld: int

    def __new__(cls, text: str, withheld: int = 0) -> Self:
        made = super().__new__(cls, text)
        made.withheld = withheld
        return made


class Leftover(Noun):
    """Files below the managed root that no table needs."""

    location: Location = Field(description="a folder that a run wrote, or a file that was not finished")
    unfinished: bool = Field(False, description="whether it is a file that was not finished")
    drafts: tuple[str, ...] = Field((), description="abandoned drafts that lie there")
    expired: tuple[str, ...] = Field((), description="table versions that lie there and are kept no longer")
    files: int
    bytes: int
    modified: Instant = Field(description="when somebody wrote there last")


class Report(Noun):
    """The answer to a registration."""

    entry: Entry
    created: bool = Field(description="False: the same location and snapshot were registered already")
    checks: tuple[CheckResult, ...]
    confirm: str = Field("", description="names the state of the data that was looked at")

    @property
    def ref(self) -> TableRef:
        return self.entry.ref

    def __str__(self) -> str:
        """A line for the table version, and one a check."""
        lines = [f"{self.ref}, {self.entry.version.status}"]
        return "\n".join(
            lines + [f"  {each.outcome:<8} {each.name:<15} {each.message}".rstrip() for each in self.checks]
        )


class Written(Noun):
    """What a feature function returns when it wrote the table by itself, or when it lies somewhere already."""

    location: Location
    format: str | None = None
    snapshot: str | None = None
    rows: int | None = None
    layouts: tuple[Layout, ...] = ()
    derived_from: tuple[str, ...] = ()
    metadata: dict[str, Any] = Field({}, description="fields of `Metadata` that were found out while it was made")


class Dependents(Noun):
    """All that depends on a table version: what one should see before it is deprecated or unregistered."""

    table: str
    derived: tuple[str, ...] = Field((), description="table versions that were derived from it, nearest first")
    references: tuple[str, ...] = Field((), description="columns of other tables that point to its table")
    aliases: tuple[str, ...] = Field((), description="table versions of other names whose data lie at its location")
    predecessors: tuple[str, ...] = Field((), description="tables that name it as their successor")

    @property
    def said(self) -> tuple[str, ...]:
        """A sentence a kind; empty: nothing depends on it."""
        verbs = {"derived": "derived from it", "references": "pointing to it", "aliases": "at its location"}
        verbs["predecessors"] = "superseded by it"
        return tuple(f"{verb}: {', '.join(getattr(self, kind))}" for kind, verb in verbs.items() if getattr(self, kind))


class Event(Noun):
    """One change of the catalog."""

    number: int = Field(description="counts up by the order of commits")
    at: Instant
    by: str
    kind: str = Field(description="registered, described, checked, published, deprecated ...")
    datastack: str
    name: str | None = None
    version_id: str | None = None
    details: dict[str, Any] = Field({})


class Changes(Noun):
    """A part of the catalog's record, for who follows it: ask again after `next`, and nothing is missed or doubled."""

    events: tuple[Event, ...] = Field(description="in the order of their commits, without those of others' drafts")
    next: int = Field(description="the number after which the next part begins")
    newest: int = Field(description="the number of the newest change; there is more if it is beyond `next`")
