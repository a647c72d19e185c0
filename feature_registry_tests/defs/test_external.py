from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import httpx
import polars as pl
import pytest

from feature_registry import feature_table
from feature_registry.defs import external
from feature_registry.defs.build import build_defs
from feature_registry.location import Location
from feature_registry.model import Column, Registration
from feature_registry.settings import Settings
from feature_registry_tests.defs.workshop import DATASTACK, SAID, Workshop


def registered(workshop: Workshop, name: str, mat_version: int | None = 1507, **said: Any) -> None:
    path = workshop.folder / f"{said.get('datastack', DATASTACK)}-{name}.parquet"
    workshop.folder.mkdir(parents=True, exist_ok=True)
    pl.DataFrame({"root_id": [864691135000000000], "volume": [0.5]}).write_parquet(path)
    about = {"owner": "spine-lab", "description": "From outside.", "license": "MIT"}
    fields = {"datastack": DATASTACK, "publish": True, **about, **said}
    workshop.registry.register(Registration(location=Location(path), name=name, mat_version=mat_version, **fields))


def module() -> ModuleType:
    made = ModuleType("tables")

    @feature_table(**SAID, key=["id"])
    def nuclei() -> pl.DataFrame:
        return pl.DataFrame({"id": [1]})

    @feature_table(**SAID, deps=["spines"])
    def counted() -> pl.DataFrame:
        return pl.DataFrame({"id": [1]})

    vars(made).update(nuclei=nuclei, counted=counted)
    return made


def definitions(workshop: Workshop) -> dg.Definitions:
    built = build_defs([module()], Settings(home=workshop.folder), workshop.resources)
    dg.Definitions.validate_loadable(built)
    return built


def spec(workshop: Workshop, *key: str) -> dg.AssetSpec:
    return {each.key: each for each in definitions(workshop).resolve_all_asset_specs()}[dg.AssetKey(key)]


def test_a_table_from_outside_is_an_external_asset(workshop: Workshop) -> None:
    columns = {"volume": Column("Volume of the spine", unit="um^3")}
    registered(workshop, "spines", columns=columns, tags=["spine"], references={"root_id": "nuclei.id"})
    found = spec(workshop, DATASTACK, "spines")
    assert (found.description, found.group_name, list(found.owners)) == ("From outside.", DATASTACK, ["team:spine-lab"])
    assert (found.kinds, found.partitions_def) == ({"parquet", "table"}, external.mat_versions(DATASTACK))
    assert "spine" in found.tags
    schema = found.metadata["dagster/column_schema"]
    assert [(each.name, each.type, each.description) for each in schema.columns] == [
        ("root_id", "int64", None),
        ("volume", "double", "Volume of the spine [um^3]"),
    ]
    assert [dep.asset_key for dep in found.deps] == [dg.AssetKey([DATASTACK, "nuclei"])]
    graph = definitions(workshop).resolve_asset_graph()
    node = graph.get(dg.AssetKey([DATASTACK, "spines"]))
    assert not node.is_materializable
    assert node.child_keys == {dg.AssetKey([DATASTACK, "counted"])}


def test_a_table_that_a_module_defines_is_left_to_it(workshop: Workshop) -> None:
    registered(workshop, "nuclei")
    assert definitions(workshop).resolve_asset_graph().get(dg.AssetKey([DATASTACK, "nuclei"])).is_materializable


def test_other_datastacks_count_versions_by_themselves(workshop: Workshop) -> None:
    registered(workshop, "atlas", None)
    registered(workshop, "cells", 3, datastack="zheng_ca3", references={"root_id": f"{DATASTACK}/nuclei.id"})
    registered(workshop, "regions", 3, datastack="zheng_ca3", references={"root_id": f"{DATASTACK}/atlas.id"})
    assert spec(workshop, DATASTACK, "atlas").partitions_def is None
    found = spec(workshop, "zheng_ca3", "cells")
    [dep] = found.deps
    assert isinstance(dep.partition_mapping, dg.AllPartitionMapping)
    assert found.partitions_def != spec(workshop, DATASTACK, "nuclei").partitions_def


def test_tables_that_refer_to_each_other_load(workshop: Workshop) -> None:
    """`counted` is made after `spines`, which refers to it; so do two others to each other, and one to itself."""
    registered(workshop, "spines", references={"root_id": "counted.id"})
    registered(workshop, "left", references={"root_id": "right.root_id", "volume": "nuclei.id"})
    registered(workshop, "right", references={"root_id": "left.root_id"})
    registered(workshop, "own", references={"root_id": "own.root_id"})
    assert [dep.asset_key.path[-1] for dep in spec(workshop, DATASTACK, "left").deps] == ["nuclei"]
    assert not list(spec(workshop, DATASTACK, "spines").deps)


def test_drafts_are_nobodys_assets(workshop: Workshop) -> None:
    registered(workshop, "spines", publish=False)
    assert dg.AssetKey([DATASTACK, "spines"]) not in {
        each.key for each in external.specs(Settings(home=workshop.folder), [])
    }


def test_without_a_catalog_all_else_loads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert external.specs(Settings(home=tmp_path / "none"), []) == []
    assert not (tmp_path / "none").exists()
    assert caplog.text == ""
    (tmp_path / "catalog.db").write_text("no database")
    with caplog.at_level(logging.WARNING):
        assert external.specs(Settings(home=tmp_path), []) == []
    assert "external tables are not shown" in caplog.text
    caplog.clear()
    address = "postgresql://somebody:hush@127.0.0.1:1/nowhere"
    assert external.specs(Settings(home=tmp_path, database=address), []) == []
    assert "external tables are not shown" in caplog.text
    assert "hush" not in caplog.text


def test_the_webserver_is_asked_to_load_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def post(address: str, json: Any, timeout: float) -> httpx.Response:
        asked.append((address, json["variables"]))
        kind = "WorkspaceLocationEntry" if len(asked) == 1 else "ReloadNotSupported"
        body = {"data": {"reloadRepositoryLocation": {"__typename": kind}}}
        return httpx.Response(200, json=body, request=httpx.Request("POST", address))

    class Context:
        class code_location_origin:  # noqa: N801
            location_name = "feature_registry.definitions"

    context: Any = Context()
    unheard = external.reload(context, "http://127.0.0.1:9")
    assert unheard is not None and "ConnectError" in unheard
    monkeypatch.setattr(httpx, "post", post)
    assert external.reload(context, "http://127.0.0.1:3000") is None
    assert asked == [("http://127.0.0.1:3000/graphql", {"name": "feature_registry.definitions"})]
    assert "ReloadNotSupported" in (external.reload(context, "http://127.0.0.1:3000") or "")
