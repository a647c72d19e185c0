"""The command that takes over old dumps."""

from __future__ import annotations

from typing import Annotated

import typer

from feature_registry.cli.catalog import checks
from feature_registry.cli.commands import app
from feature_registry.cli.operating import catalog
from feature_registry.errors import needed
from feature_registry.location import Location


@app.command()
def convert_csv(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(help="URI or path of TABLE.csv.gz without a header; TABLE_header.csv lies beside it.")
    ],
    datastack: Annotated[str, typer.Option(help="The datastack's name.")],
    mat_version: Annotated[int, typer.Option(min=0, help="Which it was dumped at.")],
    name: Annotated[str | None, typer.Option(help="The table's name; unset: the file's.")] = None,
) -> None:
    """Turn an old CSV dump into a sorted, registered table, as a dump out of CAVE's database makes it."""
    converting = needed("feature_registry.defs.converting", "pipeline")
    entry = converting.convert(catalog(context), Location(file), datastack, mat_version, name)
    seen = entry.version.inspection
    typer.echo(f"{entry.ref} registered, {entry.version.status}: {seen.rows:,} rows, {seen.bytes:,} bytes")
    typer.echo(checks(entry.version.checks))
