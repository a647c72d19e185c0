"""A handle of one table version: what is known of it, and the ways to read it."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from feature_registry.client import filters, scan
from feature_registry.client.failures import explained
from feature_registry.client.filters import Filter, Where
from feature_registry.client.text import card, summary
from feature_registry.errors import Invalid, Unavailable, needed
from feature_registry.model import Column, Entry, Event, Mode, Plan, PlanRequest

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from feature_registry.client.http import Service
    from feature_registry.client.joins import How, On


class ReadPlan(Plan):
    """A plan that can be read. Its links are bearer secrets, so its text shows none of them."""

    _filter: Filter = PrivateAttr(default_factory=Filter)

    @classmethod
    def of(cls, plan: Plan, wanted: Filter) -> ReadPlan:
        found = cls(**dict(plan) | {"where": wanted.sent})  # the service does not repeat a long one
        found._filter = wanted
        return found

    def scan(self) -> pl.LazyFrame:
        """The wanted rows and columns, on the links of this very plan."""
        return scan.frame(self, self._filter)

    @property
    def filter(self) -> Filter:
        return self._filter

    @property
    def urls(self) -> list[str]:
        return scan.urls(self)

    def __str__(self) -> str:
        return f"{self.entry.ref}: {summary(self.cost)}" + "".join(f"\n  {reason}" for reason in self.why)

    __repr__ = __str__


def told(plan: ReadPlan) -> ReadPlan:
    """The plan, whose warnings its reader gets as Python's."""
    for warning in plan.warnings:
        warnings.warn(warning, stacklevel=3)
    return plan


class Table:
    """One table version, pinned to its revision when first used: to the one of the instant `as_of`, if there is one.

    `where` is pyarrow's filters form, `[(column, operator, value), ...]` or a list of such lists of which one must
    hold, or a Polars expression. A null matches no condition.
    """

    def __init__(
        self,
        service: Service,
        ref: str,
        mode: Mode | None = None,
        as_of: datetime | None = None,
        nearest: bool = False,
    ) -> None:
        self._service = service
        self._asked = ref
        self._mode = mode
        self._as_of = as_of
        self._nearest = nearest

    @cached_property
    def entry(self) -> Entry:
        return self._service.describe(self._asked, self._as_of, self._nearest)

    @property
    def ref(self) -> str:
        """The exact reference, `datastack/name@1507.0`."""
        return str(self.entry.ref)

    @property
    def name(self) -> str:
        return self.entry.table.name

    @property
    def description(self) -> str:
        return self.entry.table.description

    @property
    def rows(self) -> int | None:
        return self.entry.version.inspection.rows

    @property
    def bytes(self) -> int:
        """Of all its layouts together."""
        return self.entry.version.inspection.bytes

    @property
    def columns(self) -> dict[str, Column]:
        """What is said about each stored column, in the table's order."""
        said = self.entry.table.columns
        return {field.name: said.get(field.name, Column()) for field in self.entry.version.inspection.fields}

    @cached_property
    def schema(self) -> pl.Schema:
        """The types that a reader gets."""
        import polars as pl

        inspection = self.entry.version.inspection
        return pl.Schema({**scan.stored_schema(inspection), **scan.casts(inspection)})

    def history(self) -> tuple[Event, ...]:
        return self._service.history(self.ref, self._as_of)

    def plan(
        self,
        where: Where = None,
        columns: Sequence[str] | None = None,
        *,
        mode: Mode | None = None,
        hours: float = 24,
        dry_run: bool = False,
        layout: str | None = None,
    ) -> ReadPlan:
        """What a read would cost, and the links for it; `dry_run` grants nothing. Of several layouts, the one that
        fits `where` best is read, unless one is named.
        """
        inspection = self.entry.version.inspection
        wanted = filters.build(where, scan.stored_schema(inspection), inspection.logical_types)
        request = {
            "table": self.ref,
            "columns": self._known(columns),
            "where": wanted.sent,
            "mode": mode or self._reading,
            "hours": hours,
            "dry_run": dry_run,
            "layout": layout,
        }
        plan = self._service.plan(PlanRequest.checked(request))
        said = dict.fromkeys((*self.entry.warnings, *plan.warnings))  # the plan knows the exact reference only
        return ReadPlan.of(plan.model_copy(update={"warnings": tuple(said)}), wanted)

    def scan(self, where: Where = None, columns: Sequence[str] | None = None, **options: Any) -> pl.LazyFrame:
        """A LazyFrame on the links of a plan that is made now; `options` are those of `plan`."""
        return told(self.plan(where, columns, **options)).scan()

    def to_polars(self, where: Where = None, columns: Sequence[str] | None = None, **options: Any) -> pl.DataFrame:
        plan = told(self.plan(where, columns, **options))
        with contextlib.suppress(Unavailable), explained([plan]):
            return plan.scan().collect()
        with explained([plan]):  # Polars' own tries end after some seconds; a server may take longer to start
            return plan.scan().collect()

    def to_arrow(self, where: Where = None, columns: Sequence[str] | None = None, **options: Any) -> pa.Table:
        needed("pyarrow", "pandas")
        return self.to_polars(where, columns, **options).to_arrow()

    def to_pandas(self, where: Where = None, columns: Sequence[str] | None = None, **options: Any) -> pd.DataFrame:
        """Integers with nulls become pandas' own nullable integers: an id never becomes a float."""
        library, _ = needed("pandas", "pandas"), needed("pyarrow", "pandas")
        frame = self.to_polars(where, columns, **options)
        found = frame.to_pandas()
        for name, kind in frame.schema.items():
            if kind.is_integer() and frame[name].null_count():  # numpy would make them floats
                found[name] = library.array(frame[name].to_list(), dtype=str(kind))
        return found

    def batches(
        self,
        where: Where = None,
        columns: Sequence[str] | None = None,
        *,
        rows: int = 65_536,
        seed: int | None = None,
        **options: Any,
    ) -> Iterator[pl.DataFrame]:
        """Frames of `rows` rows, the last one shorter, in bounded memory.

        With a seed, the files come in an order drawn by it and the rows within each frame are shuffled, the same way
        every time.
        """
        if rows < 1:
            raise Invalid("is no number of rows", field="rows", value=rows, expected="1 or more")
        plan = told(self.plan(where, columns, **options))
        return scan.batches(plan, plan.filter, rows, seed)

    def join(
        self,
        other: Table | str,
        on: On = None,
        how: How = "left",
        where: Where = None,
        columns: Sequence[str] | None = None,
        *,
        across_versions: bool = False,
        across_volumes: bool = False,
    ) -> pl.LazyFrame:
        """The rows of this table, or those that `where` chooses, with the columns of another one, as a LazyFrame.

        `other` by its name is at this datastack and version unless it says others. Without `on`, which is a column or
        a mapping of columns to the other's, they are joined by the reference that one of them declares, or both to
        the same column. What comes from another materialization version is called `column@1412`, and
        `column@unversioned`; root ids are not joined across versions, nor tables across aligned volumes, unless said.
        `columns` are those of the answer.
        """
        from feature_registry.client.joins import joined

        if isinstance(other, str):
            other = self._beside(other)
        said = {"across_versions": across_versions, "across_volumes": across_volumes}
        return joined([self, other], on, how, where, columns, **said)

    def download(
        self, folder: str | PathLike[str], where: Where = None, progress: bool = True, layout: str | None = None
    ) -> list[Path]:
        """Whole files that can hold the wanted rows, into a folder that Polars or DuckDB read as it is: those of one
        layout, where there are several. Goes on where it was stopped, and does nothing when all is there.
        """
        from feature_registry.client.download import download

        return download(self, folder, where, progress, layout)

    def _beside(self, name: str) -> Table:
        here = self.entry.ref
        path, at, version = (name if "/" in name else f"{here.datastack}/{name}").partition("@")
        if not at and path.startswith(f"{here.datastack}/"):
            version = str(here.mat_version)
        return Table(self._service, f"{path}@{version or 'latest'}", self._mode, self._as_of)

    @property
    def _reading(self) -> Mode:
        """Embedded, local files are read by their paths; what a bucket holds, by URLs that it signs."""
        if self._mode is not None:
            return self._mode
        return "direct" if self.entry.version.inspection.location.scheme == "file" else "urls"

    def _known(self, columns: Sequence[str] | None) -> tuple[str, ...] | None:
        if columns is None:
            return None
        wanted = (columns,) if isinstance(columns, str) else tuple(columns)
        names = [field.name for field in self.entry.version.inspection.fields]
        for column in wanted:
            if column not in names:
                raise Invalid("is no column of the table", field="columns", value=column, expected=names)
        if len(set(wanted)) != len(wanted) or not wanted:
            raise Invalid("repeats a column or is empty", field="columns", value=list(wanted), expected=names)
        return wanted

    def __repr__(self) -> str:
        return card(self.entry)
