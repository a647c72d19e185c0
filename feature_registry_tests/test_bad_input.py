"""What is wrong is refused at every door, with its field, its value and what would be right, and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import deltalake
import httpx
import polars as pl
import pytest
from typer.testing import CliRunner

from feature_registry import errors
from feature_registry.api.problems import STATUS
from feature_registry.cli import app
from feature_registry.client import FeatureRegistry
from feature_registry.errors import Conflict, Denied, Invalid, NotFound, RegistryError
from feature_registry_tests.deployment import Deployment, deployed

ROWS = pl.DataFrame({"id": [1, 2, 2**60], "size": [5, 6, 7]})


def good(folder: Path) -> Path:
    folder.mkdir()
    ROWS.write_parquet(folder / "a.parquet")
    return folder


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def text(folder: Path) -> Path:
    folder.with_suffix(".txt").write_text("no table")
    return folder.with_suffix(".txt")


def truncated(folder: Path) -> Path:
    path = good(folder) / "a.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    return folder


def lying(folder: Path) -> Path:
    """Its footer says that it is longer than the file."""
    path = good(folder) / "a.parquet"
    path.write_bytes(path.read_bytes()[:-8] + (10**6).to_bytes(4, "little") + b"PAR1")
    return folder


def scrambled(folder: Path) -> Path:
    """Its footer is no Thrift."""
    path = good(folder) / "a.parquet"
    content = path.read_bytes()
    size = int.from_bytes(content[-8:-4], "little")
    path.write_bytes(content[: -8 - size] + b"\xff" * size + content[-8:])
    return folder


def delta(folder: Path) -> Path:
    for _ in range(4):
        deltalake.write_deltalake(folder, ROWS.to_arrow(), mode="append")
    return folder


def with_a_hole(folder: Path) -> Path:
    (delta(folder) / f"_delta_log/{2:020}.json").unlink()
    return folder


def with_a_corrupt_line(folder: Path) -> Path:
    log = delta(folder) / f"_delta_log/{2:020}.json"
    log.write_text(log.read_text() + '\n{"add": {"path"')
    return folder


def without_a_file(folder: Path) -> Path:
    next(delta(folder).glob("*.parquet")).unlink()
    return folder


def with_a_short_file(folder: Path) -> Path:
    path = next(delta(folder).glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    return folder


def unfinished(folder: Path) -> Path:
    (good(folder) / "_unfinished").touch()
    return folder


@dataclass(frozen=True)
class Wrong:
    """A registration: what is at the place, what is said, and how it is refused."""

    at: Callable[[Path], Any]
    kind: type[RegistryError]
    field: str
    said: dict[str, Any] = field(default_factory=dict)
    expected: str = ""
    """What the error says of what would be right."""


REVERSED = {"start": "2024-05-02T00:00:00Z", "end": "2024-05-01T00:00:00Z"}
WRONG = {
    "missing": Wrong(lambda folder: folder, NotFound, "location", expected="parquet"),
    "empty": Wrong(empty, NotFound, "location", expected="parquet"),
    "no table": Wrong(text, Invalid, "location", expected="parquet"),
    "another format": Wrong(good, Invalid, "format", {"format": "delta"}, "parquet"),
    "another format yet": Wrong(delta, Invalid, "format", {"format": "parquet"}, "delta"),
    "an unknown format": Wrong(good, Invalid, "format", {"format": "csv"}, "parquet"),
    "a scheme of no storage": Wrong(lambda _: "ftp://host/a", Invalid, "location", expected="file"),
    "no scheme of a place": Wrong(lambda _: "https://host/a.parquet", Invalid, "location", expected="file"),
    "climbing": Wrong(lambda folder: f"file://{folder}/../t", Invalid, "location", expected=".."),
    "climbing, encoded": Wrong(lambda folder: f"file://{folder}/%2e%2e/t", Invalid, "location", expected=".."),
    "a NUL": Wrong(lambda folder: f"file://{folder}%00", Invalid, "location", expected="NUL"),
    "half-written": Wrong(unfinished, Invalid, "location", expected="_unfinished"),
    "truncated Parquet": Wrong(truncated, Invalid, "file"),
    "a lying footer": Wrong(lying, Invalid, "file"),
    "a scrambled footer": Wrong(scrambled, Invalid, "file"),
    "a hole in the log": Wrong(with_a_hole, Invalid, "location"),
    "a corrupt line in the log": Wrong(with_a_corrupt_line, Invalid, "location"),
    "a file of the log is gone": Wrong(without_a_file, Invalid, "file", expected="log"),
    "a file of the log is shorter": Wrong(with_a_short_file, Invalid, "file", expected="log"),
    "a later snapshot": Wrong(delta, NotFound, "snapshot", {"snapshot": "9"}, "0 to 3"),
    "a snapshot of Parquet": Wrong(good, Invalid, "snapshot", {"snapshot": "1"}, "none"),
    "a naive time": Wrong(good, Invalid, "snapshot_time", {"snapshot_time": "2024-05-01T12:00:00"}),
    "a number as time": Wrong(good, Invalid, "snapshot_time", {"snapshot_time": 1714564800}),
    "reversed times": Wrong(good, Invalid, "time_range", {"time_range": REVERSED}),
    "no name": Wrong(good, Invalid, "name", {"name": "1 table"}),
    "a negative version": Wrong(good, Invalid, "mat_version", {"mat_version": -1}),
    "an enormous version": Wrong(good, Invalid, "mat_version", {"mat_version": 2**63}),
    "a parent that is none": Wrong(good, Invalid, "derived_from", {"derived_from": ["cells"]}, "datastack/name"),
    "its own parent": Wrong(good, Conflict, "derived_from", {"derived_from": ["d/t@3.0"]}),
    "an unknown field": Wrong(good, Invalid, "descripton", {"descripton": "x"}),
    "a type of no column": Wrong(good, Invalid, "logical_types", {"logical_types": {"gone": "uint64"}}),
    "an unknown type": Wrong(good, Invalid, "logical_types", {"logical_types": {"id": "complex"}}),
    "a NUL in a text": Wrong(good, Invalid, "description", {"description": "a\0b"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An installation that knows `d/known@3`."""
    root = tmp_path_factory.mktemp("bad")
    with deployed(root / "home", allowed_prefixes=(str(root),)) as deployment:
        said = {"description": "Known.", "owner": "lab", "license": "CC0-1.0", "publish": True, "mat_version": 3}
        deployment.client("d").register(good(root / "known"), "known", **said)
        yield deployment


@pytest.fixture
def place(made: Deployment, request: pytest.FixtureRequest) -> Path:
    """Not there yet; below an allowed prefix."""
    folder = made.settings.home.parent / f"{request.node.name.encode().hex()[-60:]}"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if "home" not in path.parts}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_wrong_registration_is_refused_at_every_door_and_changes_nothing(
    made: Deployment, place: Path, case: Wrong
) -> None:
    location, said = str(case.at(place)), {"mat_version": 3} | case.said
    name = said.pop("name", "t")
    before, there = made.registry.newest_event(), files(made.settings.home.parent)
    caught = []
    for client in (FeatureRegistry("d", server=made.registry), made.client("d")):
        for act in (client.register, client.preview):
            with pytest.raises(RegistryError) as raised:
                act(location, name, **said)
            caught.append(raised.value)
    first = caught[0]
    assert {type(error) for error in caught} == {case.kind}
    assert {error.field for error in caught} == {first.field}
    assert (first.field or "").split(".")[0] == case.field
    assert case.expected in f"{first.message} {first.expected}"

    answer = httpx.post(
        f"{made.settings.api_address}/v1/tables", json={"location": location, "datastack": "d", "name": name} | said
    )
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == problem["status"] == STATUS[case.kind]
    assert problem["field"].split(".")[0] == case.field

    (place.parent / "said.json").write_text(json.dumps(said))
    arguments = [
        "register",
        location,
        "--name",
        name,
        "--datastack",
        "d",
        "--metadata",
        str(place.parent / "said.json"),
    ]
    for server in (["--server", made.settings.api_address], []):
        os.environ["FEATURE_REGISTRY_HOME"] = str(made.settings.home)  # the fixture of all tests takes it away again
        result = CliRunner().invoke(app, [*server, *arguments])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith(f"error: {case.field}")
        assert result.stderr.count("\n") == 1
    (place.parent / "said.json").unlink()

    assert made.registry.newest_event() == before
    assert files(made.settings.home.parent) == there


SECRET = "wJalrXUtnFEMI/K7MDENG"
FAULTS = {
    "location": f"s3://AKIAIOSFODNN7:{SECRET}@bucket/t",
    "name": "../../etc/passwd",
    "mat_version": -1,
    "description": "x" * 10_000_000,
    "owner": {"team": "t" * 129},
    "tags": [""],
    "references": {"id": "nowhere"},
    "mutability": "often",
    "time_range": REVERSED,
    "descripton": f"https://host/t?X-Amz-Signature={SECRET}",
}


def test_ten_faults_are_named_at_once_at_every_door(
    made: Deployment, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    before = made.registry.newest_event()
    caught = []
    for client in (FeatureRegistry("d", server=made.registry), made.client("d")):
        for act in (client.register, client.preview, client.suggest):
            with pytest.raises(Invalid) as raised:
                act(**FAULTS)
            caught.append(raised.value)
    for error in caught:
        assert {str(each.field).split(".")[0] for each in error.faults} == FAULTS.keys()
        assert error == caught[0]
        assert len(error.faults) == len(FAULTS)
    assert next(each for each in caught[0].faults if each.field == "location").expected == "a URI without them"

    answer = httpx.post(f"{made.settings.api_address}/v1/tables", json=FAULTS | {"datastack": "d"})
    assert (answer.status_code, answer.json()["kind"]) == (422, "invalid")
    assert {each["field"].split(".")[0] for each in answer.json()["faults"]} == FAULTS.keys()
    assert len(answer.content) < 20_000
    assert errors.from_problem(answer.json()).faults[0].kind == "invalid"

    (tmp_path / "said.json").write_text(json.dumps({each: FAULTS[each] for each in FAULTS if each != "location"}))
    said = ["register", FAULTS["location"], "--datastack", "d", "--metadata", str(tmp_path / "said.json")]
    result = CliRunner().invoke(app, ["--server", made.settings.api_address, *said])
    assert (result.exit_code, result.stdout) == (1, "")
    assert {line.split()[1].split("=")[0].split(".")[0].rstrip(":") for line in result.stderr.splitlines()} == set(
        FAULTS
    )

    out, err = capfd.readouterr()
    for text in (*map(repr, caught), *map(str, caught), answer.text, result.stderr, caplog.text, out, err):
        assert SECRET not in text
    assert made.registry.newest_event() == before


@pytest.mark.parametrize(
    "spelled",
    [
        "s3://AKIA:{}@bucket/t",
        "s3://AKIA:{}/with/slashes@bucket/t",
        "https://user:{}@host/t.parquet",
        "https://bucket.s3.amazonaws.com/t.parquet?X-Amz-Credential=a&X-Amz-Signature={}",
        "gs://bucket/t?access_token={}",
        "file://user:{}@host/t",
    ],
)
def test_credentials_in_a_location_are_refused_and_never_repeated(made: Deployment, spelled: str) -> None:
    for client in (FeatureRegistry("d", server=made.registry), made.client("d")):
        with pytest.raises(Invalid) as raised:
            client.register(spelled.format(SECRET), "t", mat_version=3)
        assert (raised.value.field, raised.value.value) == ("location", "(not shown)")
        assert SECRET not in repr(raised.value.problem())


def test_markup_comes_back_as_the_same_text(made: Deployment, place: Path) -> None:
    """In every field of text; whoever shows it escapes it."""
    markup = '<script>alert("1")</script>&amp;<b>\N{RIGHT-TO-LEFT OVERRIDE}{{7*7}}${x}\'; DROP TABLE--'
    said: dict[str, Any] = {
        **dict.fromkeys(("description", "usage_constraints", "citation", "license", "corrects"), markup),
        "owner": {"team": markup, "person": markup},
        "tags": [markup],
        "retention": {"days": 3, "note": markup},
        "columns": {"id": {"description": markup, "unit": markup[:64]}},
        "producer": dict.fromkeys(("pipeline", "code_version", "model", "config", "run_id"), markup),
    }
    report = made.client("d").register(good(place), "markup", mat_version=3, **said)
    entry = made.client("d").table(str(report.ref)).entry
    whole = entry.table.model_dump(mode="json") | entry.version.model_dump(mode="json")
    for name, value in said.items():
        assert whole[name] == value or value.items() <= whole[name].items() or name == "columns"
    assert whole["columns"]["id"]["description"] == markup
    for word in ("script", "DROP TABLE"):
        assert "markup" in {found.table.name for found in made.client("d", mat_version=3).search(word, status="draft")}


def test_a_name_that_is_a_path_is_no_name(made: Deployment, place: Path) -> None:
    good(place)
    for name in ("../t", "/etc/passwd", "a/b", "..", "a.parquet", "C:\\t", "%2e%2e", ""):
        for client in (FeatureRegistry("d", server=made.registry), made.client("d")):
            with pytest.raises(Invalid) as raised:
                client.register(place, name, mat_version=3)
            assert raised.value.field == "name"


def test_outside_of_the_prefixes_is_refused_over_http_only(made: Deployment, tmp_path: Path) -> None:
    folder = good(tmp_path / "elsewhere")
    before = made.registry.newest_event()
    inside = made.settings.home.parent / "linked"
    inside.symlink_to(folder)
    for location in (folder, "/etc", f"{made.settings.home.parent}-next/t"):
        with pytest.raises(Denied) as raised:
            made.client("d", mat_version=3).register(location, "t")
        assert raised.value.field == "location"
        assert str(made.settings.home.parent) in str(raised.value.expected)
    assert made.registry.newest_event() == before
    assert FeatureRegistry("d", 3, server=made.registry).preview(folder, "t").created


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_denied(made: Deployment, place: Path) -> None:
    (good(place) / "a.parquet").chmod(0)
    with pytest.raises(Denied) as raised:
        made.client("d", mat_version=3).register(place, "t")
    assert raised.value.field in ("location", "file")


@pytest.mark.parametrize(
    ("ref", "field", "exists"),
    [
        ("e/known@3", "datastack", "d"),
        ("d/unknown@3", "table", "known"),
        ("d/known@4", "mat_version", "3"),
        ("d/known@3.7", "mat_version", "3"),
        ("known", "table", "datastack/name@mat_version"),
        ("d/known@3; --", "table", "datastack/name@mat_version"),
    ],
)
@pytest.mark.parametrize("act", ["show", "history", "lineage", "plan"])
def test_what_is_not_there_is_answered_with_what_is(
    made: Deployment, ref: str, field: str, exists: str, act: str
) -> None:
    from feature_registry.model import PlanRequest

    for service in (made.registry, made.client("d").service):
        acts: dict[str, Callable[[], Any]] = {
            "show": lambda service=service: service.describe(ref),
            "history": lambda service=service: service.history(ref),
            "lineage": lambda service=service: service.lineage(ref),
            "plan": lambda service=service: service.plan(PlanRequest(table=ref)),
        }
        with pytest.raises((NotFound, Invalid)) as raised:
            acts[act]()
        assert raised.value.field == field
        assert exists in str(raised.value.expected)


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ([("nowhere", "==", 1)], "where"),
        ([("id", "==", "many")], "where.id"),
        ([("id", "==", 0.5)], "where.id"),
        ([("id", "in", ["1", "x"])], "where.id"),
        ([("id", "in", 5)], "where.id"),
        ([("id", "==", None)], "where.id"),
        ([("id", "~", 5)], "where"),
    ],
)
def test_a_wrong_predicate_is_refused_and_grants_nothing(made: Deployment, where: Any, field: str) -> None:
    from feature_registry.model import PlanRequest

    table = made.client("d", mat_version=3)["known"]
    if where[0][2] != 0.5:  # the client knows that it is nothing's
        with pytest.raises(Invalid) as raised:
            table.plan(where)
        assert raised.value.field == field
    if where[0][1] != "~":  # no such request can be made
        with pytest.raises(Invalid) as raised:
            made.registry.plan(PlanRequest(table="d/known@3", where=where))
        assert raised.value.field == field
    body = {"table": "d/known@3", "where": where}
    answer = httpx.post(f"{made.settings.api_address}/v1/plans", json=body)
    assert (answer.status_code, answer.json()["field"].split(".")[0]) == (422, "where")


def test_a_million_ids_are_planned_and_read(made: Deployment) -> None:
    ids = list(range(2**60, 2**60 + 1_000_000))
    table = made.client("d", mat_version=3)["known"]
    plan = table.plan([("id", "in", ids)])
    assert (plan.cost.files, plan.scan().collect()["id"].to_list()) == (1, [2**60])
    assert table.plan([("id", "in", [each + 1 for each in ids])]).cost.files == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"superseded_by": "<script>"}, "superseded_by"),
        ({"superseded_by": "d/../known"}, "superseded_by"),
        ({"tags": [f"tag{number}" for number in range(1_001)]}, "tags"),
        ({"references": {f"c{number}": "t.id" for number in range(1_001)}}, "references"),
        ({"derived_from": [f"d/t{number}@1" for number in range(10_001)]}, "derived_from"),
        ({"producer": {"run_id": "x" * 20_001}}, "producer"),
        ({"key": [f"c{number}" for number in range(101)]}, "key"),
        ({"corrects": "x" * 20_001}, "corrects"),
    ],
)
def test_what_is_no_table_and_lists_without_an_end_are_refused(
    made: Deployment, place: Path, fields: dict[str, Any], field: str
) -> None:
    before, folder = made.registry.newest_event(), good(place)
    for server in (made.registry, made.settings.api_address):
        with pytest.raises(Invalid) as raised:
            FeatureRegistry("d", 3, server=server).register(folder, "t", **fields)
        assert raised.value.field == field
    assert made.registry.newest_event() == before


@pytest.mark.parametrize("path", ["tables", "facets"])
@pytest.mark.parametrize("asked", ["as_of=0", "&".join(f"any_tags=t{number}" for number in range(101))])
def test_a_search_for_too_much_or_at_a_number_is_refused(made: Deployment, path: str, asked: str) -> None:
    answer = httpx.get(f"{made.settings.api_address}/v1/{path}?{asked}")
    assert (answer.status_code, answer.json()["field"]) == (422, f"query.{asked.partition('=')[0]}")


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_without_an_end_is_refused(made: Deployment, announced: bool) -> None:
    from feature_registry.api.links import LARGEST_BODY

    pieces = LARGEST_BODY // 2**20 + 2
    headers = {"Content-Length": str(pieces * 2**20)} if announced else {}
    body = (b" " * 2**20 for _ in range(pieces))
    answer = httpx.post(f"{made.settings.api_address}/v1/tables", content=body, headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (413, 413)
