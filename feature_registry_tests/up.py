"""`up --dagster` on the data of a small demo, in processes of its own, through its API and Dagster's GraphQL."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from feature_registry.client import FeatureRegistry
from feature_registry.demo import database
from feature_registry.demo.cortex import DATASTACK, Size, build
from feature_registry.model import Column
from feature_registry_tests.demo.homes import new_home

LOCATION = "feature_registry.definitions"
LAUNCH = """mutation ($job: String!, $location: String!, $partition: String!) {
  launchRun(executionParams: {
    selector: {repositoryLocationName: $location, repositoryName: "__repository__", jobName: $job}
    runConfigData: {}
    executionMetadata: {tags: [{key: "dagster/partition", value: $partition}]}
  }) { __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""
RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
ASSET = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { __typename
  ... on AssetNode { isMaterializable groupName assetMaterializations(limit: 5) { partition } }
} }"""


@dataclass(frozen=True)
class Up:
    """A running `up --dagster`; `said` is what it wrote, on either stream."""

    home: Path
    api: str
    ui: str
    said: Path

    def ask(self, query: str, **variables: Any) -> Any:
        body = {"query": query, "variables": variables}
        answer = httpx.post(f"{self.ui}/graphql", json=body, timeout=60).raise_for_status().json()
        assert "errors" not in answer, answer
        return answer["data"]

    def materialize(self, mat_version: int) -> None:
        """Once Dagster has heard of the tables, which the version source lists."""
        assert wait_for(lambda: self.asset("synapses").get("isMaterializable")), self.said.read_text()
        job = f"materialize_{DATASTACK}"
        launched = self.ask(LAUNCH, job=job, location=LOCATION, partition=str(mat_version))["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        id = launched["run"]["runId"]
        assert wait_for(lambda: self.ask(RUN, id=id)["runOrError"]["status"] in ("SUCCESS", "FAILURE"))
        assert self.ask(RUN, id=id)["runOrError"]["status"] == "SUCCESS"

    def asset(self, name: str) -> Any:
        return self.ask(ASSET, key={"path": [DATASTACK, name]})["assetNodeOrError"]

    def partitions(self, name: str) -> set[str]:
        found = self.asset(name)
        return {each["partition"] for each in found.get("assetMaterializations", ())}

    def register(self) -> None:
        """A table that another lab made, at version 2."""
        path = self.home / "outside.parquet"
        pl.DataFrame({"root_id": [864691135000000000], "volume": [0.5]}).write_parquet(path)
        FeatureRegistry(DATASTACK, server=self.api).register(
            str(path),
            name="spine_shapes",
            mat_version=2,
            owner="spine-lab",
            license="MIT",
            description="Shapes of spines, made elsewhere.",
            columns={"volume": Column("Volume of the spine", unit="um^3")},
            references={"root_id": "cell_info.pt_root_id"},
            publish=True,
        )


def wait_for(condition: Callable[[], Any], seconds: float = 180) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    return True


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def up(folder: Path, *arguments: str) -> Iterator[Up]:
    home, said, port = new_home(), folder / "said.log", free_port()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("FEATURE_REGISTRY_HOME", str(home))
        database.write(database.folder(), build(Size(cells=40, fragments=10, synapses=2_000, seed=5)))
    variables = {
        "FEATURE_REGISTRY_HOME": str(home),
        "FEATURE_REGISTRY_MATERIALIZE": "none",
        "FEATURE_REGISTRY_ALLOWED_PREFIXES": json.dumps([str(home)]),
    }
    environment_of_child = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"} | variables
    command = [sys.executable, "-m", "feature_registry", "up", "--dagster", "--dagster-port", str(port), "--port", "0"]
    with said.open("w") as log:
        child = subprocess.Popen(
            [*command, "--file-port", "0", *arguments], env=environment_of_child, stdout=log, stderr=log, cwd=folder
        )
    try:
        ui = f"http://127.0.0.1:{port}"
        assert wait_for(lambda: child.poll() is not None or is_up(ui)), said.read_text()
        found = re.search(r"^API +(http://\S+)", said.read_text(), re.M)
        assert found, said.read_text()
        yield Up(home, found[1], ui, said)
    finally:
        child.terminate()
        child.wait(60)


def is_up(ui: str) -> bool:
    try:
        body = {"query": "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"}
        answer = httpx.post(f"{ui}/graphql", json=body, timeout=10).json()
        return bool(answer["data"]["repositoriesOrError"].get("nodes"))
    except (httpx.HTTPError, ValueError):
        return False
