"""Search, plans and grants: how people find tables and get at their files."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

from feature_registry.location import Location
from feature_registry.model.noun import Days, Instant, MatVersion, Moment, Nanometres, Noun
from feature_registry.model.versions import Entry, Status

LARGEST_JSON_INTEGER = 2**53  # beyond it JavaScript rounds
LONG_LIST = 1_000  # values of a predicate beyond which it is not repeated in the plan


class Search(Noun):
    """What is searched for; every filter that is given must hold."""

    text: str = Field("", max_length=1_000, description="words in names, descriptions, columns, tags and owners")
    datastack: str | None = Field(None, description="its name")
    aligned_volume: str | None = Field(None, description="of its datastack")
    name: str | None = Field(None, description="the table's name")
    mat_version: MatVersion | Literal["latest", "unversioned"] | None = Field(None, description="None: any")
    column: str | None = Field(None, description="a column that the table has")
    tags: tuple[str, ...] = Field((), max_length=100, description="all of them")
    any_tags: tuple[str, ...] = Field((), max_length=100, description="at least one of them")
    owner: str | None = Field(None, description="a team or a person")
    license: str | None = Field(None, description="an SPDX identifier, or the licence's name")
    format: str | None = Field(None, description="such as delta")
    status: Status | None = Field(None, description="drafts are shown to their makers only")
    unit: str | None = Field(None, description="of one of its columns")
    kind: str | None = Field(None, description="of one of its columns: id, segmentation_node, split_point, ...")
    key: str | None = Field(None, description="a column of its key")
    partition_column: str | None = Field(None, description="a column that its files are parted by")
    hash_column: str | None = Field(None, description="a column whose hash spreads the rows")
    producer: str | None = Field(None, description="the pipeline, the model, the code version or the run")
    code_version: str | None = Field(None, description="of what made it")
    config: str | None = Field(None, description="of what made it: the configuration's hash, or its name")
    model: str | None = Field(None, description="the trained model that made it")
    model_before: str | None = Field(
        None, description="made by an older one of the same model's versions: `segclr-2.1` finds segclr-2.0 and 1.9"
    )
    references: str | None = Field(None, description="a table that it points to")
    derived_from: str | None = Field(None, description="a table that it was computed from, as datastack/name")
    superseded_by: str | None = Field(None, description="the table that replaces it")
    location: Location | None = Field(None, description="where it lies, or a place above")
    snapshot: str | None = Field(None, description="the format's own version")
    layout: str | None = Field(None, description="a layout's name, or a column that one sorts by")
    mutability: str | None = Field(None, description="static, append or mutable")
    durability: str | None = Field(None, description="durable, reproducible or best_effort")
    usage_constraints: str | None = Field(None, description="words that the constraints hold")
    citation: str | None = Field(None, description="words that the citation holds")
    invalidation_radius: Nanometres | None = Field(None, description="nm, at most")
    retention_days: Days | None = Field(None, description="at most")
    created_by: str | None = Field(None, description="who registered it")
    at: Instant | None = Field(None, description="the instant that the data show")
    as_of: Moment | None = Field(None, description="the catalog as it was at this instant; None: as it is")
    columns: bool = Field(False, description="whether entries tell their columns and all checks: most of an entry")
    limit: int = Field(100, ge=1, le=1000, description="entries of a page")
    after: str | None = Field(None, description="the `next` of the page before")


class Found(Noun):
    """One page of entries. Unless `Search.columns` asked for it they say nothing of their columns, nor of checks that
    passed, but for whether the table is there.
    """

    entries: tuple[Entry, ...]
    next: str | None = Field(None, description="give it as `after` for the next page; None: there is none")
    corrected: dict[str, tuple[str, ...]] = Field(
        {}, description="words of the text that nothing begins with -> the nearest ones, which were taken for them"
    )


class FacetValue(Noun):
    """A value that tables have in common."""

    value: str
    tables: int = Field(description="how many have it")


class Facets(Noun):
    """By what one may narrow a search: the values that the found tables have, those of most tables first."""

    tables: int = Field(description="how many were found")
    facets: dict[str, tuple[FacetValue, ...]] = Field({}, description="by name: datastack, tag, owner, license, ...")
    corrected: dict[str, tuple[str, ...]] = Field({}, description="as in `Found`")


Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in", "not in"]


def _json_safe(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and len(value) > LONG_LIST:  # a million ids: a tenth of the time
        kinds = set(map(type, value))
        if kinds == {int}:
            return list(map(str, value))
        if kinds == {str}:
            return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_json_safe(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_JSON_INTEGER:
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


Condition = tuple[str, Operator, Annotated[Any, PlainSerializer(_json_safe, when_used="json")]]


def _normal_form(where: Any) -> Any:
    """pyarrow's filters: a list of conditions (and), or a list of such lists (or of ands)."""
    if where is None:
        return ()
    if _is_list(where) and where and _is_list(where[0]) and where[0] and isinstance(where[0][0], str):
        where = [where]
    if not _is_list(where) or not all(map(_is_list, where)):
        raise ValueError("not a list of conditions, nor a list of such lists")
    return tuple(tuple(map(_condition, conditions)) for conditions in where)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _condition(given: Any) -> Any:
    if not _is_list(given) or len(given) != 3:
        raise ValueError(f"{given!r:.100} is no condition (column, operator, value)")
    column, operator, value = given
    return column, "==" if operator == "=" else operator, value


_Given = tuple[str, Operator | Literal["="], Any]
Where = Annotated[
    tuple[tuple[Condition, ...], ...],
    BeforeValidator(_normal_form, json_schema_input_type=list[_Given] | list[list[_Given]] | None),
]


Mode = Literal["links", "urls", "direct"]


class PlanRequest(Noun):
    """Which rows and columns of which table version are wanted."""

    table: str = Field(description="datastack/name@mat_version, or a version's UUID")
    nearest: bool = Field(False, description="whether the newest older version will do where this one is not there")
    columns: tuple[str, ...] | None = Field(None, description="None: all")
    where: Where = Field((), description="pyarrow's filters: [(column, operator, value), ...] or a list of such lists")
    mode: Mode = Field("links", description="links of the registry, direct signed URLs, or, embedded only, paths")
    hours: float = Field(24, gt=0, le=24 * 7, description="how long the grant lasts")
    dry_run: bool = Field(False, description="only say what it would cost: no grant, no links")
    layout: str | None = Field(None, description="which of the table version's layouts; None: the one that fits best")
    grant: str | None = Field(
        None, pattern="^[0-9a-f]{20}$", description="the grant's id, made up by the caller: asked twice, granted once"
    )

    @property
    def repeated(self) -> Where:
        """What the plan says of `where`: all of it, or nothing if it is long."""
        lists = (value for part in self.where for _, _, value in part if isinstance(value, (list, tuple)))
        return self.where if sum(map(len, lists)) <= LONG_LIST else ()


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
    layout: str | None = Field(None, description="the one that is read; None: the table version has one only")
    why: tuple[str, ...] = Field(description="what the pruning did, and what the other layouts would have cost")
    columns: tuple[str, ...] | None
    where: Where = Field(description=f"the request's; empty if its lists hold more than {LONG_LIST:,} values")
    warnings: tuple[str, ...] = ()


class Person(Noun):
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    admin: bool = False
