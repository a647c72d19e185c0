"""What the catalog knows of a materialization version, or else the version source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from feature_registry.catalog import entries
from feature_registry.cave import load_version_source
from feature_registry.errors import RegistryError
from feature_registry.model import MaterializationVersion

if TYPE_CHECKING:
    from feature_registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Announced:
    """`version` is None where there is none, or where nobody can tell: then `unverified` says why. `known` are the
    numbers that there are.
    """

    version: MaterializationVersion | None = None
    known: tuple[int, ...] = ()
    unverified: str = ""

    @property
    def tables(self) -> tuple[str, ...] | None:
        """Those that CAVE's version lists; None where nobody can tell."""
        return None if self.version is None else self.version.tables


def announced(registry: Registry, datastack: str, mat_version: int | None) -> Announced:
    """The source is asked only where the catalog does not know the version, and where one was set: that of the demo
    starts servers.
    """
    if mat_version is None:
        return Announced(unverified="a table without materialization version")
    with registry.database.read() as connection:
        held = entries.materialization(connection, datastack, mat_version)
        known = entries.materializations(connection, datastack)
    settings = registry.settings
    if held is not None:
        return _among((*known, held), mat_version)
    if settings.version_source is None and settings.cave_server is None:
        seen = f"; the catalog knows {[each.mat_version for each in known]}" if known else ""
        return Announced(unverified=f"no CAVE is set that could tell{seen}")
    try:
        said = load_version_source(settings.source).versions(datastack)
    except RegistryError as wrong:
        return Announced(unverified=f"{datastack} is unknown here, and the version source does not tell: {wrong}")
    if not said and not known:
        return Announced(unverified=f"neither the catalog nor the version source knows a version of {datastack}")
    return _among((*said, *known), mat_version)


def _among(versions: tuple[MaterializationVersion, ...], mat_version: int) -> Announced:
    found = {each.mat_version: each for each in versions}
    return Announced(found.get(mat_version), tuple(sorted(found)))
