"""Nothing of a draft is told to others, whatever they ask, over both databases; and nothing that is theirs is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from feature_registry.errors import Conflict, NotFound, RegistryError
from feature_registry.model import Person, PlanRequest, Registration, Search
from feature_registry.registry import Registry
from feature_registry_tests.registry.filled import register, write

ANN = Person(name="ann", groups=("team",))
BOB = Person(name="bob", groups=("team",))
SECRET = "zebra"


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, catalogs: Callable[[str], Registry], tmp_path: Path) -> Registry:
    """Ann's, who has published d/t; all of bob's are drafts, and all that bob says is secret."""
    registry = catalogs(request.param).acting(ANN)
    register(registry, write(tmp_path / "t", 1), "t", tags=["common"])
    bob = registry.acting(BOB)
    said = {"description": SECRET, "tags": ["common", SECRET], "superseded_by": "d/t", "references": {"id": "t.id"}}
    producer = {"model": f"{SECRET}-1", "run_id": f"{SECRET}-run"}
    parents = {"derived_from": ["d/t@7.0"], "producer": producer, "publish": False}
    register(bob, write(tmp_path / SECRET, 2), SECRET, **said, **parents, columns={"id": {"derived_from": ["t.id"]}})
    register(bob, tmp_path / "t", f"{SECRET}_alias", publish=False, references={"id": "t.id"})
    again = {"datastack": "d", "name": "t", "mat_version": 7, "location": write(tmp_path / f"{SECRET}2", 3)}
    bob.register(Registration.checked(again | parents | {"producer": {}, "corrects": SECRET}))
    return registry


QUESTIONS: dict[str, Callable[[Registry], object]] = {
    "search": lambda asked: asked.search(Search(columns=True)),
    "search by word": lambda asked: asked.search(Search(text=SECRET)).entries,
    "mistyped": lambda asked: asked.search(Search(text="zebrra")),
    "facets": lambda asked: asked.facets(Search()),
    "described": lambda asked: asked.describe("d/t@7"),
    "history": lambda asked: asked.history("d/t"),
    "changes": lambda asked: asked.changes().events,
    "lineage": lambda asked: asked.lineage("d/t@7", columns=True),
    "lineage of a column": lambda asked: asked.lineage("d/t@7", column="id"),
    "dependents": lambda asked: asked.dependents("d/t@7"),
    "stale": lambda asked: asked.stale(),
    "lint": lambda asked: asked.lint(),
    "rules": lambda asked: asked.rules(),
    "cited": lambda asked: asked.cite(["d/t"]),
    "exported": lambda asked: asked.export("catalog_json"),
    "deprecated": lambda asked: asked.deprecate("d/t@7"),
    "checked": lambda asked: [asked.check("d/t@7"), *asked.check_all()],
    "tag renamed": lambda asked: asked.rename_tag("common", "other"),
}
REFUSED: dict[str, Callable[[Registry], object]] = {
    "described": lambda asked: asked.describe("d/none"),
    "draft": lambda asked: asked.describe("d/t@7.1"),
    "its history": lambda asked: asked.history(f"d/{SECRET}"),
    "its plan": lambda asked: asked.plan(PlanRequest(table=f"d/{SECRET}@7")),
    "its run": lambda asked: asked.unregister_run(f"{SECRET}-run"),
    "difference": lambda asked: asked.difference("d/t@7.0", "d/t@7.1"),
    "parent unregistered": lambda asked: asked.unregister("d/t@7.0"),
}


@pytest.mark.row("M17")
@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_hold_nothing_of_others_drafts(registry: Registry, question: str) -> None:
    assert SECRET not in str(QUESTIONS[question](registry))
    assert SECRET in str(registry.acting(BOB).search(Search()))


@pytest.mark.row("M17")
@pytest.mark.parametrize("question", REFUSED)
def test_refusals_hold_nothing_of_others_drafts(registry: Registry, question: str) -> None:
    with pytest.raises((NotFound, Conflict)) as raised:
        REFUSED[question](registry)
    asked = str(raised.value.value)
    assert SECRET not in str(raised.value.problem()).replace(asked, "")


def test_a_place_of_somebody_elses_draft_is_told_without_its_name(registry: Registry, tmp_path: Path) -> None:
    again = {"datastack": "d", "name": "mine", "location": tmp_path / SECRET, "mat_version": 7}
    report = registry.preview(Registration.checked(again))
    (found,) = (check for check in report.checks if check.name == "location")
    assert (found.outcome, found.message) == ("warned", "registered already as a draft of somebody else")


def test_the_record_of_a_forced_unregistering_names_no_draft(registry: Registry) -> None:
    with pytest.raises(Conflict, match="drafts of others"):
        registry.unregister("d/t@7.0")
    registry.unregister("d/t@7.0", force=True)
    assert registry.acting(Person(name="eve")).changes().events[-1].details["derived"] == []


def test_who_made_a_draft_and_admins_see_all_of_it(registry: Registry) -> None:
    for person in (BOB, Person(name="root", admin=True)):
        seen = registry.acting(person)
        found = seen.dependents("d/t@7.0")
        assert len(found.derived) == 2
        assert found.aliases == (f"d/{SECRET}_alias@7",)
        assert f"d/{SECRET}" in found.predecessors
        assert [event.kind for event in seen.history("d/t")].count("registered") == 2
        with pytest.raises(RegistryError) as raised:
            seen.describe("d/none")
        assert SECRET in str(raised.value.expected)
    assert registry.acting(BOB).publish(f"d/{SECRET}@7").version.status == "published"
    assert f"d/{SECRET}@7.0" in registry.dependents("d/t@7.0").derived
