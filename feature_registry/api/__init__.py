"""The HTTP API: `create_app` over one registry. Handlers call the registry and return; errors become problems.

`registering.py` takes tables in, `search.py` finds them, `tables.py` has what is registered, `publishing.py` what
changes it, `access.py` plans and grants, `links.py` the links, `people.py` who asks, `problems.py` how errors look.
"""

from __future__ import annotations

from fastapi import FastAPI

from feature_registry import __version__
from feature_registry.api import (
    access,
    changes,
    checks,
    citations,
    differences,
    lineage,
    links,
    problems,
    publishing,
    registering,
    rules,
    search,
    tables,
)
from feature_registry.registry import Registry


def create_app(registry: Registry) -> FastAPI:
    app = links.LinksFirst(
        title="Feature Registry",
        version=__version__,
        description="What feature tables exist, what they mean, and short-lived links to just the files one needs.",
        responses=problems.RESPONSES,
    )
    app.state.registry = registry
    app.state.watch = changes.Watch()
    problems.install(app)
    app.include_router(links.router)
    app.include_router(access.router)
    app.include_router(registering.router)
    app.include_router(search.router)
    app.include_router(tables.router)
    app.include_router(publishing.router)
    app.include_router(checks.router)
    app.include_router(lineage.router)
    app.include_router(changes.router)
    app.include_router(differences.router)
    app.include_router(rules.router)
    app.include_router(citations.router)
    return app
