"""What every command shares: the application, its errors, its client."""

from __future__ import annotations

import os
import re
from datetime import datetime
from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from feature_registry.client import FeatureRegistry
from feature_registry.client.secrets import redacted
from feature_registry.client.text import plain
from feature_registry.errors import RegistryError


class Commands(TyperGroup):
    """Commands whose errors are one line for each fault."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RegistryError as wrong:
            messages = [str(each) for each in wrong.faults]
        except (ImportError, OSError) as wrong:
            messages = [str(wrong)]
        except Exception as wrong:
            if not type(wrong).__module__.startswith(("polars", "httpx")):
                raise
            messages = [f"the read failed: {wrong}"]
        for message in messages:  # an engine's may hold a link, which is a secret
            typer.echo(f"error: {' '.join(plain(redacted(message)).split())}", err=True)
        raise typer.Exit(1)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they show locals, which may be secrets
    help="Finds feature tables, reads them, and registers them.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(metadata.version("feature-registry"))
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Option(help="Address of the registry's API; unset: FEATURE_REGISTRY_SERVER, else the embedded registry."),
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it.")] = False,
) -> None:
    context.obj = server


def opened(
    context: typer.Context, datastack: str | None = None, mat_version: Any = None, as_of: str | None = None
) -> FeatureRegistry:
    """The client that the command works with, closed when the command ends."""
    registry = FeatureRegistry(datastack, mat_version, server=context.obj, as_of=_instant(as_of))
    context.call_on_close(registry.close)
    return registry


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no instant such as 2024-05-01T00:00:00Z") from None


def version_of(text: str | None) -> Any:
    """A materialization version as typed: a number, `latest` or `unversioned`."""
    if text is None or text in ("latest", "unversioned"):
        return text
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise typer.BadParameter(f"{text!r} is no materialization version; a number, latest or unversioned")
    return int(text)


def quiet() -> bool:
    """Whether nobody watches: then no progress bar is drawn."""
    return not os.isatty(2)
