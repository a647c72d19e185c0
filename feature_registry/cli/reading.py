"""Commands that read: plan, read, download."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from feature_registry.cli import conditions
from feature_registry.cli.catalog import AsJson, Nearest, printed
from feature_registry.cli.commands import app, opened, quiet
from feature_registry.client.download import TERMS
from feature_registry.client.failures import explained
from feature_registry.client.text import amount, plain
from feature_registry.errors import Invalid
from feature_registry.model import Entry, Mode, Plan

if TYPE_CHECKING:
    import polars as pl

SHOWN = 20  # rows on a terminal
SINKS = {".parquet": "sink_parquet", ".csv": "sink_csv", ".arrow": "sink_ipc"}

Ref = Annotated[str, typer.Argument(help="datastack/name@mat_version")]
Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--where", help="COLUMN OP VALUE[,VALUE] with ==, !=, <, <=, >, >=, in or 'not in'; repeated, all hold."
    ),
]
Columns = Annotated[str | None, typer.Option(help="Names with commas; unset: all.")]
LayoutName = Annotated[str | None, typer.Option("--layout", help="One of several; unset: the one that fits best.")]


def _names(columns: str | None) -> list[str] | None:
    return None if columns is None else [name.strip() for name in columns.split(",")]


@app.command()
def plan(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    ref: Ref,
    where: Conditions = None,
    columns: Columns = None,
    mode: Annotated[str | None, typer.Option(help="links, urls, or, embedded only, direct.")] = None,
    layout: LayoutName = None,
    nearest: Nearest = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only the cost: no grant, no links.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a read would cost, and with --json the links for it, which are secrets."""
    if mode not in (None, "links", "urls", "direct"):
        raise typer.BadParameter(f"{mode!r} is no mode; links, urls or direct")
    table, asked = opened(context).table(ref, nearest), cast("Mode | None", mode)
    given = conditions.parsed(where or ()), _names(columns)
    made = table.plan(*given, mode=asked, dry_run=dry_run, layout=layout)
    if as_json:
        printed(made)
        return
    typer.echo(str(made))
    if made.grant is not None:
        typer.echo(f"grant {made.grant.id} until {made.grant.expires_at.isoformat(timespec='seconds')}")
    _warn(made)


def _warn(plan: Plan) -> None:
    for warning in plan.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)


@app.command()
def read(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    ref: Ref,
    where: Conditions = None,
    columns: Columns = None,
    layout: LayoutName = None,
    nearest: Nearest = False,
    limit: Annotated[int | None, typer.Option(min=0, help=f"At most so many rows; on a terminal {SHOWN}.")] = None,
    output: Annotated[Path | None, typer.Option(help="A .parquet, .csv or .arrow file; unset: a preview.")] = None,
) -> None:
    """Read rows, to the terminal or into a file."""
    if output is not None and output.suffix.lower() not in SINKS:
        raise Invalid("has an ending of no format", field="output", value=str(output), expected=list(SINKS))
    table = opened(context).table(ref, nearest)
    plan = table.plan(conditions.parsed(where or ()), _names(columns), layout=layout)
    _warn(plan)
    with explained([plan]):
        if output is None:
            _preview(plan.scan(), SHOWN if limit is None else limit)
        else:
            _written(plan.scan() if limit is None else plan.scan().head(limit), output, plan.entry)
            typer.echo(f"{output} ({amount(output.stat().st_size)})", err=True)


def _preview(frame: pl.LazyFrame, limit: int) -> None:
    import polars as pl

    with pl.Config(tbl_rows=limit, tbl_cols=-1, tbl_hide_dataframe_shape=True, fmt_str_lengths=60, tbl_width_chars=-1):
        typer.echo(str(frame.head(limit).collect()))


def _written(frame: pl.LazyFrame, output: Path, entry: Entry) -> None:
    """Streams into a file beside it, so that a read that breaks off leaves nothing behind. Parquet keeps the terms."""
    draft = output.with_name(f".{output.name}.{os.getpid()}")
    sink = SINKS[output.suffix.lower()]
    said = {"table": str(entry.ref), **entry.table.model_dump(include=TERMS, exclude_none=True)}
    try:
        getattr(frame, sink)(draft, **({"metadata": said} if sink == "sink_parquet" else {}))
        draft.replace(output)
    finally:
        draft.unlink(missing_ok=True)


@app.command()
def download(
    context: typer.Context,
    ref: Ref,
    folder: Annotated[Path, typer.Argument(help="Where to; a download that was stopped goes on.")],
    where: Conditions = None,
    nearest: Nearest = False,
) -> None:
    """Whole files of a table, as they are stored. Those that cannot hold rows of --where are left out."""
    table = opened(context).table(ref, nearest)
    for warning in table.entry.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)
    files = table.download(folder, conditions.parsed(where or ()), progress=not quiet())
    typer.echo(f"{len(files):,} files, {amount(sum(file.stat().st_size for file in files))} in {folder}")
