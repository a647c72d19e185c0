"""What is kept for some days only: it warns, hides, and goes when nothing needs it. Time passes by a clock of ours."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from feature_registry.errors import NotFound
from feature_registry.model import MaterializationVersion, Search
from feature_registry.registry import Registry
from feature_registry_tests.registry.filled import register, write

DAY = timedelta(days=1)
SOON = {"retention": {"days": 10}}


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, catalogs: Callable[[str], Registry]) -> Registry:
    return catalogs(request.param)


def wait(registry: Registry, days: float) -> None:
    registry.clock = lambda: datetime.now(UTC) + days * DAY


def made(registry: Registry, name: str, mat_version: int = 7, **said: Any) -> Path:
    """A table where a run writes it, old enough to be looked at."""
    folder = write(Path(registry.settings.managed_root.key) / f"d/{name}/{mat_version}/run", 1)
    for path in folder.iterdir():
        os.utime(path, (0, 0))
    register(registry, folder, name, mat_version, **said)
    return folder


def found(registry: Registry, **wanted: Any) -> list[str]:
    return sorted(str(entry.ref) for entry in registry.search(Search(**wanted)).entries)


@pytest.mark.row("M12")
def test_what_expired_warns_and_is_hidden(registry: Registry) -> None:
    made(registry, "kept")
    made(registry, "t", **SOON)
    made(registry, "u", retention={"days": 100})
    wait(registry, 9.9)
    assert registry.describe("d/t@7").warnings == ()
    assert found(registry) == found(registry, mat_version=7) == ["d/kept@7.0", "d/t@7.0", "d/u@7.0"]
    wait(registry, 10.1)
    end = (datetime.now(UTC) + 10 * DAY).strftime("%Y-%m-%d")
    assert registry.describe("d/t@7.0").warnings == (f"d/t@7.0 expired on {end}, and may be deleted",)
    for wanted in ({}, {"mat_version": 7}, {"mat_version": "latest"}, {"text": "synapses"}):
        assert found(registry, **wanted) == ["d/kept@7.0", "d/u@7.0"], wanted
    with pytest.raises(NotFound) as raised:
        registry.describe("d/t")
    assert raised.value.expected == [7]
    registry.edit("d/t@7", {"retention": {"days": 11}})
    assert str(registry.describe("d/t").ref) == "d/t@7.0"
    assert "d/t@7.0" in found(registry)


@pytest.mark.row("M12")
def test_latest_and_nearest_pass_over_what_expired(registry: Registry) -> None:
    for number, day in ((4, 7), (5, 7), (6, 0), (7, 0)):
        wait(registry, day)
        made(registry, "t", number, **SOON)
    at = datetime(2024, 1, 1, tzinfo=UTC)
    registry.record_versions([MaterializationVersion(datastack="d", mat_version=4, time_stamp=at, valid=False)])
    assert str(registry.describe("d/t").ref) == "d/t@7.0"
    wait(registry, 12)
    assert str(registry.describe("d/t").ref) == "d/t@5.0"  # 4 is not valid
    assert found(registry) == found(registry, mat_version="latest") == ["d/t@5.0"]
    assert registry.describe("d/t@1507", nearest=True).warnings == (
        "1507 is not there; this is 5, the newest older one",
    )
    assert registry.describe("d/t@6", nearest=True).version.mat_version == 6  # it is there, and warns
    wait(registry, 20)
    with pytest.raises(NotFound):
        registry.describe("d/t")
    assert found(registry) == []


@pytest.mark.row("M12")
def test_what_expired_goes_unless_something_published_derives_from_it(registry: Registry) -> None:
    folders = {name: made(registry, name, **SOON) for name in ("alone", "parent", "grandparent")}
    made(registry, "between", derived_from=["d/grandparent@7.0"], **SOON)
    child = made(registry, "child", derived_from=["d/parent@7.0", "d/between@7.0"])
    wait(registry, 9)
    assert registry.leftovers() == ()
    wait(registry, 11)
    (listed,) = registry.leftovers()
    assert (listed.expired, listed.drafts, listed.files) == (("d/alone@7.0",), (), 1)
    assert registry.collect([listed]) == (listed,)
    assert not folders["alone"].exists()
    assert registry.history("d/alone")[-1].details["expired"] is True
    with pytest.raises(NotFound):
        registry.describe("d/alone@7")
    registry.deprecate("d/child@7")
    expired = sorted(ref for each in registry.leftovers() for ref in each.expired)
    assert expired == ["d/between@7.0", "d/grandparent@7.0", "d/parent@7.0"]
    assert len(registry.collect(registry.leftovers())) == 3
    assert child.exists()
    assert [str(each.ref) for each in registry.contents().entries] == ["d/child@7.0"]


@pytest.mark.row("M12")
def test_what_was_prolonged_after_it_was_listed_stays(registry: Registry) -> None:
    folder = made(registry, "t", **SOON)
    wait(registry, 11)
    listed = registry.leftovers()
    registry.edit("d/t@7", {"retention": {"days": 20}})
    assert registry.collect(listed) == ()
    assert folder.exists()
    assert registry.describe("d/t").warnings == ()


@pytest.mark.row("M12")
def test_data_outside_of_the_managed_root_expire_and_stay(registry: Registry, tmp_path: Path) -> None:
    register(registry, write(tmp_path / "theirs", 1), "t", **SOON)
    wait(registry, 11)
    assert registry.describe("d/t@7").warnings != ()
    assert registry.leftovers() == ()
