"""Commands that change what is registered: publish, deprecate, edit, transfer, unregister."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from feature_registry.cli.catalog import AsJson, printed
from feature_registry.cli.commands import app, opened
from feature_registry.client import FeatureRegistry
from feature_registry.client.text import grid, plain
from feature_registry.model import Entry, Metadata

Ref = Annotated[str, typer.Argument(help="datastack/name@mat_version, or a version's UUID")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, whatever depends on it.")]


def _confirmed(registry: FeatureRegistry, ref: str, question: str, yes: bool) -> None:
    """Shows what depends on a table version, and on a terminal asks."""
    found = registry.dependents(ref)
    for line in found.said:
        typer.echo(line, err=True)
    if found.said and not yes and terminal():
        typer.confirm(question, abort=True, err=True)


def terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _done(entry: Entry, what: str) -> None:
    typer.echo(f"{entry.ref} is {what}")
    for warning in entry.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)


@app.command()
def publish(context: typer.Context, ref: Ref) -> None:
    """Make a draft visible to all. Asks for a description, an owner and a licence."""
    _done(opened(context).publish(ref), "published")


@app.command()
def deprecate(
    context: typer.Context,
    ref: Ref,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads it.")] = "",
    superseded_by: Annotated[str | None, typer.Option(metavar="REF", help="What is to be read instead.")] = None,
    yes: Yes = False,
) -> None:
    """Mark a published version; it stays readable, with a warning. Shows first what depends on it."""
    registry = opened(context)
    _confirmed(registry, ref, f"Deprecate {ref} all the same?", yes)
    typer.echo(f"{registry.deprecate(ref, reason, superseded_by).ref} is deprecated")


@app.command()
def unregister(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(help="datastack/name@mat_version, with its revision if it has several")],
    force: Annotated[bool, typer.Option("--force", help="Even if others were derived from it.")] = False,
    yes: Yes = False,
) -> None:
    """Forget a table version. Its data stay, and so do the table's metadata and history. Shows first what depends on
    it.
    """
    registry = opened(context)
    _confirmed(registry, ref, f"Unregister {ref} all the same?", yes)
    _forgotten(registry.unregister(ref, force))


@app.command()
def unregister_run(context: typer.Context, run_id: Annotated[str, typer.Argument(help="The run's id.")]) -> None:
    """Forget all table versions that a run made, or none, if others were derived from one. Their data stay."""
    for entry in opened(context).unregister_run(run_id):
        _forgotten(entry)


def _forgotten(entry: Entry) -> None:
    typer.echo(f"{entry.ref} is registered no more; its data stay at {entry.version.inspection.location}")


@app.command()
def edit(
    context: typer.Context,
    ref: Ref,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FIELD=VALUE]...", help="Lists, objects and null as JSON; none: only show the fields."),
    ] = None,
    based_on: Annotated[
        str | None, typer.Option(metavar="ETAG", help="Refuse it if the fields were changed since they had this etag.")
    ] = None,
) -> None:
    """Change what is said about a table, or show it, with the etag that an edit can be based on."""
    registry = opened(context)
    said = dict(map(_change, changes or ()))
    if not said:
        table = registry.table(ref).entry.table
        printed(Metadata(**{name: getattr(table, name) for name in Metadata.model_fields}))
    else:
        entry = registry.edit(ref, based_on=based_on, **said)
        _done(entry, "edited")
        table = entry.table
    typer.echo(f"etag {table.etag}", err=True)


def _change(text: str) -> tuple[str, Any]:
    field, said, value = text.partition("=")
    if not said:
        raise typer.BadParameter(f"{text!r} is no FIELD=VALUE")
    try:
        return field, json.loads(value) if value == "null" or value.startswith(("[", "{")) else value
    except ValueError:
        raise typer.BadParameter(f"{value!r} is no JSON") from None


@app.command()
def transfer(
    context: typer.Context,
    ref: Ref,
    team: Annotated[str | None, typer.Option(help="The new owner's team.")] = None,
    person: Annotated[str | None, typer.Option(help="The new owner, or who answers for the team.")] = None,
) -> None:
    """Give a table to another owner, which its history tells."""
    _done(opened(context).transfer(ref, team, person), "transferred")


@app.command()
def dependents(context: typer.Context, ref: Ref, as_json: AsJson = False) -> None:
    """All that depends on a table version: what was derived from it, refers to it, shares its data or was replaced."""
    found = opened(context).dependents(ref)
    if as_json:
        printed(found)
    else:
        typer.echo("\n".join(found.said) or f"nothing depends on {found.table}")


@app.command()
def history(context: typer.Context, ref: Ref, as_json: AsJson = False) -> None:
    """Every change of a table, oldest first: who, when, what."""
    seen = opened(context).history(ref)
    if as_json:
        printed(list(seen))
        return
    lines = [(f"{each.at:%Y-%m-%d %H:%M:%S}", each.by, each.kind, ", ".join(each.details)) for each in seen]
    typer.echo(grid(("when", "who", "what", "of"), lines))


@app.command()
def resolve(
    context: typer.Context,
    ref: Ref,
    nearest: Annotated[bool, typer.Option("--nearest", help="The newest older version will do.")] = False,
) -> None:
    """What a table was superseded by, to the newest, at the same version if there is one."""
    entry = opened(context).resolve(ref, nearest).entry
    typer.echo(str(entry.ref))
    for warning in entry.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)
