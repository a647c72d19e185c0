"""Publishing with care, over both databases: who may do what, in which order, and what readers are told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from feature_registry.errors import Conflict, Denied, Invalid, NotFound, RegistryError
from feature_registry.location import Location
from feature_registry.model import CheckResult, Column, Deprecation, Person, PlanRequest, Policies, Registration, Search
from feature_registry.registry import Registry
from feature_registry.settings import Settings
from feature_registry_tests.registry.filled import SAID, kinds, register, write

ANN = Person(name="ann", groups=("team",))
BOB = Person(name="bob", groups=("others",))


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest, catalogs: Callable[[str], Registry]) -> Registry:
    return catalogs(request.param).acting(ANN)


@pytest.fixture
def table(registry: Registry, tmp_path: Path) -> str:
    """A draft."""
    register(registry, write(tmp_path / "t", 1), "t", publish=False)
    return "d/t@7"


# ------------------------------------------------------------------------------------------------------ transitions


@pytest.mark.row("M17")
def test_only_legal_transitions_pass(registry: Registry, table: str) -> None:
    with pytest.raises(Invalid, match="draft"):
        registry.deprecate(table)
    assert registry.publish(table).version.status == "published"
    assert registry.publish(table).version.status == "published"
    registry.deprecate(table, "wrong scale")
    registry.deprecate(table)
    with pytest.raises(Conflict, match="deprecated"):
        registry.publish(table)
    assert kinds(registry, "d/t") == ["described", "registered", "published", "deprecated"]


@pytest.mark.row("M17")
def test_drafts_are_invisible_to_others_and_to_latest(registry: Registry, table: str, tmp_path: Path) -> None:
    for other in (registry.acting(BOB), registry.acting(Person(name="eve", groups=("team",)))):
        for ref in (table, "d/t", "d/t@7.0"):
            with pytest.raises(NotFound):
                other.describe(ref)
        assert other.search(Search()).entries == ()
    with pytest.raises(NotFound):
        registry.describe("d/t")
    register(registry, write(tmp_path / "older", 1), "t", mat_version=6)
    assert str(registry.describe("d/t").ref) == "d/t@6.0"
    assert registry.describe(table).version.status == "draft"


@pytest.mark.row("M17")
def test_what_is_deprecated_reads_with_a_warning_that_names_its_successor(
    registry: Registry, table: str, tmp_path: Path
) -> None:
    registry.publish(table)
    register(registry, write(tmp_path / "u", 2), "u")
    registry.deprecate(table, "wrong scale", "d/u")
    warning = "d/t@7.0 is deprecated: wrong scale; its successor is d/u"
    plan = registry.plan(PlanRequest(table=table))
    assert registry.describe(table).warnings == plan.warnings == (warning,)
    assert len(plan.files) == 1
    assert registry.describe(table).version.deprecation == Deprecation(reason="wrong scale", superseded_by="d/u")


@pytest.mark.row("M17")
def test_without_a_revision_all_of_a_version_are_deprecated(registry: Registry, table: str, tmp_path: Path) -> None:
    """Or who reads it would get the revision that was corrected, and no warning."""
    registry.publish(table)
    register(registry, write(tmp_path / "again", 2), "t", corrects="the ids")
    other = register(registry, write(tmp_path / "u", 2), "u").entry.version.id
    registry.deprecate(table, "wrong scale", other)
    for ref in (table, "d/t@7.0", "d/t@7.1"):
        assert "wrong scale; its successor is d/u@7.0" in registry.describe(ref).warnings[0]
    assert str(registry.resolve(table).ref) == "d/u@7.0"
    register(registry, write(tmp_path / "v0", 3), "v")
    register(registry, write(tmp_path / "v1", 4), "v", corrects="all")
    registry.deprecate("d/v@7.1", "that was no correction")
    assert (str(registry.describe("d/v@7").ref), registry.describe("d/v@7").warnings) == ("d/v@7.0", ())


def test_the_successor_of_a_version_within_its_table_is_none_of_the_table(
    registry: Registry, table: str, tmp_path: Path
) -> None:
    registry.publish(table)
    register(registry, write(tmp_path / "u", 2), "t", mat_version=8)
    registry.deprecate(table, superseded_by="d/t@8")
    assert "its successor is d/t@8" in registry.describe(table).warnings[0]
    assert registry.describe("d/t").table.superseded_by is None
    assert str(registry.resolve(table).ref) == "d/t@8.0"
    with pytest.raises(Invalid, match="itself"):
        registry.deprecate("d/t@8", superseded_by="d/t")


def test_publishing_names_all_that_is_missing_and_policy_says_what_is(tmp_path: Path, registry: Registry) -> None:
    registry.register(Registration(location=write(tmp_path / "t", 1), datastack="d", name="t", mat_version=7))
    with pytest.raises(Invalid) as raised:
        registry.publish("d/t@7")
    assert "description, owner, license" in raised.value.message
    lenient = Settings(home=tmp_path / "home", policies={"d": Policies(publishing_needs=("description",))})
    registry.settings = lenient
    with pytest.raises(Invalid) as raised:
        registry.publish("d/t@7")
    assert (raised.value.field, raised.value.expected) == ("description", ["description"])
    registry.edit("d/t@7", {"description": "T."})
    assert registry.publish("d/t@7").version.status == "published"
    with pytest.raises(Invalid, match="published"):
        registry.edit("d/t@7", {"description": ""})


# ------------------------------------------------------------------------------------------------------- corrections


def test_other_bytes_at_a_published_place_are_a_new_revision(registry: Registry, table: str, tmp_path: Path) -> None:
    registry.publish(table)
    before = registry.describe("d/t@7.0").version
    write(tmp_path / "t", 2, 3)
    silent = register(registry, tmp_path / "t", "t", publish=False)
    assert (silent.created, silent.entry.version.revision) == (True, 1)
    found = {check.name: check for check in silent.checks}["corrects"]
    assert (found.outcome, "d/t@7.0" in found.message) == ("warned", True)
    write(tmp_path / "t", 4)
    said = register(registry, tmp_path / "t", "t", corrects="d/t@7.0: the ids were shifted")
    assert {check.name: check.outcome for check in said.checks}["corrects"] == "passed"
    assert registry.describe(table).version.corrects == "d/t@7.0: the ids were shifted"
    assert registry.describe("d/t@7.0").version.inspection == before.inspection
    assert registry.describe("d/t@7.0").version.corrects is None


def test_what_a_run_makes_again_says_so_by_itself(registry: Registry, table: str, tmp_path: Path) -> None:
    first = register(registry, write(tmp_path / "a", 1), "u", producer={"run_id": "one"})
    again = register(registry, write(tmp_path / "b", 2), "u", producer={"run_id": "two"})
    assert first.entry.version.corrects is None
    assert again.entry.version.corrects == "d/u@7.0, made again by run two"


# ------------------------------------------------------------------------------------------------- the way to a version


@pytest.mark.row("M18")
def test_resolve_follows_to_the_same_version_or_else_says_so(registry: Registry, tmp_path: Path) -> None:
    for name, numbers in (("old", (5, 7)), ("newer", (7, 8)), ("newest", (6, 9))):
        for number in numbers:
            register(registry, write(tmp_path / f"{name}{number}", number), name, mat_version=number)
    registry.edit("d/old", {"superseded_by": "d/newer"})
    assert str(registry.resolve("d/old").ref) == "d/newer@8.0"
    same = registry.resolve("d/old@7")
    assert (str(same.ref), same.warnings) == ("d/newer@7.0", ())
    other = registry.resolve("d/old@5")
    assert (str(other.ref), other.warnings) == ("d/newer@8.0", ("d/newer has none at 5; this is d/newer@8.0",))
    registry.edit("d/newer", {"superseded_by": "d/newest"})
    assert str(registry.resolve("d/old").ref) == "d/newest@9.0"
    near = registry.resolve("d/old@7", nearest=True)
    assert (str(near.ref), near.warnings) == (
        "d/newest@6.0",
        ("7 is not there; this is 6, the newest older one",),
    )


def test_the_nearest_is_the_newest_older_one_and_says_so(registry: Registry, tmp_path: Path) -> None:
    for number in (5, 7, 9, None):
        register(registry, write(tmp_path / f"{number}", number or 1), "t", mat_version=number)
    register(registry, write(tmp_path / "draft", 1), "t", mat_version=8, publish=False)
    other = registry.acting(BOB)
    for asked, found in ((8, 7), (7, 7), (6, 5), (1507, 9)):
        entry = other.describe(f"d/t@{asked}", nearest=True)
        warnings = () if asked == found else (f"{asked} is not there; this is {found}, the newest older one",)
        assert (entry.version.mat_version, entry.warnings) == (found, warnings)
    with pytest.raises(NotFound):
        other.describe("d/t@4", nearest=True)
    with pytest.raises(NotFound):
        other.describe("d/t@8")
    plan = other.plan(PlanRequest(table="d/t@8", nearest=True))
    assert (str(plan.entry.ref), len(plan.warnings)) == ("d/t@7.0", 1)


@pytest.mark.row("L1")
def test_a_uuid_is_the_version_wherever_it_is(registry: Registry, table: str, tmp_path: Path) -> None:
    again = register(registry, tmp_path / "t", "t", publish=False)
    assert not again.created
    id = again.entry.version.id
    assert str(registry.describe(id.upper()).ref) == "d/t@7.0"
    with pytest.raises(NotFound):
        registry.acting(BOB).describe(id)
    assert registry.publish(id).version.status == "published"
    assert registry.acting(BOB).describe(id).version.id == id
    moved = Location(shutil.copytree(tmp_path / "t", tmp_path / "elsewhere"))
    registry.relocate(registry.describe(id).version.inspection.location, moved)
    assert registry.describe(id).version.inspection.location.endswith("elsewhere")
    assert registry.plan(PlanRequest(table=id)).entry.version.id == id
    assert len(registry.history(id)) == 4
    registry.unregister(id)
    with pytest.raises(NotFound):
        registry.describe(id)


# -------------------------------------------------------------------------------------------------------------- runs


@pytest.mark.row("L2")
def test_a_run_writes_once_and_stays_while_it_is_needed(registry: Registry, tmp_path: Path) -> None:
    run: dict[str, Any] = {"producer": {"run_id": "run"}}
    register(registry, write(tmp_path / "a", 1), "a", **run)
    register(registry, write(tmp_path / "b", 1), "b", derived_from=["d/a@7.0"], **run)
    newest = registry.newest_event()
    with pytest.raises(Conflict) as raised:
        register(registry, write(tmp_path / "other", 2), "a", **run)
    assert (raised.value.field, raised.value.value) == ("producer.run_id", "run")
    assert not register(registry, tmp_path / "a", "a", **run).created
    assert registry.newest_event() == newest
    register(registry, write(tmp_path / "a8", 3), "a", mat_version=8, **run)
    register(registry, write(tmp_path / "c", 1), "c", derived_from=["d/b@7.0"])
    with pytest.raises(Conflict) as raised:
        registry.unregister_run("run")
    assert "d/c@7.0" in str(raised.value.expected)
    registry.unregister("d/c@7")
    with pytest.raises(Denied):
        registry.acting(BOB).unregister_run("run")
    gone = registry.unregister_run("run")
    assert sorted(str(each.ref) for each in gone) == ["d/a@7.0", "d/a@8.0", "d/b@7.0"]
    assert registry.contents(drafts=True).entries == ()
    with pytest.raises(NotFound):
        registry.unregister_run("run")


# ------------------------------------------------------------------------------------------------------------ owners


@pytest.mark.row("M9")
def test_only_the_owners_team_changes_a_table(registry: Registry, table: str, tmp_path: Path) -> None:
    bob, newest = registry.acting(BOB), registry.newest_event()
    registry.publish(table)
    attempts: list[Callable[[Registry], Any]] = [
        lambda by: by.edit(table, {"description": "Mine."}),
        lambda by: by.deprecate(table),
        lambda by: by.unregister(table),
        lambda by: by.transfer(table, person="bob"),
        lambda by: register(by, write(tmp_path / "t", 9), "t"),
        lambda by: register(by, tmp_path / "t", "t", publish=False, description="Mine."),
    ]
    for attempt in attempts:
        with pytest.raises(Denied) as raised:
            attempt(bob)
        assert raised.value.expected == "the team team, or an admin"
    draft = register(bob, write(tmp_path / "draft", 5), "t", publish=False)  # everybody may propose
    with pytest.raises(Denied):
        bob.publish(str(draft.entry.ref))
    bob.unregister(str(draft.entry.ref))
    assert registry.newest_event() == newest + 3
    for attempt in (attempts[0], attempts[1]):
        attempt(registry.acting(Person(name="eve", groups=("team",))))
    registry.acting(Person(name="root", admin=True)).transfer(table, "others")
    assert bob.edit(table, {"description": "Ours."}).table.description == "Ours."
    with pytest.raises(Denied):
        registry.edit(table, {"description": "Not ours."})


@pytest.mark.row("M9")
def test_a_transfer_is_on_the_record(registry: Registry, table: str) -> None:
    registry.publish(table)
    registry.transfer(table, team="others", person="bob@lab.org")
    registry.acting(BOB).edit(table, {"owner": "team", "tags": ("given back",)})
    transfers = [event for event in registry.history(table) if event.kind == "transferred"]
    assert [(event.by, event.details["from"], event.details["to"]) for event in transfers] == [
        ("ann", {"team": "team", "person": None}, {"team": "others", "person": "bob@lab.org"}),
        ("bob", {"team": "others", "person": "bob@lab.org"}, {"team": "team", "person": None}),
    ]
    assert registry.describe(table).table.owner.team == "team"  # type: ignore[union-attr]
    assert registry.describe(table).table.tags == ("given back",)
    assert registry.describe(table, as_of=transfers[0].at).table.owner.person == "bob@lab.org"  # type: ignore[union-attr]
    with pytest.raises(Invalid, match="owner"):
        registry.transfer(table)


@pytest.mark.row("M9")
def test_a_table_without_an_owner_belongs_to_who_registered_it(registry: Registry, tmp_path: Path) -> None:
    register(registry, write(tmp_path / "t", 1), "t", owner=None, publish=False)
    with pytest.raises(NotFound):
        registry.acting(BOB).edit("d/t@7", {"description": "Mine."})
    registry.acting(Person(name="ann")).edit("d/t@7", {"owner": "team"})
    assert kinds(registry, "d/t@7") == ["described", "registered", "described"]


def test_a_datastack_may_only_warn_or_only_record(registry: Registry, table: str, tmp_path: Path) -> None:
    registry.publish(table)
    for action, said in (("warn", "d/t belongs to the team team; bob changed it"), ("record", None)):
        registry.settings = Settings(home=tmp_path / "home", policies={"*": Policies(owners=action)})
        entry = registry.acting(BOB).edit(table, {"description": action})
        assert (entry.table.description, entry.warnings) == (action, (said,) if said else ())
    assert registry.history(table)[-1].by == "bob"


def test_who_acts_without_a_login_is_in_every_team_unless_said(
    catalogs: Callable[[str], Registry], tmp_path: Path
) -> None:
    register(catalogs("sqlite"), write(tmp_path / "t", 1), "t", owner="anybody@lab.org")
    opened = Registry(Settings(home=tmp_path / "b"))
    assert opened.person.groups == ("*",)
    register(opened, tmp_path / "t", "t")
    assert opened.edit("d/t@7", {"description": "Ours."}).table.description == "Ours."
    opened.close()
    poor = Registry(Settings(home=tmp_path / "b", person_teams=()))
    with pytest.raises(Denied):
        poor.edit("d/t@7", {"description": "Mine."})
    poor.close()


# ------------------------------------------------------------------------------------------------------------- edits


def test_an_edit_of_what_was_changed_since_is_refused_with_the_difference(registry: Registry, table: str) -> None:
    seen = registry.describe(table).table
    registry.edit(table, {"description": "Other.", "columns": {"id": Column("The row.")}})
    registry.edit(table, {"tags": ["new"]}, based_on=registry.describe(table).table.etag)
    newest = registry.newest_event()
    with pytest.raises(Conflict) as raised:
        registry.edit(table, {"license": "MIT-0"}, based_on=seen.etag)
    assert raised.value.expected.keys() == {"description", "columns", "tags"}
    assert raised.value.expected["description"] == {"was": "Synapses.", "is": "Other."}
    assert raised.value.expected["tags"] == {"was": ["synapse"], "is": ["new"]}
    with pytest.raises(Conflict) as raised:
        registry.edit(table, {"license": "MIT-0"}, based_on="never was")
    assert raised.value.expected["etag"]["is"] == registry.describe(table).table.etag
    registry.edit(table, {"tags": ["new"]})  # says nothing new
    assert registry.newest_event() == newest
    registry.edit(table, {"license": "MIT-0"})  # the last one wins
    back = dict(seen)
    registry.edit(table, {name: back[name] for name in ("description", "columns", "tags", "license")})
    assert registry.describe(table).table.etag == seen.etag


# -------------------------------------------------------------------------------------------------------- two at once


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call answered, or raised."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except RegistryError as wrong:
            return wrong

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


@pytest.mark.row("M17")
def test_of_many_who_publish_or_deprecate_at_once_one_does(registry: Registry, table: str) -> None:
    published = at_once(*[lambda: registry.publish(table)] * 4)
    assert {entry.version.status for entry in published} == {"published"}
    deprecated = at_once(*[lambda: registry.deprecate(table, "old")] * 4)
    assert {entry.version.status for entry in deprecated} == {"deprecated"}
    assert kinds(registry, "d/t@7") == ["described", "registered", "published", "deprecated"]


@pytest.mark.row("M17")
def test_publishing_and_unregistering_at_once_leave_one_story(registry: Registry, tmp_path: Path) -> None:
    for number in range(4):
        name = f"t{number}"
        register(registry, write(tmp_path / name, 1), name, publish=False)
        ref = f"d/{name}@7"
        answers = at_once(lambda ref=ref: registry.publish(ref), lambda ref=ref: registry.unregister(ref))  # type: ignore[misc]
        assert not isinstance(answers[1], RegistryError)
        published = not isinstance(answers[0], RegistryError)
        assert isinstance(answers[0], NotFound) or published
        story = ["described", "registered", *(["published"] if published else []), "unregistered"]
        assert kinds(registry, f"d/{name}") == story


def test_two_edits_based_on_the_same_state_are_one(registry: Registry, table: str) -> None:
    etag = registry.describe(table).table.etag
    answers = at_once(*(lambda tag=tag: registry.edit(table, {"tags": [tag]}, etag) for tag in "ab"))  # type: ignore[misc]
    assert sorted(type(each).__name__ for each in answers) == ["Conflict", "Entry"]


# -------------------------------------------------------------------------------------------------------- dependents


def test_all_that_depends_on_a_version_is_shown(registry: Registry, table: str, tmp_path: Path) -> None:
    registry.publish(table)
    register(registry, write(tmp_path / "b", 1), "b", derived_from=["d/t@7.0"], references={"id": "t.id"})
    register(registry, write(tmp_path / "c", 1), "c", derived_from=["d/b@7.0"], superseded_by="d/t")
    register(registry, tmp_path / "t", "alias", references={"id": "d/t.id", "size": "other.id"})
    far = Registration(
        **{"datastack": "e", "name": "far", "location": write(tmp_path / "far", 1), "references": {"id": "t.id"}} | SAID
    )
    registry.register(far)
    found = registry.dependents(table)
    assert found.model_dump() == {
        "table": "d/t@7.0",
        "derived": ("d/b@7.0", "d/c@7.0"),
        "references": ("d/alias.id", "d/b.id"),
        "aliases": ("d/alias@7",),
        "predecessors": ("d/c",),
    }
    assert len(found.said) == 4
    warnings = registry.deprecate(table).warnings
    assert warnings[0] == "d/t@7.0 is deprecated; derived from it: d/b@7.0, d/c@7.0"
    assert len(warnings) == 4
    with pytest.raises(Conflict, match="derived"):
        registry.unregister(table)
    assert registry.dependents("d/c").said == ()


def test_a_failed_blocking_check_keeps_a_draft_from_being_published(registry: Registry, table: str) -> None:
    id = registry.describe(table).version.id
    registry.record_checks(id, [CheckResult(name="key", outcome="failed", blocking=True)])
    with pytest.raises(Invalid) as raised:
        registry.publish(table)
    assert raised.value.expected == ["key"]
