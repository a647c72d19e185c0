"""An installation with some tables, for a client over HTTP and for an embedded one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pytest

from feature_registry.client import FeatureRegistry
from feature_registry_tests.client import tables
from feature_registry_tests.deployment import Deployment, deployed


@dataclass(frozen=True)
class Installed:
    """A deployment with tables at 1507, and a client of each kind."""

    deployment: Deployment
    http: FeatureRegistry
    embedded: FeatureRegistry

    def bytes_sent(self) -> int:
        """By the file server, so far."""
        import json

        lines = self.deployment.log.read_text().splitlines() if self.deployment.log.exists() else []
        return sum(json.loads(line)["bytes"] for line in lines)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    root = tmp_path_factory.mktemp("installed")
    lab = root / "lab"
    with pytest.MonkeyPatch.context() as environment, deployed(root / "home", allowed_prefixes=(str(lab),)) as made:
        environment.setenv("FEATURE_REGISTRY_HOME", str(root / "home"))
        http = FeatureRegistry(tables.DATASTACK, tables.MAT_VERSION, server=made.settings.api_address)
        embedded = FeatureRegistry(tables.DATASTACK, tables.MAT_VERSION, server=made.registry)
        said = {**tables.SAID, "publish": True}
        http.register(tables.write_synapses(lab / "synapses"), "synapses", key=["id"], tags=["synapse"], **said)
        http.register(tables.write_segclr(lab / "segclr"), "segclr", tags=["embedding"], **said)
        http.register(tables.write_evolved(lab / "evolved"), "evolved", **said)
        http.register(tables.write_parted_delta(lab / "parted"), "parted", **said)
        http.register(tables.write_logical(lab / "logical"), "logical", logical_types={"root_id": "uint64"}, **said)
        tables.synapses().head(10).write_parquet(lab / "order.parquet")
        http.register(lab / "order.parquet", "order", **said)
        pl.DataFrame({"root_id": [2**64 - 1, 2**63, 5]}, schema={"root_id": pl.UInt64}).write_parquet(
            lab / "big.parquet"
        )
        http.register(lab / "big.parquet", "flywire", **said)
        pl.DataFrame({"id": pl.Series([], dtype=pl.Int64)}).write_parquet(lab / "empty.parquet")
        http.register(lab / "empty.parquet", "nothing", **said)
        yield Installed(made, http, embedded)


@pytest.fixture(params=["http", "embedded"])
def registry(request: pytest.FixtureRequest, installed: Installed) -> FeatureRegistry:
    client: FeatureRegistry = getattr(installed, request.param)
    return client
