"""Who asks. Without a login everybody is the person of the settings; `up` then listens on loopback only."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from feature_registry.model import Person
from feature_registry.registry import Registry


def _registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    person = Person(name=registry.settings.person, groups=registry.settings.person_teams)
    return registry.acting(person, registry.settings.prefixes)


# The registry in the hands of who asks; it registers only what may be registered over HTTP.
Acting = Annotated[Registry, Depends(_registry)]
