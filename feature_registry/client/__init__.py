"""The client: finds feature tables and reads them, over HTTP or embedded, as Polars, DuckDB, Arrow or pandas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from pydantic import SecretStr

from feature_registry.client.changes import ChangeFeed
from feature_registry.client.found import SearchResult
from feature_registry.client.http import HttpService, Service
from feature_registry.client.table import ReadPlan, Table
from feature_registry.errors import Invalid
from feature_registry.model import (
    Dependents,
    Difference,
    Direction,
    Entry,
    Event,
    Exported,
    Facets,
    Grant,
    Lineage,
    MaterializationVersion,
    Mode,
    Plan,
    Registration,
    Report,
    RuleReport,
    Search,
    Stale,
    Suggestions,
    TableRef,
    Violation,
    aware,
    is_version_id,
)
from feature_registry.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from feature_registry.client.duck import Connection
    from feature_registry.client.filters import Where
    from feature_registry.client.joins import How, On

__all__ = ["FeatureRegistry", "HttpService", "ReadPlan", "SearchResult", "Table"]

MatVersion = int | Literal["latest", "unversioned"]
UNSAID: Any = object()


class FeatureRegistry:
    """The registry as an analyst sees it, at one materialization version of a datastack.

    `server` is an address, an `HttpService` or a `Registry`; None: the address in `FEATURE_REGISTRY_SERVER`, or without
    one the embedded registry below `FEATURE_REGISTRY_HOME`. Without a datastack, tables are named
    `datastack/name`. `mat_version` None is the latest one of each table. With `as_of`, tables are found and described
    as the catalog knew them at that instant; what is registered, changed or planned is so now.
    """

    def __init__(
        self,
        datastack: str | None = None,
        mat_version: MatVersion | None = None,
        server: str | Service | None = None,
        token: str | None = None,
        as_of: datetime | None = None,
    ) -> None:
        settings = Settings()
        self.datastack = datastack
        self.as_of = None if as_of is None else aware("as_of", as_of)
        self.mat_version: MatVersion = "latest" if mat_version is None else mat_version
        if datastack is not None:
            TableRef.checked({"datastack": datastack, "name": "any", "mat_version": self.mat_version})
        server = server or settings.server
        secret = settings.token if token is None else SecretStr(token)
        self.service = HttpService(server, secret) if isinstance(server, str) else server or _embedded(settings)

    def search(self, text: str = "", *, mat_version: Any = UNSAID, **filters: Any) -> SearchResult:
        """What matches every filter; they are the fields of `Search`, such as `tags`, `column` or `owner`.

        `mat_version=None` searches all versions, `datastack=None` all datastacks.
        """
        return SearchResult(self.service, self._wanted(text, mat_version, filters))

    def facets(self, text: str = "", *, mat_version: Any = UNSAID, most: int = 20, **filters: Any) -> Facets:
        """How many of the tables that `search` finds have which tags, owners, formats ..., at most so many of each."""
        return self.service.facets(self._wanted(text, mat_version, filters), most)

    def rename_tag(self, old: str, new: str, datastack: str | None = None) -> tuple[str, ...]:
        """Renames a tag of all tables, or of one datastack's, at once; answers those, as datastack/name."""
        return self.service.rename_tag(old, new, datastack)

    def _wanted(self, text: str, mat_version: Any, filters: dict[str, Any]) -> Search:
        version = self.mat_version if mat_version is UNSAID else mat_version
        fields = {"text": text, "datastack": self.datastack, "mat_version": version, "as_of": self.as_of, **filters}
        for name in ("tags", "any_tags"):
            if isinstance(fields.get(name), str):
                fields[name] = (fields[name],)
        return Search.checked(fields)

    def table(self, name: str, nearest: bool = False) -> Table:
        """A table by its name, `name@1507`, `datastack/name@1507` or a version's UUID. With `nearest`, of the newest
        older version where it has none at this one, which its entry warns of.
        """
        mode: Mode | None = "links" if isinstance(self.service, HttpService) else None
        return Table(self.service, self.ref(name), mode, self.as_of, nearest)

    __getitem__ = table

    def ref(self, name: str) -> str:
        """The reference of a table by its name, at this client's datastack and version unless the name says others. A
        version's UUID stays as it is.
        """
        if not isinstance(name, str):
            raise Invalid("is no name of a table", field="table", value=str(name), expected="each as an argument")
        if is_version_id(name):
            return name
        if "/" not in name:
            if self.datastack is None:
                raise Invalid("names no datastack", field="table", value=name, expected="datastack/name@mat_version")
            name = f"{self.datastack}/{name}"
        at_ours = "@" not in name and name.partition("/")[0] == self.datastack
        return str(TableRef.parse(f"{name}@{self.mat_version}" if at_ours else name))

    def join(
        self,
        first: str,
        *others: str,
        on: On = None,
        how: How = "left",
        where: Where = None,
        columns: Sequence[str] | None = None,
        across_versions: bool = False,
        across_volumes: bool = False,
    ) -> pl.LazyFrame:
        """The rows of the first table with the columns of the others, as in `Table.join`.

        With `on`, all are joined to the first table; without, each to the earliest one that it is declared to be
        joined with.
        """
        from feature_registry.client.joins import joined

        tables = [self.table(name) for name in (first, *others)]
        said = {"across_versions": across_versions, "across_volumes": across_volumes}
        return joined(tables, on, how, where, columns, **said)

    def duckdb(
        self, tables: Iterable[str] | Mapping[str, Any] | None = None, *, across_volumes: bool = False
    ) -> Connection:
        """A DuckDB connection in which every table of the datastack at the version is a view.

        `tables` chooses them; as a mapping of names to pyarrow's filters (or None), a view has only such rows, and
        only files that can hold them are granted. Tables of two aligned volumes are refused unless said. SQL may join
        what it likes: each view's comment, in `duckdb_views()`, says of which materialization version it is.
        """
        from feature_registry.client import duck
        from feature_registry.client.joins import check_volumes

        if tables is None:
            handles = [(self._pinned(entry), None) for entry in self.search(columns=True)]
        else:
            if not isinstance(tables, Mapping):
                tables = dict.fromkeys([tables] if isinstance(tables, str) else tables)
            handles = [(self.table(name), where) for name, where in tables.items()]
        if not across_volumes:
            check_volumes(self.service, [table.entry for table, _ in handles])
        return duck.Connection((table.name, table, where) for table, where in handles)

    def register(self, location: str | PathLike[str], name: str, *, publish: bool = False, **metadata: Any) -> Report:
        """Registers a table that lies somewhere already, as a draft unless `publish`.

        `metadata` are the fields of `Registration`. `mat_version` is the client's unless said; None registers an
        unversioned table. Metadata left out stays as it was.
        """
        return self.service.register(self._registration(location, name, publish, metadata))

    def preview(self, location: str | PathLike[str], name: str, **metadata: Any) -> Report:
        """What `register` would answer, also where it would refuse; registers nothing. To register just what was looked
        at, say `confirm=report.confirm`.
        """
        return self.service.preview(self._registration(location, name, False, metadata))

    def suggest(self, location: str | PathLike[str], name: str, **metadata: Any) -> Suggestions:
        """What one may say of the table: column kinds, units, key and references, with why and how sure. `metadata` are
        the fields of `Registration`; registers nothing.
        """
        return self.service.suggest(self._registration(location, name, False, metadata))

    def lint(self) -> tuple[Violation, ...]:
        """What of the datastack's published versions, or of all, violates the present policies."""
        return self.service.lint(self.datastack)

    def publish(self, table: str) -> Entry:
        return self.service.publish(self.ref(table))

    def deprecate(self, table: str, reason: str = "", superseded_by: str | None = None) -> Entry:
        return self.service.deprecate(self.ref(table), reason, superseded_by)

    def unregister(self, table: str, force: bool = False) -> Entry:
        """Forgets a table version, and answers what it was; its data stay. Refused for one that others were derived
        from, unless forced.
        """
        return self.service.unregister(self.ref(table), force)

    def unregister_run(self, run_id: str) -> tuple[Entry, ...]:
        """Forgets all table versions that a run made, or none: refused if others were derived from one."""
        return self.service.unregister_run(run_id)

    def dependents(self, table: str) -> Dependents:
        """All that depends on a table version, to be seen before it is deprecated or unregistered."""
        return self.service.dependents(self.ref(table))

    def edit(self, table: str, *, based_on: str | None = None, **changes: Any) -> Entry:
        """Changes what is said about a table; the fields of `Metadata`. With `based_on`, the etag of the entry's table
        that the change is based on, it is refused if that was changed since, and the refusal says how.
        """
        return self.service.edit(self.ref(table), changes, based_on)

    def transfer(self, table: str, team: str | None = None, person: str | None = None) -> Entry:
        """Gives a table to another owner, which its history tells."""
        return self.service.transfer(self.ref(table), team, person)

    def check(self, table: str) -> Entry:
        """Looks again at what is registered: whether it is there, and as it was. The answer's warnings say what is not,
        and so will every description of it from now on.
        """
        return self.service.check(self.ref(table))

    def check_all(self, datastack: str | None = UNSAID, limit: int | None = None) -> Iterator[Entry]:
        """Checks every version that is no draft, the longest unchecked first; `datastack=None`: of all datastacks."""
        return self.service.check_all(self.datastack if datastack is UNSAID else datastack, limit)

    def history(self, table: str) -> tuple[Event, ...]:
        return self.service.history(self.ref(table), self.as_of)

    def lineage(
        self,
        table: str,
        direction: Direction = "both",
        depth: int | None = None,
        *,
        columns: bool = False,
        column: str | None = None,
    ) -> Lineage:
        """What the table version was derived from, and what was derived from it, nearest first, up to `depth`
        generations; with `columns`, also which columns come from which. Of one `column`, its own lineage.
        """
        ref = self.ref(table)
        return self.service.lineage(ref, self.as_of, direction, depth, columns=columns, column=column)

    def stale(self, datastack: str | None = None) -> tuple[Stale, ...]:
        """The table versions that should be made again, and why; of this client's datastack unless said."""
        return self.service.stale(datastack or self.datastack)

    def changes(self, after: int = 0, datastack: str | None = None, kind: str | None = None) -> ChangeFeed:
        """The catalog's changes after a number, oldest first: iterate over those up to now, or over its `follow()`."""
        return ChangeFeed(self.service, after, datastack, kind)

    def difference(
        self,
        table: str,
        old: int | str,
        new: int | str,
        *,
        key: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        into: str | PathLike[str] | None = None,
    ) -> Difference:
        """What changed in a table from one materialization version to another: its schema, and its rows by their key.

        `old` and `new` are such as 1412 or "1412.0". Unless said, the key is the declared one, and all columns of both
        are compared. Into the folder `into` go the keys themselves, as added.parquet, removed.parquet and
        changed.parquet, which says of each column whether its value changed. Reads the key and the columns of both
        versions, once but for the key; what does not fit in a gigabyte of memory goes to `TMPDIR`.
        """
        from feature_registry.client.differences import difference

        name = self.ref(table).partition("@")[0]
        handles = (self.table(f"{name}@{each}") for each in (old, new))
        return difference(self.service, *handles, key=key, columns=columns, into=into)

    def rules(self, datastack: str | None = None) -> tuple[RuleReport, ...]:
        """Which feature tables lack which keys and materialization versions, by the rules of the datastacks' policies,
        as `check_rules` found it last.
        """
        return self.service.rules(datastack or self.datastack)

    def check_rules(self, datastack: str | None = None, **chosen: Any) -> tuple[RuleReport, ...]:
        """Checks the rules, and records what is found; embedded only, for it reads whole columns. `chosen` may be
        `names` of rules and `mat_versions`.
        """
        if isinstance(self.service, HttpService):
            raise Invalid("runs where the tables are", field="server", value=self.service.address, expected="none")
        return self.service.check_rules(datastack or self.datastack, **chosen)

    def resolve(self, table: str, nearest: bool = False) -> Table:
        """The table itself, or the newest of those that superseded it, at the same materialization version if there is
        one; else its entry warns of it.
        """
        return self._pinned(self.service.resolve(self.ref(table), self.as_of, nearest))

    def mat_versions(self) -> tuple[MaterializationVersion, ...]:
        if self.datastack is None:
            raise Invalid("is not said", field="datastack", value=None, expected="FeatureRegistry('a_datastack')")
        return self.service.mat_versions(self.datastack)

    def spent(self, grant: Plan | Grant | str) -> int:
        """Bytes charged so far to a plan, to a grant, or to the grant of this id."""
        found = grant.grant if isinstance(grant, Plan) else grant
        if found is None:  # a dry run
            return 0
        return self.service.grant(found if isinstance(found, str) else found.id).charged

    def cite(self, *tables: str, style: str = "bibtex", lineage: bool = True) -> str:
        """How to cite tables, as `bibtex` or `csl_json`: each work once, and which tables it covers; with `lineage`,
        also what they were computed from.
        """
        return self.service.cite([self.ref(table) for table in tables], style, lineage)

    def export(self, name: str, public: bool = False) -> Exported:
        """The catalog, without drafts, in another form; for the public, without what may not be handed on: its
        `withheld` says of how many table versions.
        """
        return self.service.export(name, public)

    def close(self) -> None:
        self.service.close()

    def __enter__(self) -> FeatureRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = self.service.address if isinstance(self.service, HttpService) else "embedded"
        return f"FeatureRegistry({self.datastack!r}, mat_version={self.mat_version!r}, server={where!r})"

    def _pinned(self, entry: Entry) -> Table:
        table = self.table(str(entry.ref))
        table.__dict__["entry"] = entry  # known already: no call a table
        return table

    def _registration(
        self, location: str | PathLike[str], name: str, publish: bool, metadata: Mapping[str, Any]
    ) -> Registration:
        if self.mat_version == "latest" and "mat_version" not in metadata:
            raise Invalid(
                "is needed to register a table",
                field="mat_version",
                value="latest",
                expected="a number, or None for an unversioned table",
            )
        version = self.mat_version if isinstance(self.mat_version, int) else None
        said: dict[str, Any] = {"datastack": self.datastack, "mat_version": version, **metadata}
        return Registration.checked({**said, "location": location, "name": name, "publish": publish})


def _embedded(settings: Settings) -> Service:
    try:
        from feature_registry import Registry
    except ImportError as missing:
        raise ImportError(f"{missing}, or set FEATURE_REGISTRY_SERVER to a registry's address") from missing
    return Registry(settings)
