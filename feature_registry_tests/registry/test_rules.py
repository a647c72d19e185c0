"""Named rules: what they find, what they say of it, and when they look again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.errors import Invalid, NotFound
from feature_registry.model import MaterializationVersion, Policies, Registration, Rule, RuleReport
from feature_registry.registry import Registry
from feature_registry.registry import rules as ruling
from feature_registry.settings import Settings
from feature_registry_tests.deployment import deployed

ROOT = 864691135000000000  # beyond 2^53
BASE: dict[str, Any] = {"datastack": "d", "publish": True, "description": "x", "owner": "o", "license": "CC0-1.0"}
RULES = {
    "covered": Rule(kind="coverage", table="shapes"),
    "everywhere": Rule(kind="complete", table="shapes"),
    "same_roots": Rule(kind="consistent", table="shapes", equal={"root": "pt_root_id"}),
}
IDS = [ROOT + 10 * number for number in range(20)]  # sparse, and not through a float


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(Settings(home=tmp_path / "home", policies={"d": Policies(rules=RULES)}))
    yield registry
    registry.close()


@pytest.fixture
def register(made: Registry, tmp_path: Path) -> Callable[..., None]:
    def register(
        name: str, mat_version: int, ids: Sequence[int], root: Callable[[int], int] = int, **said: Any
    ) -> None:
        place = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        column = "pt_root_id" if name == "nuclei" else "root"
        key = "id" if name == "nuclei" else "nucleus_id"
        pl.DataFrame(
            {key: ids, column: [root(each) for each in ids]}, schema={key: pl.Int64, column: pl.Int64}
        ).write_parquet(place)
        declared = {} if name == "nuclei" else {"references": {"nucleus_id": "nuclei.id"}}
        made.register(Registration(location=place, name=name, mat_version=mat_version, **(BASE | declared | said)))

    return register


def found(reports: Sequence[RuleReport], rule: str) -> list[tuple[int | None, str, int, str]]:
    return [
        (each.mat_version, each.outcome, each.violations, each.keys or each.missing)
        for each in reports
        if each.rule == rule
    ]


def span(first: int, last: int) -> str:
    return f"{IDS[first]}-{IDS[last]}"


@pytest.mark.row("C15")
def test_planted_violations_are_reported_and_clear_after_a_backfill(
    made: Registry, register: Callable[..., None]
) -> None:
    for mat_version in (1, 2, 3):
        register("nuclei", mat_version, IDS)
    register("shapes", 1, IDS)
    register("shapes", 2, [*IDS[:3], *IDS[10:12], *IDS[13:]], root=lambda id: id + (id in IDS[10:12]))

    reports = made.check_rules("d")

    assert found(reports, "covered") == [
        (1, "passed", 0, ""),
        (2, "failed", 8, f"{span(3, 9)}, {IDS[12]}"),
    ]
    assert found(reports, "same_roots") == [(1, "passed", 0, ""), (2, "failed", 2, span(10, 11))]
    assert found(reports, "everywhere") == [(None, "failed", 1, "3")]
    covered = reports[1]
    assert (covered.table, covered.parent, covered.share) == ("d/shapes@2.0", "d/nuclei@2.0", 0.4)
    checks = {check.name: check for check in made.describe("d/shapes@2").version.checks}
    assert checks["rule_covered_nucleus_id"].outcome == "warned"
    assert span(3, 9) in checks["rule_covered_nucleus_id"].message
    assert made.rules("d")[:2] == reports[:2]

    register("shapes", 2, IDS)  # the backfill
    register("shapes", 3, IDS)
    again = made.check_rules()
    assert {each.outcome for each in again} == {"passed"}
    assert [each.mat_version for each in again if each.rule == "covered"] == [1, 2, 3]
    checks = {check.name: check for check in made.describe("d/shapes@2").version.checks}
    assert checks["rule_covered_nucleus_id"].outcome == "passed"
    assert [each.outcome for each in made.rules("d")] == ["passed"] * len(again)


def test_what_nobody_made_anew_is_not_read_again(
    made: Registry, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for mat_version in (1, 2):
        register("nuclei", mat_version, IDS)
        register("shapes", mat_version, IDS[1:])
    before = made.check_rules("d")
    looked: list[str] = []
    scan = made.scan
    monkeypatch.setattr(made, "scan", lambda version, *rest: looked.append(str(version.ref)) or scan(version, *rest))
    assert made.check_rules("d")[:2] == before[:2]
    assert looked == []
    register("nuclei", 2, IDS[1:])  # the parent was made again
    assert found(made.check_rules("d"), "covered") == [(1, "failed", 1, str(IDS[0])), (2, "passed", 0, "")]
    assert set(looked) == {"d/shapes@2.0", "d/nuclei@2.1"}


def test_versions_that_are_not_valid_or_will_be_dropped_are_left_out(
    made: Registry, register: Callable[..., None]
) -> None:
    at = datetime(2024, 1, 1, tzinfo=UTC)
    soon = at + timedelta(days=30)
    for mat_version in range(1, 7):
        register("nuclei", mat_version, IDS)
    register("shapes", 4, IDS)
    made.record_versions(
        [
            MaterializationVersion(datastack="d", mat_version=1, time_stamp=at, valid=False),
            MaterializationVersion(datastack="d", mat_version=2, time_stamp=at, expires_on=soon),
            MaterializationVersion(datastack="d", mat_version=3, time_stamp=at),
        ]
    )
    assert found(made.check_rules("d"), "everywhere") == [(None, "failed", 4, "2-3, 5-6")]
    long = Rule(kind="complete", table="shapes", mat_versions="long_term")
    made.settings.policies["d"].rules["everywhere"] = long
    assert found(made.check_rules("d", names=["everywhere"]), "everywhere") == [(None, "failed", 3, "3, 5-6")]
    assert found(made.check_rules("d", names=["everywhere"], mat_versions=[4, 5]), "everywhere") == [
        (None, "failed", 1, "5")
    ]


def test_what_cannot_be_looked_at_is_skipped_and_looked_at_later(made: Registry, register: Callable[..., None]) -> None:
    assert {each.outcome for each in made.check_rules("d")} == {"skipped"}
    register("shapes", 1, IDS)
    reports = made.check_rules("d", names=["covered"])
    assert found(reports, "covered") == [(1, "skipped", 0, "")]
    assert "d/nuclei is not registered there" in reports[0].message
    register("nuclei", 1, IDS)
    assert found(made.check_rules("d"), "covered") == [(1, "passed", 0, "")]
    made.settings.policies["d"].rules["same_roots"] = Rule(kind="consistent", table="shapes", equal={"no": "no"})
    assert "has no column no" in made.check_rules("d", names=["same_roots"])[0].message
    with pytest.raises(NotFound) as wrong:
        made.check_rules("d", names=["nothing"])
    assert wrong.value.field == "names"


def test_many_ranges_are_cut_short_and_counted(made: Registry, register: Callable[..., None]) -> None:
    many = list(range(ROOT, ROOT + 1000))
    register("nuclei", 1, many)
    register("shapes", 1, many[::2])
    [report] = made.check_rules("d", names=["covered"])
    assert report.violations == 500
    assert report.keys.startswith(f"{ROOT + 1}, {ROOT + 3}, ")
    assert report.keys.endswith(", ...")
    assert len(report.keys) < 500


def test_over_http_and_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = {"d": Policies(rules=RULES)}
    with deployed(tmp_path / "home", policies=policies) as deployment:
        for name, ids in (("nuclei", IDS), ("shapes", IDS[:-1])):
            place = tmp_path / f"{name}.parquet"
            frame = pl.DataFrame({"id": ids, "nucleus_id": ids, "root": ids, "pt_root_id": ids})
            frame.write_parquet(place)
            said = {"references": {"nucleus_id": "nuclei.id"}} if name == "shapes" else {}
            deployment.registry.register(Registration(location=place, name=name, mat_version=1, **BASE, **said))
        monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("FEATURE_REGISTRY_POLICIES", json.dumps({"d": policies["d"].model_dump(mode="json")}))
        told = CliRunner().invoke(app, ["rules", "--datastack", "d"])
        assert told.exit_code == 1
        assert f"covered     d/shapes@1.0  {IDS[-1]}" in told.stdout
        client = deployment.client("d")
        assert client.rules()[0] == FeatureRegistry("d", server=deployment.registry).rules()[0]
        assert [each["outcome"] for each in httpx.get(f"{deployment.settings.api_address}/v1/rules").json()] == [
            "failed",
            "passed",
            "passed",
        ]
        with pytest.raises(Invalid):
            client.check_rules()
        server = ["--server", deployment.settings.api_address]
        assert [each["keys"] for each in json.loads(CliRunner().invoke(app, [*server, "rules", "--json"]).stdout)] == [
            str(IDS[-1]),
            "",
            "",
        ]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(everything=st.lists(st.integers(0, 30), unique=True).map(sorted), bad=st.sets(st.integers(0, 30)))
def test_ranges_say_exactly_what_was_found(everything: list[int], bad: set[int]) -> None:
    wanted = [each for each in everything if each in bad]
    said = ruling.ranges(everything, wanted)
    runs = [[int(end) for end in run.split("-")] for run in said.split(", ") if run]
    assert [each for each in everything if any(run[0] <= each <= run[-1] for run in runs)] == wanted
    assert all(later[0] > run[-1] for run, later in itertools.pairwise(runs))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(theirs=st.lists(st.integers(-3, 9) | st.none()), ours=st.lists(st.integers(-3, 9) | st.none()))
def test_keys_are_found_as_plain_python_finds_them(
    made: Registry, register: Callable[..., None], theirs: list[int | None], ours: list[int | None]
) -> None:
    """With nulls and duplicates on both sides, and ids of two widths."""
    register("nuclei", 1, theirs, root=lambda _: 1)
    register("shapes", 1, ours, root=lambda _: 1)
    [report] = made.check_rules("d", names=["covered"])
    keys = sorted({each for each in theirs if each is not None})
    bad = [each for each in keys if each not in ours]
    assert (report.violations, report.keys) == (len(bad), ruling.ranges(keys, bad))
