from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import polars as pl
import pytest

from feature_registry.errors import Conflict, Invalid
from feature_registry_tests.registry.validation.cave import EXPIRING, FROZEN, SOURCE, version
from feature_registry_tests.registry.validation.conftest import Outside, check

ROWS = pl.DataFrame({"id": [1]})


@pytest.mark.row("D3")
def test_an_unknown_version_is_refused_and_an_expiring_one_accepted_until_it_expires(
    outside: Outside, cave: Callable[..., None]
) -> None:
    cave(version(7), EXPIRING)
    outside.open(SOURCE)
    with pytest.raises(Invalid) as raised:
        outside.register(ROWS, mat_version=9)
    assert raised.value.field == "mat_version"
    assert "known: [7, 8]" in raised.value.message
    assert outside.registry.newest_event() == 0

    report = outside.register(ROWS, mat_version=8, publish=True)
    found = check(report, "mat_version")
    assert (found.outcome, found.details["long_term"]) == ("warned", False)
    assert (FROZEN + timedelta(days=3)).date().isoformat() in found.message

    outside.registry.record_versions([EXPIRING])
    entry = outside.registry.describe("d/t@8")
    assert entry.materialization is not None
    assert (entry.materialization.status, entry.materialization.expires_on) == ("available", EXPIRING.expires_on)
    outside.registry.record_versions([EXPIRING.model_copy(update={"status": "expired", "valid": False})])
    flipped = outside.registry.describe("d/t@8")
    assert flipped.materialization is not None
    assert (flipped.materialization.status, flipped.materialization.valid) == ("expired", False)
    assert flipped.version == entry.version


def test_what_the_catalog_knows_is_asked_of_nobody_else(outside: Outside, cave: Callable[..., None]) -> None:
    outside.registry.record_versions([version(5)])
    cave(down=True)
    outside.open(SOURCE)
    assert check(outside.register(ROWS, mat_version=5), "mat_version").outcome == "passed"


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({}, "passed"),
        ({"expires_on": FROZEN + timedelta(days=5_000)}, "passed"),
        ({"expires_on": FROZEN + timedelta(days=5)}, "warned"),
        ({"status": "expired", "valid": False}, "warned"),
        ({"valid": False}, "failed"),
        ({"status": "running"}, "failed"),
        ({"status": "failed", "valid": False}, "failed"),
    ],
)
def test_a_version_is_valid_and_kept(
    outside: Outside, cave: Callable[..., None], said: dict[str, object], outcome: str
) -> None:
    cave(version(7, **said))
    outside.open(SOURCE)
    assert check(outside.registry.preview(outside.said(ROWS)), "mat_version").outcome == outcome


@pytest.mark.usefixtures("cave")
def test_what_nobody_knows_is_unverified(outside: Outside) -> None:
    """A lab's own datastack, and any version where no CAVE is set."""
    outside.open(SOURCE)
    own = outside.said(ROWS).model_copy(update={"datastack": "lab"})
    for report in (outside.registry.register(own), outside.open() and outside.register(ROWS, mat_version=99)):
        found = check(report, "mat_version")
        assert (found.outcome, "unverified" in found.details) == ("skipped", True)


@pytest.mark.row("M1")
@pytest.mark.usefixtures("cave")
def test_the_name_of_a_table_of_caves_is_kept_for_its_dump_and_its_aliases(outside: Outside) -> None:
    outside.open(SOURCE)
    place = outside.write(ROWS, "dump")
    with pytest.raises(Conflict) as raised:
        outside.register(place, "synapses")
    assert raised.value.field == "name"
    assert outside.registry.newest_event() == 0

    dump = outside.registry.register(outside.said(place, "synapses"), by_pipeline=True)
    assert dump.entry.version.revision == 0
    alias = outside.said(pl.DataFrame({"id": [3]}), "synapses", derived_from=["other/synapses@7.0"])
    assert check(outside.registry.preview(alias), "name").outcome == "passed"
    assert check(outside.register(ROWS, "synapses", mat_version=None), "name").outcome == "passed"


@pytest.mark.row("M1")
def test_a_second_entry_of_one_name_is_another_revision(outside: Outside) -> None:
    first, second = outside.register(ROWS), outside.register(pl.DataFrame({"id": [2]}))
    assert [str(each.ref) for each in (first, second)] == ["d/t@7.0", "d/t@7.1"]
