"""Commands on the catalog: register, search, show, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from feature_registry.cli.commands import app, opened, version_of
from feature_registry.client.text import card, grid
from feature_registry.errors import Invalid
from feature_registry.model import CheckResult, Entry, Noun

AsOf = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="As the catalog was then, such as 2024-05-01T00:00:00Z.")
]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


def printed(noun: Noun | list[Any]) -> None:
    """JSON on standard output; ids beyond 2^53 are strings."""
    typer.echo(TypeAdapter(type(noun)).dump_json(noun, indent=2).decode())


@app.command()
def register(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    location: Annotated[str, typer.Argument(help="URI or path of the table.")],
    name: Annotated[str | None, typer.Option(help="The table's name.")] = None,
    datastack: Annotated[str | None, typer.Option(help="The datastack's name.")] = None,
    mat_version: Annotated[str | None, typer.Option(help="A number, or unversioned.")] = None,
    key: Annotated[
        list[str] | None, typer.Option(help="A column of the key; repeat it, or give several with commas.")
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="A JSON file with more fields: description, license, columns, tags ...")
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Publish it if no blocking check fails.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what would happen.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register a table that lies somewhere already. What is not said about a known table stays as it was."""
    fields = _metadata(metadata)
    given = {"name": name, "datastack": datastack, "key": [c.strip() for each in key or () for c in each.split(",")]}
    fields |= {field: value for field, value in given.items() if value}
    if mat_version is not None:
        fields["mat_version"] = _number(mat_version)
    for needed in ("name", "datastack", "mat_version"):
        if needed not in fields:
            raise typer.BadParameter(f"--{needed.replace('_', '-')} is needed, or {needed!r} in --metadata")
    fields = {"publish": publish, **fields}
    registry = opened(context)
    report = registry.preview(location, **fields) if preview else registry.register(location, **fields)
    if as_json:
        printed(report)
        return
    done = "would be registered" if preview else "registered" if report.created else "was registered already"
    typer.echo(f"{report.ref} {done}, {report.entry.version.status}")
    typer.echo(checks(report.checks))


def _number(mat_version: str) -> int | None:
    number: int | str = version_of(mat_version)
    if number == "latest":
        raise typer.BadParameter("a table is registered at a number, or as unversioned")
    return None if number == "unversioned" else int(number)


def _metadata(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        fields = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError) as wrong:
        raise Invalid(f"is no JSON: {wrong}", field="metadata", value=str(path)) from None
    if not isinstance(fields, dict):
        raise Invalid("is no JSON object", field="metadata", value=str(path))
    return fields


def checks(results: tuple[CheckResult, ...]) -> str:
    lines = [(each.outcome + (" (blocking)" if each.blocking else ""), each.name, each.message) for each in results]
    return grid(("check", "of", "found"), lines) if lines else "no checks"


@app.command()
def search(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="Words in names, descriptions, columns, tags and owners.")] = "",
    datastack: Annotated[str | None, typer.Option(help="Only this datastack.")] = None,
    mat_version: Annotated[str | None, typer.Option(help="A number, latest or unversioned; unset: any.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag that it has; repeat for more.")] = None,
    column: Annotated[str | None, typer.Option(help="A column that it has.")] = None,
    owner: Annotated[str | None, typer.Option(help="Its team or person.")] = None,
    format: Annotated[str | None, typer.Option(help="Its format, such as delta.")] = None,
    status: Annotated[str | None, typer.Option(help="draft, published or deprecated.")] = None,
    as_of: AsOf = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, with --json.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """Search the catalog; every filter that is given must hold."""
    filters = {"column": column, "owner": owner, "format": format, "status": status, "tags": tuple(tag or ())}
    found = opened(context, datastack, as_of=as_of).search(
        text, mat_version=version_of(mat_version), limit=min(limit, 1000), **filters
    )
    if as_json:
        printed(found[:limit] if limit <= 1000 else list(found))
    else:
        typer.echo(repr(found))


@app.command()
def show(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(help="datastack/name@mat_version")],
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """What is known of a table version: its columns, size, owner, licence, checks."""
    entry: Entry = opened(context, as_of=as_of).table(ref).entry
    if as_json:
        printed(entry)
        return
    typer.echo(card(entry))
    if entry.version.checks:
        typer.echo("\n" + checks(entry.version.checks))


@app.command()
def unregister(
    context: typer.Context,
    ref: Annotated[str, typer.Argument(help="datastack/name@mat_version, with its revision if it has several")],
    force: Annotated[bool, typer.Option("--force", help="Even if others were derived from it.")] = False,
) -> None:
    """Forget a table version. Its data stay, and so do the table's metadata and history."""
    entry = opened(context).unregister(ref, force)
    typer.echo(f"{entry.ref} is registered no more; its data stay at {entry.version.inspection.location}")


@app.command()
def export(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Which export, such as catalog_json.")],
    output: Annotated[Path | None, typer.Option(help="A file; unset: standard output.")] = None,
) -> None:
    """The catalog, without drafts, in another form."""
    text = opened(context).export(name)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text, encoding="utf-8")
