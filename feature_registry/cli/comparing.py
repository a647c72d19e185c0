"""The commands that compare: two versions of a table, and tables with the rules that they should keep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feature_registry.cli.catalog import AsJson, printed
from feature_registry.cli.commands import app, opened
from feature_registry.client import HttpService
from feature_registry.client.text import amount, counted, grid, plain
from feature_registry.model import Difference, KeyDifference

Names = Annotated[str | None, typer.Option(help="Names with commas; unset: the declared key, or all columns of both.")]


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


@app.command()
def difference(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="datastack/name@mat_version")],
    new: Annotated[str, typer.Argument(help="datastack/name@mat_version")],
    key: Names = None,
    columns: Names = None,
    keys: Annotated[
        Path | None, typer.Option(help="A folder for added.parquet, removed.parquet and changed.parquet.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What changed from one version of a table to another: schema, size, and rows by their key."""
    from feature_registry.client.differences import difference

    registry = opened(context)
    tables = registry.table(old), registry.table(new)
    found = difference(registry.service, *tables, key=_names(key), columns=_names(columns), into=keys)
    if as_json:
        printed(found)
        return
    typer.echo(_sizes(found))
    for change in found.schema_changes:
        typer.echo(f"  column {change.column}: {change.old or 'was not there'} -> {change.new or 'is gone'}")
    if found.keys is not None:
        typer.echo("the same files" if found.identical else _keys(found.keys))
    for warning in found.warnings:
        typer.echo(f"warning: {plain(warning)}", err=True)


def _sizes(found: Difference) -> str:
    sides = (
        ("old", found.old, counted(found.old_rows), amount(found.old_bytes)),
        ("new", found.new, counted(found.new_rows), amount(found.new_bytes)),
    )
    return grid(("", "version", "rows", "bytes"), sides, right=(2, 3))


def _keys(keys: KeyDifference) -> str:
    same = "" if keys.same is None else f", {keys.same:,} the same"
    lines = [
        f"by {', '.join(keys.key)}: {keys.added:,} added, {keys.removed:,} removed, {keys.changed:,} changed{same}",
        *(f"  {column} changed at {count:,} keys" for column, count in keys.changed_values.items() if count),
        *(f"  {kind}, such as {', '.join(each)}" for kind, each in keys.examples.items()),
    ]
    return "\n".join(lines)


@app.command()
def rules(
    context: typer.Context,
    datastack: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check the named rules of the datastacks' policies; with --server, say what was found last. Exit code 1 if one is
    violated.
    """
    registry = opened(context)
    last = isinstance(registry.service, HttpService)
    found = list(registry.rules(datastack) if last else registry.check_rules(datastack))
    if as_json:
        printed(found)
    else:
        lines = [(each.outcome, each.rule, each.table, each.keys or each.missing, each.message) for each in found]
        typer.echo(grid(("outcome", "rule", "table", "which", "found"), lines) if lines else "no rules")
    if any(each.outcome == "failed" for each in found):
        raise typer.Exit(1)
