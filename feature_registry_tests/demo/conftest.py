from __future__ import annotations

from collections.abc import Iterator

import pytest
from dagster import DagsterInstance

from feature_registry.demo import database, outside, pipeline
from feature_registry.demo.cortex import DATASTACK, VERSIONS
from feature_registry_tests.demo.homes import CORTEX, new_home
from feature_registry_tests.deployment import Deployment, deployed


@pytest.fixture(scope="session")
def made() -> Iterator[Deployment]:
    """An installation that holds all that the demo makes, of a small cortex."""
    home = new_home()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FEATURE_REGISTRY_HOME", str(home))
        database.write(database.folder(), CORTEX)
        outside.write(database.folder(), CORTEX)
        environment.setattr(pipeline, "LAYOUTS_FROM", 100_000)
        with DagsterInstance.ephemeral() as instance:
            assert [len(each.tables) for each in pipeline.materialize(VERSIONS, instance)] == [9, 9, 9, 3]
            assert all(each.skipped for each in pipeline.materialize(VERSIONS, instance))
        with deployed(home, allowed_prefixes=(str(home / "cortex"),)) as installation:
            client = installation.client(DATASTACK)
            files = outside.folder_of(home / "cortex", CORTEX)
            assert [each.created for each in outside.register(client, files)] == [True] * 4
            assert [each.created for each in outside.register(client, files)] == [False] * 4
            yield installation
