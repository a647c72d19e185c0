"""The command that looks again at what is registered."""

from __future__ import annotations

from typing import Annotated

import typer

from feature_registry.cli.catalog import AsJson, printed
from feature_registry.cli.commands import app, opened
from feature_registry.client.text import grid


@app.command()
def check(
    context: typer.Context,
    refs: Annotated[list[str] | None, typer.Argument(help="datastack/name@mat_version; repeat for more.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is registered.")] = False,
    datastack: Annotated[str | None, typer.Option(help="All of this datastack.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look whether tables are there, and as they were when they were registered; exit code 1 if one is not."""
    if bool(refs) == (everything or datastack is not None):
        raise typer.BadParameter("name tables, or say --all or --datastack")
    registry = opened(context)
    found = [registry.check(ref) for ref in refs] if refs else list(registry.check_all(datastack))
    if as_json:
        printed(found)
    else:
        lines = [
            (str(entry.ref), entry.existence, "; ".join(f"{each.name}: {each.message}" for each in entry.version.drift))
            for entry in found
        ]
        typer.echo(grid(("table", "is", "not as registered"), lines) if lines else "nothing is registered")
    if any(entry.version.drift for entry in found):
        raise typer.Exit(1)
