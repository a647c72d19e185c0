from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from feature_registry.errors import Invalid
from feature_registry.registry.validation import rows
from feature_registry_tests.registry.validation.cave import SOURCE, version
from feature_registry_tests.registry.validation.conftest import Outside, check

BIG = 2**60
PARENT = pl.DataFrame({"id": [BIG, BIG + 1, BIG + 2, BIG + 3]})
CHILD = pl.DataFrame({"nucleus": [BIG, BIG, BIG + 1, BIG + 9]})
REFERENCE = {"references": {"nucleus": "cells.id"}}


@pytest.mark.row("D4")
def test_each_level_has_an_outcome_of_its_own(outside: Outside) -> None:
    outside.register(PARENT, "cells")
    outside.registry.publish("d/cells@7")
    seen = {}
    for level in ("text", "name", "column", "keys"):
        outside.open(references=level)
        found = check(outside.register(CHILD, f"by_{level}", **REFERENCE), "references_nucleus")
        seen[level] = (found.outcome, found.message, found.details)
    assert seen["text"][:2] == ("skipped", "recorded as text")
    assert seen["name"][:2] == ("passed", "the table is d/cells@7.0")
    assert seen["column"][:2] == ("passed", "d/cells@7.0 has the column id")
    assert seen["keys"][:2] == ("warned", "1 of 4 values are not in d/cells@7.0")
    assert seen["keys"][2]["share"] == 0.25
    assert seen["keys"][2]["examples"] == [str(BIG + 9)]
    assert {level: details["level"] for level, (_, _, details) in seen.items()} == {level: level for level in seen}


@pytest.mark.row("M14")
@pytest.mark.usefixtures("cave")
def test_an_unknown_target_is_recorded_warned_of_or_refused(outside: Outside) -> None:
    said = {"references": {"nucleus": "nucleii.id"}}
    for action, outcome in (("record", "skipped"), ("warn", "warned")):
        outside.open(SOURCE, checks={"references": action})
        found = check(outside.register(CHILD, action, **said), "references_nucleus")
        assert (found.outcome, "nucleii" in found.message, found.details["known"]) == (
            outcome,
            True,
            ["synapses", "nuclei"],
        )
    outside.open(SOURCE, checks={"references": "enforce"})
    before = outside.registry.newest_event()
    with pytest.raises(Invalid) as raised:
        outside.register(CHILD, **said)
    assert raised.value.field == "references_nucleus"
    assert outside.registry.newest_event() == before


@pytest.mark.row("D4")
def test_what_cave_lists_is_known_by_name_and_a_later_look_completes_the_rest(
    outside: Outside, cave: Callable[..., None]
) -> None:
    outcomes = {}
    for level in ("name", "column", "keys"):
        outside.open(SOURCE, references=level)
        report = outside.register(CHILD, f"by_{level}", references={"nucleus": "nuclei.id"})
        found = check(report, "references_nucleus")
        outcomes[level] = (found.outcome, "unverified" in found.details)
    assert outcomes == {"name": ("passed", False), "column": ("passed", False), "keys": ("skipped", True)}

    assert outside.registry.complete(report.entry.version.id) == outside.registry.describe("d/by_keys@7")
    assert check(report, "references_nucleus").at is None
    made = outside.said(PARENT, "nuclei", publish=True)
    outside.registry.register(made, by_pipeline=True)
    entry = outside.registry.complete(report.entry.version.id)
    found = {each.name: each for each in entry.version.checks}
    assert (found["references_nucleus"].outcome, found["references_nucleus"].details["orphans"]) == ("warned", 1)
    assert found["references_nucleus"].at is not None
    assert found["coverage"].details["nucleus"]["share"] == 0.5


@pytest.mark.row("D4")
def test_cave_that_is_down_means_unverified_and_no_failure(outside: Outside, cave: Callable[..., None]) -> None:
    cave(down=True)
    outside.open(SOURCE, checks={"references": "enforce", "mat_version": "enforce"})
    report = outside.register(CHILD, **REFERENCE)
    for name in ("references_nucleus", "mat_version"):
        assert check(report, name).outcome == "skipped"
        assert "does not answer" in check(report, name).details["unverified"]

    cave(version(7, tables=("synapses",)))
    found = {each.name: each for each in outside.registry.complete(report.entry.version.id).version.checks}
    assert (found["mat_version"].outcome, found["mat_version"].blocking) == ("passed", True)
    assert found["references_nucleus"].outcome == "failed"  # it is registered, and says so


def test_a_column_that_the_parent_lacks_is_told_by_the_level_that_looks(outside: Outside) -> None:
    outside.register(PARENT, "cells", publish=True)
    said = {"references": {"nucleus": "cells.nucleus_id"}}
    for level, outcome in (("name", "passed"), ("column", "warned"), ("keys", "warned")):
        outside.open(references=level)
        assert check(outside.register(CHILD, f"by_{level}", **said), "references_nucleus").outcome == outcome


def test_coverage_is_the_share_of_the_parents_keys_that_have_a_row(outside: Outside) -> None:
    outside.register(PARENT, "cells", publish=True)
    found = check(outside.register(CHILD, **REFERENCE), "coverage")
    assert (found.outcome, found.message) == ("passed", "2 of 4 keys of cells.id (50.0%) have a row")
    assert found.details["nucleus"] == {"target": "cells.id", "keys": 4, "covered": 2, "share": 0.5}


@pytest.mark.parametrize("rows_per_pass", [1, 3, 1_000])
def test_shares_do_not_depend_on_the_passes(
    outside: Outside, monkeypatch: pytest.MonkeyPatch, rows_per_pass: int
) -> None:
    outside.register(PARENT, "cells", publish=True)
    monkeypatch.setattr(rows, "ROWS_PER_PASS", rows_per_pass)
    outside.open(key="whole")
    found = check(outside.register(CHILD, **REFERENCE), "references_nucleus")
    assert (found.details["rows"], found.details["orphans"], found.details["examples"]) == (4, 1, [str(BIG + 9)])


def test_of_a_large_table_a_sample_of_values_is_followed_and_nothing_is_said_of_coverage(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside.register(PARENT, "cells", publish=True)
    monkeypatch.setattr(rows, "ROWS_SAMPLED", 8)
    report = outside.register(pl.concat([CHILD] * 5), **REFERENCE)
    assert check(report, "references_nucleus").details["rows"] == 8
    assert check(report, "references_nucleus").message.endswith(", a sample")
    assert check(report, "coverage").outcome == "skipped"


def test_of_many_files_some_are_followed(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    outside.register(PARENT, "cells", publish=True)
    monkeypatch.setattr(rows, "FILES_SAMPLED", 4)
    place = outside.folder / "many"
    place.mkdir()
    for number in range(9):
        CHILD.write_parquet(place / f"{number}.parquet")
    report = outside.register(place, **REFERENCE)
    assert check(report, "references_nucleus").details["rows"] == 4 * CHILD["nucleus"].count()
    assert check(report, "references_nucleus").message.endswith(", a sample from 4 of 9 files")
    assert check(report, "coverage").outcome == "skipped"
