from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from feature_registry.client import FeatureRegistry, HttpService
from feature_registry.errors import Denied, Invalid, NotFound, Unavailable
from feature_registry_tests.client import tables
from feature_registry_tests.client.conftest import Installed
from feature_registry_tests.deployment import Deployment


def names(found: object) -> set[str]:
    return {entry.table.name for entry in found}  # type: ignore[attr-defined]


def test_search(registry: FeatureRegistry) -> None:
    assert names(registry.search("synapses")) >= {"synapses"}
    assert names(registry.search(tags="embedding")) == {"segclr"}
    assert names(registry.search(column="embedding")) == {"segclr", "parted"}
    assert not registry.search("zebrafish")
    assert len(registry.search()) == 8
    assert registry.search()[0] == next(iter(registry.search()))


def test_a_search_shows_itself(registry: FeatureRegistry) -> None:
    text = repr(registry.search("synapses"))
    assert "synapses" in text
    assert "20,000" in text
    assert "tests" in text
    assert repr(registry.search("zebrafish")) == "nothing found"


def test_pages_are_fetched_when_they_are_looked_at(installed: Installed) -> None:
    found = installed.http.search(limit=2)
    assert len(list(found)) == 8
    assert len(names(found)) == 8


def test_a_search_says_what_is_at_other_versions_only(registry: FeatureRegistry) -> None:
    assert "other versions only" in repr(registry.search("synapses", mat_version=3))


def test_an_unknown_filter_names_those_there_are(registry: FeatureRegistry) -> None:
    with pytest.raises(Invalid) as wrong:
        registry.search(colour="red")
    assert wrong.value.field == "colour"
    assert "tags" in wrong.value.expected


def test_a_table_is_previewed_registered_published_edited_and_deprecated(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "spines.parquet"
    pl.DataFrame({"id": [1, 2], "volume": [0.1, 0.2]}).write_parquet(path)
    registry = deployment.client(tables.DATASTACK, mat_version=3)
    assert registry.preview(path, "spines").created
    with pytest.raises(NotFound):
        _ = registry["spines"].entry
    report = registry.register(path, "spines", key=["id"], description="Spines.", owner="lab", license="MIT")
    assert (report.created, report.entry.version.status) == (True, "draft")
    assert not registry.register(path, "spines").created
    assert registry.publish("spines").version.status == "published"
    assert registry.edit("spines", tags=["spine"]).table.tags == ("spine",)
    assert registry["spines"].entry.table.key == ("id",)
    assert "spines" in registry.export("catalog_json")
    assert registry.deprecate("spines", reason="wrong").version.status == "deprecated"
    assert {event.kind for event in registry.history("spines")} >= {"registered", "published", "deprecated"}


def test_a_superseded_table_resolves_to_its_successor_and_lineage_is_told(
    deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "spines.parquet"
    pl.DataFrame({"id": [1]}).write_parquet(path)
    registry = deployment.client(tables.DATASTACK, mat_version=3)
    said = {"description": "Spines.", "owner": "lab", "license": "MIT", "publish": True}
    old = registry.register(path, "spines", **said)
    registry.register(path, "better_spines", derived_from=[str(old.ref)], **said)
    registry.deprecate("spines", superseded_by=f"{tables.DATASTACK}/better_spines")
    assert registry.resolve("spines").name == "better_spines"
    assert registry.lineage("better_spines").upstream == (str(old.ref),)
    assert registry.lineage("spines").downstream == (str(registry["better_spines"].entry.ref),)


def test_a_version_is_needed_to_register(installed: Installed, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as wrong:
        FeatureRegistry(tables.DATASTACK, server=installed.http.service).register(tmp_path, "spines")
    assert wrong.value.field == "mat_version"


def test_what_may_not_be_registered_is_refused_with_its_kind(installed: Installed, tmp_path: Path) -> None:
    pl.DataFrame({"id": [1]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(Denied) as wrong:
        installed.http.register(tmp_path / "a.parquet", "spines")
    assert wrong.value.field == "location"
    with pytest.raises(Invalid):
        installed.http.register("s3://user:secret@bucket/key", "spines")


def test_problems_come_back_as_they_were(installed: Installed) -> None:
    caught = []
    for client in (installed.http, installed.embedded):
        with pytest.raises(NotFound) as wrong:
            _ = client["no_such_table"].entry
        caught.append(wrong.value)
    assert caught[0] == caught[1]


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(Unavailable) as wrong:
        _ = FeatureRegistry("minnie65", server="http://127.0.0.1:9")["synapses"].entry
    assert wrong.value.field == "server"
    with pytest.raises(Invalid):
        FeatureRegistry("minnie65", server="127.0.0.1:8470")


def test_a_server_that_is_no_registry(installed: Installed) -> None:
    service = HttpService(installed.deployment.settings.file_address)
    with pytest.raises((Unavailable, Denied)):
        service.datastacks()


def test_the_server_comes_from_the_environment(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_SERVER", installed.deployment.settings.api_address)
    with FeatureRegistry(tables.DATASTACK) as registry:
        assert isinstance(registry.service, HttpService)
        assert registry["synapses"].rows == tables.SYNAPSES


def test_without_a_server_it_is_embedded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path))
    with FeatureRegistry(tables.DATASTACK) as registry:
        assert "embedded" in repr(registry)
        assert registry.search("anything").coverage == {}


def test_latest_is_the_highest_version(installed: Installed) -> None:
    assert FeatureRegistry(tables.DATASTACK, server=installed.http.service)["synapses"].ref.endswith("@1507.0")


@pytest.mark.parametrize(("datastack", "mat_version"), [("a b", 3), ("minnie65", -1), ("minnie65", "newest")])
def test_what_names_no_version(datastack: str, mat_version: object, installed: Installed) -> None:
    with pytest.raises(Invalid):
        FeatureRegistry(datastack, mat_version, server=installed.http.service)  # type: ignore[arg-type]


def test_a_missing_server_is_named(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None; from feature_registry.client import FeatureRegistry\n"
        "try: FeatureRegistry('fly')\nexcept ImportError as missing: print(missing)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert "feature-registry[server]" in said


def test_links_stay_out_of_logs(installed: Installed, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="httpx")
    installed.http["order"].download(tmp_path, progress=False)
    assert "/v1/links/..." in caplog.text
    assert re.findall(r"/v1/links/(?!\.\.\.)", caplog.text) == []


def test_the_import_is_light() -> None:
    heavy = "polars", "pyarrow", "numpy", "sqlalchemy", "fastapi", "dagster", "duckdb", "pandas"
    code = f"import sys, feature_registry.client; sys.exit(' '.join(set({heavy!r}) & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr.strip() == ""
    )
