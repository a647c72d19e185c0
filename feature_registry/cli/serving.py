"""Commands that run something: up and demo."""

from __future__ import annotations

import os
import sys
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import typer

from feature_registry.cli.commands import app
from feature_registry.errors import Invalid, needed
from feature_registry.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@app.command()
def up(  # noqa: PLR0917 - Typer's arguments have places
    host: Annotated[str | None, typer.Option(help="Where to listen.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Of the API; 0: any free one.")] = None,
    file_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Of the file server; 0: any free one.")
    ] = None,
    dagster_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Of the Dagster UI.")] = None,
    database: Annotated[
        str | None, typer.Option(help="URL of the catalog's database and, if it is PostgreSQL, of Dagster's.")
    ] = None,
    dagster: Annotated[bool, typer.Option("--dagster/--no-dagster", help="Run the Dagster UI and daemon too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Listen on other hosts' interfaces too.")] = False,
) -> None:
    """Run the API and the file server until stopped."""
    if database is not None and _holds_password(database):
        _begin_anew(database)
    said = {"host": host, "port": port, "file_port": file_port, "dagster_port": dagster_port, "database": database}
    settings = Settings(**{name: value for name, value in said.items() if value is not None})  # type: ignore[arg-type]
    if settings.host not in LOOPBACK and not force:
        raise Invalid(
            "is open to others, and nobody has to log in",
            field="host",
            value=settings.host,
            expected="127.0.0.1, or --force",
        )
    from feature_registry.cli.supervisor import run

    raise typer.Exit(run(settings, dagster))


def _holds_password(database: str) -> bool:
    address = urlsplit(database)
    return bool(address.password) or "password" in parse_qs(address.query)


def _begin_anew(database: str) -> None:
    """The same command with the URL in its environment: arguments stand in the list of processes, for all to read."""
    os.environ["FEATURE_REGISTRY_DATABASE"] = database
    at = sys.argv.index("--database") if "--database" in sys.argv else None
    kept = [each for number, each in enumerate(sys.argv) if at is None or number not in (at, at + 1)]
    kept = [each for each in kept if not each.startswith("--database=")]
    os.execv(sys.executable, [sys.executable, "-m", "feature_registry", *kept[1:]])  # noqa: S606


@app.command()
def demo() -> None:
    """Make a small synthetic cortex, its feature tables, and read them as an analyst would."""
    raise typer.Exit(needed("feature_registry.demo.walk", "demo").run())
