"""The command cite."""

from __future__ import annotations

from typing import Annotated

import typer

from feature_registry.cli.commands import app, opened


@app.command()
def cite(
    context: typer.Context,
    refs: Annotated[list[str], typer.Argument(help="datastack/name@mat_version, one or several.")],
    style: Annotated[str, typer.Option(help="bibtex or csl_json.")] = "bibtex",
    lineage: Annotated[bool, typer.Option(help="With all that they were computed from.")] = True,
) -> None:
    """How to cite tables: each work once, and which tables it covers."""
    typer.echo(opened(context).cite(*refs, style=style, lineage=lineage), nl=False)
