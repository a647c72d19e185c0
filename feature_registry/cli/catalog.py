"""Commands on the catalog: show, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from feature_registry.cli.commands import app, opened
from feature_registry.client.text import card, grid
from feature_registry.model import CheckResult, Entry, Noun

AsOf = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="As the catalog was then, such as 2024-05-01T00:00:00Z.")
]
Nearest = Annotated[
    bool, typer.Option("--nearest", help="Where this version is not there, the newest older one will do.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


def printed(noun: Noun | list[Any]) -> None:
    """JSON on standard output; ids beyond 2^53 are strings."""
    typer.echo(TypeAdapter(type(noun)).dump_json(noun, indent=2).decode())


def checks(results: tuple[CheckResult, ...]) -> str:
    lines = [(each.outcome + (" (blocking)" if each.blocking else ""), each.name, each.message) for each in results]
    return grid(("check", "of", "found"), lines) if lines else "no checks"


@app.command()
def show(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(help="datastack/name@mat_version, or a version's UUID")],
    as_of: AsOf = None,
    nearest: Nearest = False,
    as_json: AsJson = False,
) -> None:
    """What is known of a table version: its columns, size, owner, licence, checks."""
    entry: Entry = opened(context, as_of=as_of).table(ref, nearest).entry
    if as_json:
        printed(entry)
        return
    typer.echo(card(entry))
    if entry.version.checks:
        typer.echo("\n" + checks(entry.version.checks))


@app.command()
def export(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which export, such as catalog_json.")],
    public: Annotated[bool, typer.Option("--public", help="Without what may not be handed on.")] = False,
    output: Annotated[Path | None, typer.Option(help="A file; unset: standard output.")] = None,
) -> None:
    """The catalog, without drafts, in another form."""
    text = opened(context).export(name, public)
    if text.withheld:
        typer.echo(f"{text.withheld} table versions are left out: they may not be handed on", err=True)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text, encoding="utf-8")
