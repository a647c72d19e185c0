"""Commands of registration: suggest, register, lint."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from feature_registry.cli.catalog import AsJson, checks, printed
from feature_registry.cli.commands import app, opened, version_of
from feature_registry.client.text import grid
from feature_registry.errors import Invalid
from feature_registry.model import Report

Place = Annotated[str, typer.Argument(help="URI or path of the table.")]
Name = Annotated[str | None, typer.Option(help="The table's name.")]
InDatastack = Annotated[str | None, typer.Option(help="The datastack's name.")]
AtVersion = Annotated[str | None, typer.Option(help="A number, or unversioned.")]


@app.command()
def register(  # noqa: PLR0917 - Typer's arguments have places
    context: typer.Context,
    location: Place,
    name: Name = None,
    datastack: InDatastack = None,
    mat_version: AtVersion = None,
    key: Annotated[
        list[str] | None, typer.Option(help="A column of the key; repeat it, or give several with commas.")
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="A JSON file with more fields: description, license, columns, tags ...")
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Publish it if no blocking check fails.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what would happen.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, also on a terminal.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register a table that lies somewhere already. What is not said about a known table stays as it was.

    On a terminal it shows the report first, and asks.
    """
    columns = [c.strip() for each in key or () for c in each.split(",")]
    fields = {"publish": publish} | _fields(name, datastack, mat_version, metadata) | ({"key": columns} if key else {})
    registry = opened(context)
    if preview or (_on_a_terminal() and not (yes or as_json)):
        seen = registry.preview(location, **{each: fields[each] for each in fields if each != "publish"})
        printed(seen) if as_json else _show(seen, "would be registered")
        if preview:
            return
        if not _refused(seen):
            typer.confirm("Register it?", abort=True)
        fields["confirm"] = seen.confirm
    report = registry.register(location, **fields)
    done = "registered" if report.created else "was registered already"
    printed(report) if as_json else _show(report, done)


@app.command()
def suggest(  # noqa: PLR0917
    context: typer.Context,
    location: Place,
    name: Name = None,
    datastack: InDatastack = None,
    mat_version: AtVersion = None,
    as_json: AsJson = False,
) -> None:
    """What one may say of a table, as JSON that `register --metadata` takes. Why goes to standard error."""
    found = opened(context).suggest(location, **_fields(name, datastack, mat_version, None))
    if as_json:
        printed(found)
        return
    lines = [(each.sure, each.field, each.column or "", json.dumps(each.value), each.why) for each in found.suggestions]
    typer.echo(grid(("sure", "of", "column", "say", "why"), lines), err=True)
    typer.echo(json.dumps(found.metadata, indent=2))


@app.command()
def lint(context: typer.Context, datastack: InDatastack = None, as_json: AsJson = False) -> None:
    """List what is published and violates the present policies. It stays readable; exit code 1 if there is any."""
    found = opened(context, datastack).lint()
    if as_json:
        printed(list(found))
    elif found:
        typer.echo(grid(("table", "field", "found"), [(each.table, each.field, each.message) for each in found]))
    if found:
        raise typer.Exit(1)


def _on_a_terminal() -> bool:
    return sys.stdin.isatty()


def _fields(name: str | None, datastack: str | None, mat_version: str | None, metadata: Path | None) -> dict[str, Any]:
    fields = _metadata(metadata)
    fields |= {field: value for field, value in {"name": name, "datastack": datastack}.items() if value}
    if mat_version is not None:
        fields["mat_version"] = _number(mat_version)
    for needed in ("name", "datastack", "mat_version"):
        if needed not in fields:
            raise typer.BadParameter(f"--{needed.replace('_', '-')} is needed, or {needed!r} in --metadata")
    return fields


def _refused(report: Report) -> bool:
    """Then the registration says all of it at once, and there is nothing to ask."""
    return any(each.blocking and each.outcome == "failed" for each in report.checks)


def _show(report: Report, done: str) -> None:
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
