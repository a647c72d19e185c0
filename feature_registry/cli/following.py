"""Commands of what hangs together and what changes: lineage, stale, changes."""

from __future__ import annotations

from typing import Annotated

import typer

from feature_registry.cli.catalog import AsJson, AsOf, printed
from feature_registry.cli.commands import app, opened
from feature_registry.client.text import grid
from feature_registry.model import Direction


@app.command()
def lineage(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    ref: Annotated[str, typer.Argument(help="datastack/name@mat_version")],
    direction: Annotated[Direction, typer.Option(help="up, down or both.")] = "both",
    depth: Annotated[int | None, typer.Option(min=1, help="So many generations; unset: all.")] = None,
    columns: Annotated[bool, typer.Option("--columns", help="Also which columns come from which.")] = False,
    column: Annotated[str | None, typer.Option(help="Of this column alone.")] = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """What a table version was derived from, and what was derived from it."""
    found = opened(context, as_of=as_of).lineage(ref, direction, depth, columns=columns, column=column)
    if as_json:
        printed(found)
    else:
        typer.echo(str(found))


@app.command()
def stale(
    context: typer.Context,
    datastack: Annotated[str | None, typer.Argument(help="Unset: all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """The table versions that should be made again, for what they were derived from is not what it was."""
    found = opened(context).stale(datastack)
    if as_json:
        printed(list(found))
        return
    lines = [(each.table, cause.said) for each in found for cause in each.causes]
    typer.echo(grid(("table", "is stale, for"), lines) if lines else "nothing is stale")


@app.command()
def changes(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    after: Annotated[int, typer.Option(min=0, help="The number of the last change that is known.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as changes come, until interrupted.")] = False,
    datastack: Annotated[str | None, typer.Option(help="Only of this datastack.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only of this kind, such as published.")] = None,
    as_json: AsJson = False,
) -> None:
    """The catalog's changes after a number, oldest first; as JSON, one a line."""
    feed = opened(context).changes(after, datastack, kind)
    for event in feed.follow() if follow else feed:
        if as_json:
            typer.echo(event.model_dump_json())
        else:
            about = "/".join(part for part in (event.datastack, event.name) if part)
            typer.echo(f"{event.number}  {event.at:%Y-%m-%d %H:%M:%S}  {event.kind}  {about}  by {event.by}")
