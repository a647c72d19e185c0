"""Commands that find tables, and rename what they are found by."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from feature_registry.cli.catalog import AsJson, AsOf, printed
from feature_registry.cli.commands import app, opened, version_of
from feature_registry.client.text import grid
from feature_registry.model import Facets


@app.command()
def search(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="Words in names, descriptions, columns, tags and owners.")] = "",
    datastack: Annotated[str | None, typer.Option(help="Only this datastack.")] = None,
    aligned_volume: Annotated[str | None, typer.Option(help="Only the datastacks of this volume.")] = None,
    mat_version: Annotated[str | None, typer.Option(help="A number, latest or unversioned; unset: any.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag that it has; repeat for more.")] = None,
    any_tag: Annotated[list[str] | None, typer.Option(help="A tag; repeat for more, of which it has one.")] = None,
    column: Annotated[str | None, typer.Option(help="A column that it has.")] = None,
    owner: Annotated[str | None, typer.Option(help="Its team or person.")] = None,
    format: Annotated[str | None, typer.Option(help="Its format, such as delta.")] = None,
    status: Annotated[str | None, typer.Option(help="draft, published or deprecated.")] = None,
    code_version: Annotated[str | None, typer.Option(help="Of what made it.")] = None,
    config: Annotated[str | None, typer.Option(help="Of what made it: the configuration's hash, or its name.")] = None,
    model: Annotated[str | None, typer.Option(help="The trained model that made it.")] = None,
    model_before: Annotated[str | None, typer.Option(help="Made by an older one of this model's versions.")] = None,
    as_of: AsOf = None,
    facets: Annotated[bool, typer.Option("--facets", help="Only count what the found tables have.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, with --json.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Search the catalog; every filter that is given must hold."""
    filters: dict[str, Any] = {"column": column, "owner": owner, "format": format, "status": status, "model": model}
    filters |= {"code_version": code_version, "config": config, "model_before": model_before}
    filters |= {"tags": tuple(tag or ()), "any_tags": tuple(any_tag or ()), "aligned_volume": aligned_volume}
    registry = opened(context, datastack, as_of=as_of)
    if facets:
        counted = registry.facets(text, mat_version=version_of(mat_version), **filters)
        printed(counted) if as_json else typer.echo(_shown(counted))
        return
    found = registry.search(text, mat_version=version_of(mat_version), limit=min(limit, 1000), **filters)
    if as_json:
        printed(found[:limit] if limit <= 1000 else list(found))
    else:
        typer.echo(repr(found))


def _shown(counted: Facets) -> str:
    lines = [(name, each.value, str(each.tables)) for name, values in counted.facets.items() for each in values]
    return grid(("facet", "value", "tables"), lines) if lines else "no tables"


@app.command("rename-tag")
def rename_tag(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="The tag as it is.")],
    new: Annotated[str, typer.Argument(help="The tag as it shall be.")],
    datastack: Annotated[str | None, typer.Option(help="Only on tables of this datastack.")] = None,
) -> None:
    """Rename a tag on all tables that have it."""
    for name in (changed := opened(context).rename_tag(old, new, datastack)):
        typer.echo(name)
    typer.echo(f"{len(changed)} tables changed", err=True)
