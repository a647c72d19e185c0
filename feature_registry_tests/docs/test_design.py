"""The how-to of each extension is code that works: it is put where the page says, found by its name, and tried."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest

from feature_registry import exports, formats
from feature_registry.location import Location
from feature_registry.model import Registration
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry.storage import Store, open_store, schemes
from feature_registry_tests.contracts.exports import ExportContract
from feature_registry_tests.contracts.formats import TestFormat as FormatContract
from feature_registry_tests.contracts.storage import TestStorage as StorageContract
from feature_registry_tests.defs.workshop import Workshop
from feature_registry_tests.deployment import Deployment

DESIGN = (Path(__file__).parents[2] / "docs" / "design.md").read_text()
BLOCKS = dict(re.findall(r"^```python\n# (\S+)\.py\n(.*?)^```$", DESIGN, re.M | re.S))

Added = Callable[[str], ModuleType]


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Added]:
    """Adds the page's file to its package, as if it lay there."""
    names = []

    def add(path: str) -> ModuleType:
        file = tmp_path / "added" / f"{path}.py"
        file.parent.mkdir(parents=True)
        file.write_text(BLOCKS[path])
        package, _, _ = path.replace("/", ".").rpartition(".")
        if package:
            monkeypatch.setattr(f"{package}.__path__", [*importlib.import_module(package).__path__, str(file.parent)])
        else:
            monkeypatch.syspath_prepend(str(file.parent))
        names.append(path.replace("/", "."))
        importlib.invalidate_caches()
        return importlib.import_module(names[-1])

    yield add
    for name in names:
        module = sys.modules.pop(name)
        package, _, last = name.rpartition(".")
        if package and getattr(sys.modules[package], last, None) is module:
            delattr(sys.modules[package], last)


def test_every_block_of_the_page_is_tried() -> None:
    tried = {
        "lab_features",
        *(f"feature_registry/{each}" for each in ("storage/lab", "formats/spark", "exports/markdown")),
    }
    assert set(BLOCKS) == tried
    assert DESIGN.count("```python") == len(tried)


def test_a_feature_table(added: Added, tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "home")
    pl.DataFrame({"id": [1, 2], "volume": [430.5, 380.0]}).write_parquet(tmp_path / "nuclei.parquet")
    workshop.registry.register(
        Registration(
            location=Location(tmp_path / "nuclei.parquet"),
            datastack="minnie65_public",
            name="nucleus_detection",
            mat_version=1507,
            description="Nuclei.",
            owner="lab",
            license="MIT",
            publish=True,
        )
    )
    workshop.make(added("lab_features").soma_nucleus_features)
    entry = workshop.registry.describe("minnie65_public/soma_nucleus_features@1507")
    assert entry.version.status == "published"
    assert entry.table.columns["nucleus_volume"].unit == "um^3"
    assert {check.name for check in entry.version.checks} >= {"schema", "key", "references_nucleus_id"}
    assert workshop.registry.scan(entry.version).collect().to_dict(as_series=False) == {
        "nucleus_id": [1, 2],
        "nucleus_volume": [430.5, 380.0],
    }


class TestAStorage(StorageContract):
    @pytest.fixture
    def place(self, added: Added, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
        monkeypatch.setattr(added("feature_registry/storage/lab"), "MOUNTS", tmp_path / "mnt")
        return Location("lab://share/tables")

    @pytest.fixture
    def store(self, place: Location, tmp_path: Path) -> Store:
        return open_store(place, Settings(home=tmp_path / "home"))

    def test_its_name_is_its_scheme(self, store: Store) -> None:
        assert "lab" in schemes()
        assert store.scheme == "lab"

    def test_a_table_in_it_is_registered_and_read_through_links(
        self, place: Location, tmp_path: Path, deployment: Deployment
    ) -> None:
        (tmp_path / "mnt/share/tables").mkdir(parents=True)
        pl.DataFrame({"id": [1, 2]}).write_parquet(tmp_path / "mnt/share/tables/spines.parquet")
        about = {"description": "Spines.", "owner": "lab", "license": "MIT"}
        said = {"datastack": "d", "name": "spines", "mat_version": 1, **about}
        deployment.registry.register(Registration(location=place.joined("spines.parquet"), publish=True, **said))
        table = deployment.client("d", mat_version=1).table("spines")
        assert table.entry.version.inspection.location == "lab://share/tables/spines.parquet"
        assert table.to_polars()["id"].to_list() == [1, 2]


class TestAFormat(FormatContract):
    @pytest.fixture
    def table_format(self, added: Added) -> formats.Format:
        added("feature_registry/formats/spark")
        return formats.get("spark")

    @pytest.fixture
    def location(self, tmp_path: Path) -> Location:
        return Location(tmp_path / "table")

    @pytest.fixture
    def store(self, location: Location, tmp_path: Path) -> Store:
        return open_store(location, Settings(home=tmp_path / "home"))

    def test_sniffs_its_own(self, table_format: formats.Format, store: Store, location: Location) -> None:
        """Without `_SUCCESS` it is not Spark's; with it, it is Spark's rather than plain Parquet."""
        pl.DataFrame({"id": [1]}).write_parquet(Path(location.key) / "part-0.parquet", mkdir=True)
        assert formats.sniff(store, location).name == "parquet"
        store.write(location.joined("_SUCCESS"), b"")
        assert formats.sniff(store, location).name == "spark"

    def test_a_table_of_it_is_registered_and_read(self, table_format: formats.Format, tmp_path: Path) -> None:
        pl.DataFrame({"id": [1, 2]}).write_parquet(tmp_path / "made/part-0.parquet", mkdir=True)
        (tmp_path / "made/_SUCCESS").touch()
        registry = Registry(Settings(home=tmp_path / "home"))
        said = {"datastack": "d", "name": "spines", "description": "Spines.", "owner": "lab", "license": "MIT"}
        report = registry.register(Registration(location=Location(tmp_path / "made"), **said))
        assert report.entry.version.inspection.format == "spark"
        assert registry.scan(report.entry.version).collect()["id"].to_list() == [1, 2]
        registry.close()


class TestAnExport(ExportContract):
    @pytest.fixture
    def export(self, added: Added) -> exports.Export:
        added("feature_registry/exports/markdown")
        assert "markdown" in exports.names()
        return exports.get("markdown")
