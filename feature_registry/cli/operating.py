"""Commands of who runs the registry: they work on the catalog itself, not through its API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from feature_registry.cli.commands import app
from feature_registry.location import Location

if TYPE_CHECKING:
    from feature_registry.registry import Registry


def catalog(context: typer.Context) -> Registry:
    """The registry of the settings, closed when the command ends."""
    from feature_registry.registry import Registry

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
