"""Commands of who runs the registry: they work on the catalog itself, not through its API."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feature_registry.cli.catalog import AsJson, printed
from feature_registry.cli.commands import app
from feature_registry.client.text import amount, grid
from feature_registry.errors import Invalid, needed
from feature_registry.location import Location
from feature_registry.model import Contents, Leftover

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def catalog(context: typer.Context) -> Registry:
    """The registry of the settings, closed when the command ends."""
    from feature_registry import Registry

    if context.obj is not None:
        raise typer.BadParameter("--server is not for this command, which works on the catalog itself")
    registry = Registry()
    context.call_on_close(registry.close)
    return registry


@app.command()
def relocate(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="URI or path at or below which tables are registered.")],
    new: Annotated[str, typer.Argument(help="Where the same files are now.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look whether all is there.")] = False,
) -> None:
    """Follow data that were copied to another place. All table versions move, or none."""
    moved = catalog(context).relocate(Location(old), Location(new), dry_run)
    for entry in moved:
        typer.echo(f"{entry.ref} {'would be' if dry_run else 'is'} at {entry.version.inspection.location}")


@app.command()
def rebuild(
    context: typer.Context,
    from_export: Annotated[
        str | None, typer.Option(help="A catalog.json, as a file or a location of a storage.")
    ] = None,
    from_dagster: Annotated[bool, typer.Option("--from-dagster", help="What Dagster's instance remembers.")] = False,
) -> None:
    """Bring back the table versions that the catalog lacks; what it holds stays as it is."""
    sources = {"--from-export": from_export, "--from-dagster": from_dagster}
    if sum(map(bool, sources.values())) != 1:
        raise typer.BadParameter(f"say from what: one of {', '.join(sources)}")
    registry = catalog(context)
    contents = _exported(registry, Location(from_export)) if from_export else _remembered(registry)
    for entry in registry.rebuild(contents):
        found = [f"; {check.name}: {check.message}" for check in entry.version.checks if check.name == "manifest"]
        typer.echo(f"{entry.ref} is back, {entry.version.status}{''.join(found)}")


def _exported(registry: Registry, place: Location) -> Contents:
    from feature_registry.exports.catalog_json import parse

    try:
        return parse(registry.store(place).read(place).decode())
    except UnicodeDecodeError:
        raise Invalid("is no text", field="from_export", value=str(place), expected="a catalog.json") from None


def _remembered(registry: Registry) -> Contents:
    from feature_registry.cli.instance import prepare

    contents: Contents = needed("feature_registry.defs.memory", "pipeline").contents(prepare(registry.settings))
    return contents


@app.command()
def backup(
    context: typer.Context, file: Annotated[Path, typer.Argument(help="A new file; one that exists is refused.")]
) -> None:
    """Write the whole catalog into a file, which is an SQLite catalog itself."""
    _tell(catalog(context).backup(file), f"in {file}")


@app.command()
def restore(context: typer.Context, file: Annotated[Path, typer.Argument(help="What backup wrote.")]) -> None:
    """Fill an empty catalog from a backup, in SQLite or PostgreSQL, wherever it was made."""
    _tell(catalog(context).restore(file), "restored")


def _tell(rows: dict[str, int], where: str) -> None:
    typer.echo(f"{rows['versions']} table versions and {rows['events']} events {where}")


@app.command()
def gc(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Delete what is listed; without it, it is only listed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, whatever else is said.")] = False,
    hours: Annotated[float, typer.Option(min=0, help="Keep what is younger: a run may be writing it.")] = 24,
    as_json: AsJson = False,
) -> None:
    """List what no entry needs below the managed root: what dead runs and abandoned drafts left, and what its retention
    ended. With --yes, delete that. What is registered, or has changed since it was listed, is never touched.
    """
    registry = catalog(context)
    listed = registry.leftovers(timedelta(hours=hours))
    if as_json:
        printed(list(listed))
    else:
        typer.echo(_leftovers(listed))
    found = registry.collect(listed) if yes and not dry_run else listed
    files, size = sum(each.files for each in found), amount(sum(each.bytes for each in found))
    done = "deleted" if yes and not dry_run else "would be deleted"
    typer.echo(f"{len(found)} {done}: {files:,} files, {size}", err=True)


def _leftovers(listed: tuple[Leftover, ...]) -> str:
    now = datetime.now(UTC)
    lines = [
        (
            str(each.location),
            f"{each.files:,}",
            amount(each.bytes),
            f"{(now - each.modified) / timedelta(hours=1):.0f} h",
            " ".join([*each.drafts, *(f"{ref} (expired)" for ref in each.expired)]),
        )
        for each in listed
    ]
    return grid(("leftover", "files", "bytes", "age", "tables"), lines) if lines else "no leftovers"


@app.command()
def dumps(
    context: typer.Context,
    datastack: Annotated[str | None, typer.Argument(help="Unset: all that are followed.")] = None,
    mat_version: Annotated[int | None, typer.Option(help="Unset: the versions that are made unasked.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what would be dumped out of CAVE's database, and why other tables would not."""
    dry_run = needed("feature_registry.defs.dry_run", "pipeline")
    found = list(dry_run.planned(catalog(context), datastack, mat_version))
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    lines = [
        (
            each.table,
            "" if each.rows is None else f"{each.rows:,}",
            "" if each.bytes is None else amount(each.bytes),
            f"alias of {each.alias}" if each.alias else " ".join(each.layouts),
            each.why_not or "would be made",
        )
        for each in found
    ]
    typer.echo(grid(("table", "rows", "bytes a layout", "layouts", "what"), lines) if lines else "no tables")
