from __future__ import annotations

from feature_registry.cave import VersionSource, load_version_source
from feature_registry.demo.database import CortexVersions


def test_the_demos_versions_are_a_source() -> None:
    source = load_version_source("feature_registry.demo.database:CortexVersions")
    assert isinstance(source, VersionSource)
    assert isinstance(source, CortexVersions)
