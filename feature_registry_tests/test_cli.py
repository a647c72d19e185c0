from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner, Result

from feature_registry.cli import app
from feature_registry.cli.conditions import parsed
from feature_registry.errors import Invalid
from feature_registry.location import Location
from feature_registry_tests.deployment import Deployment, deployed
from feature_registry_tests.registry import arranged

ROOT = 864691135000000000  # beyond 2^53
CELLS = pl.DataFrame({"id": [ROOT, ROOT + 1, ROOT + 2], "kind": ["a,b", "c", "d"], "size": [1, 2, 3]})
REF = "minnie65/cells@3"
COMMANDS = ("demo", "up", "register", "search", "show", "plan", "read", "download", "export", "unregister", "relocate")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    root = tmp_path_factory.mktemp("cli")
    with deployed(root / "home", allowed_prefixes=(str(root),)) as deployment:
        CELLS.write_parquet(root / "cells.parquet")
        said = {"description": "Cells.", "owner": "lab", "license": "CC0-1.0", "tags": ["cell"]}
        (root / "said.json").write_text(json.dumps(said))
        result = run(
            deployment, "register", str(root / "cells.parquet"), "--name", "cells", "--datastack", "minnie65",
            "--mat-version", "3", "--key", "id", "--metadata", str(root / "said.json"), "--publish",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        assert "minnie65/cells@3.0 registered, published" in result.stdout
        assert re.search(r"passed.*schema", result.stdout)
        yield deployment


def run(deployment: Deployment | None, *arguments: str) -> Result:
    server = [] if deployment is None else ["--server", deployment.settings.api_address]
    return CliRunner().invoke(app, [*server, *arguments])


def answer(deployment: Deployment, *arguments: str) -> Any:
    result = run(deployment, *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = run(None, command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout


def test_all_commands_are_listed() -> None:
    listed = run(None, "--help").stdout
    assert all(command in listed for command in COMMANDS)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run(None, "--version").stdout)


def test_search(made: Deployment) -> None:
    assert "cells" in run(made, "search", "cells", "--tag", "cell", "--datastack", "minnie65").stdout
    assert [entry["table"]["name"] for entry in answer(made, "search", "--json")] == ["cells"]
    assert answer(made, "search", "zebrafish", "--json") == []
    assert answer(made, "search", "--mat-version", "4", "--json") == []


def test_show(made: Deployment) -> None:
    shown = run(made, "show", REF).stdout
    assert "Cells." in shown
    assert "3 rows" in shown
    assert answer(made, "show", REF, "--json")["version"]["mat_version"] == 3


def test_plan(made: Deployment) -> None:
    result = run(made, "plan", REF, "--where", f"id in {ROOT},{ROOT + 1}", "--columns", "id,size")
    assert result.exit_code == 0, result.stderr
    assert "1 of 1 files" in result.stdout
    assert "/v1/links/" not in result.stdout
    plan = answer(made, "plan", REF, "--where", "size > 2", "--json")
    assert "/v1/links/" in plan["files"][0]["url"]
    assert answer(made, "plan", REF, "--dry-run", "--json")["grant"] is None
    assert answer(made, "plan", REF, "--where", f"id == {ROOT + 7}", "--json")["files"] == []


def test_read(made: Deployment, tmp_path: Path) -> None:
    assert str(ROOT + 1) in run(made, "read", REF, "--where", "kind == c").stdout
    for output in (tmp_path / "a.parquet", tmp_path / "a.csv", tmp_path / "a.arrow"):
        result = run(made, "read", REF, "--where", "size >= 2", "--columns", "id", "--output", str(output))
        assert result.exit_code == 0, result.stderr
    assert pl.read_parquet(tmp_path / "a.parquet")["id"].to_list() == [ROOT + 1, ROOT + 2]
    assert pl.read_csv(tmp_path / "a.csv")["id"].to_list() == [ROOT + 1, ROOT + 2]
    assert pl.read_ipc(tmp_path / "a.arrow")["id"].to_list() == [ROOT + 1, ROOT + 2]
    run(made, "read", REF, "--limit", "1", "--output", str(tmp_path / "b.parquet"))
    assert pl.read_parquet(tmp_path / "b.parquet").height == 1


def test_a_layout_is_asked_for(deployment: Deployment, tmp_path: Path) -> None:
    place = Location(tmp_path / "table")
    arranged.write(deployment.registry.store(place), place)
    deployment.registry.register(arranged.registration(place))
    ref, one = "minnie65_public/arranged@1507", ["--where", f"post_pt_root_id == {ROOT + 7}"]
    assert "layout by_post: " in run(deployment, "plan", ref, *one).stdout
    assert answer(deployment, "plan", ref, *one, "--layout", "by_pre", "--json")["layout"] == "by_pre"
    assert "layout: by_pre: sorted by pre_pt_root_id, id" in run(deployment, "show", ref).stdout
    run(deployment, "read", ref, *one, "--layout", "bucketed", "--output", str(tmp_path / "read.parquet"))
    expected = arranged.synapses().filter(pl.col("post_pt_root_id") == ROOT + 7)
    assert_frame_equal(pl.read_parquet(tmp_path / "read.parquet").sort("id"), expected.sort("id"))
    wrong = run(deployment, "read", ref, "--layout", "by_size")
    assert wrong.exit_code == 1
    assert "by_size" in wrong.stderr and "by_post" in wrong.stderr


def test_download(made: Deployment, tmp_path: Path) -> None:
    result = run(made, "download", REF, str(tmp_path / "here"))
    assert result.exit_code == 0, result.stderr
    assert "1 files" in result.stdout
    assert pl.read_parquet(tmp_path / "here" / "cells.parquet").equals(CELLS)


def test_export(made: Deployment, tmp_path: Path) -> None:
    assert "cells" in json.dumps(answer(made, "export", "catalog_json"))
    run(made, "export", "catalog_json", "--output", str(tmp_path / "catalog.json"))
    assert json.loads((tmp_path / "catalog.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "minnie65/nothing@3"], "nothing"),
        (["show", "cells"], "datastack/name"),
        (["plan", REF, "--where", "nowhere == 3"], "nowhere"),
        (["plan", REF, "--where", "size"], "COLUMN OP VALUE"),
        (["plan", REF, "--where", "id == abc"], "an integer"),
        (["plan", REF, "--columns", "nowhere"], "nowhere"),
        (["read", REF, "--output", "a.xlsx"], ".parquet"),
        (["register", "/nowhere", "--name", "x", "--datastack", "minnie65", "--mat-version", "3"], "location"),
        (["export", "no_such_export"], "no_such_export"),
        (["search", "--status", "lost"], "status"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_1(made: Deployment, arguments: list[str], said: str) -> None:
    result = run(made, *arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", result.stderr)
    assert said in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["show"],
        ["search", "--mat-version", "newest"],
        ["plan", REF, "--mode", "copies"],
        ["register", "/nowhere", "--name", "x"],
        ["register", "/nowhere", "--name", "x", "--datastack", "m", "--mat-version", "latest"],
        ["up", "--port", "123456"],
    ],
)
def test_a_command_that_is_typed_wrong_is_exit_code_2(made: Deployment, arguments: list[str]) -> None:
    assert run(made, *arguments).exit_code == 2


def test_a_server_that_is_not_there() -> None:
    result = CliRunner().invoke(app, ["--server", "http://127.0.0.1:9", "search"])
    assert result.exit_code == 1
    assert "feature-registry up" in result.stderr


def test_without_a_server_it_is_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path / "home"))
    CELLS.write_parquet(tmp_path / "cells.parquet")
    (tmp_path / "said.json").write_text(
        json.dumps(
            {"name": "cells", "datastack": "fly", "mat_version": None, "description": "x", "owner": "lab"}
            | {"license": "CC0-1.0"}
        )
    )
    said = str(tmp_path / "said.json")
    registered = run(None, "register", str(tmp_path / "cells.parquet"), "--metadata", said, "--publish")
    assert registered.exit_code == 0, registered.stderr
    assert str(ROOT) in run(None, "read", "fly/cells@unversioned").stdout


def test_a_preview_registers_nothing(made: Deployment, tmp_path: Path) -> None:
    path = str(made.settings.home.parent / "cells.parquet")
    arguments = ["register", path, "--name", "others", "--datastack", "minnie65", "--mat-version", "3", "--preview"]
    assert "would be registered" in run(made, *arguments).stdout
    assert run(made, "show", "minnie65/others@3").exit_code == 1


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("post_pt_root_id in 1,2", ("post_pt_root_id", "in", ["1", "2"])),
        ("post_pt_root_id  not   in 1, 2", ("post_pt_root_id", "not in", ["1", "2"])),
        ("size>=5", ("size", ">=", "5")),
        ("size = 5", ("size", "=", "5")),
        ("kind == 'a b'", ("kind", "==", "a b")),
        ("kind == in", ("kind", "==", "in")),
        ("kind != a==b", ("kind", "!=", "a==b")),
        ('kind in "a,b",c', ("kind", "in", ["a,b", "c"])),
        ("inside < 3", ("inside", "<", "3")),
    ],
)
def test_conditions(text: str, condition: tuple[str, str, Any]) -> None:
    assert parsed([text]) == [condition]


@pytest.mark.parametrize("text", ["", "size", "size >", "size in", "> 5", "size like 5"])
def test_what_is_no_condition(text: str) -> None:
    with pytest.raises(Invalid):
        parsed([text])


# -------------------------------------------------------------------------------------------------------------- up


def test_up_refuses_other_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path))
    result = run(None, "up", "--host", "0.0.0.0")
    assert result.exit_code == 1
    assert "--force" in result.stderr


def test_up_says_that_a_port_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATURE_REGISTRY_HOME", str(tmp_path))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = run(None, "up", "--port", str(other.getsockname()[1]), "--file-port", "0")
    assert result.exit_code == 1
    assert "--port" in result.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_up_serves_until_it_is_stopped(tmp_path: Path, stop: signal.Signals) -> None:
    CELLS.write_parquet(tmp_path / "cells.parquet")
    environment = os.environ | {
        "FEATURE_REGISTRY_HOME": str(tmp_path / "home"),
        "FEATURE_REGISTRY_ALLOWED_PREFIXES": json.dumps([str(tmp_path)]),
    }
    command = [sys.executable, "-m", "feature_registry", "up", "--port", "0", "--file-port", "0"]
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        address = child.stdout.readline().split()[1]
        assert httpx.get(f"{address}/health").status_code == 200
        where = [str(tmp_path / "cells.parquet"), "--name", "cells", "--datastack", "fly", "--mat-version", "3"]
        assert CliRunner().invoke(app, ["--server", address, "register", *where]).exit_code == 0
        assert str(ROOT) in CliRunner().invoke(app, ["--server", address, "read", "fly/cells@3.0"]).stdout
        child.send_signal(stop)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.communicate()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{address}/health")


needs_ps = pytest.mark.skipif(shutil.which("ps") is None, reason="needs the command ps")


@needs_ps
def test_what_is_on_a_leash_ends_with_its_starter(tmp_path: Path) -> None:
    """Also what it started itself, and also when the starter is killed, and cannot clean up."""
    child = "import subprocess, sys; subprocess.run([sys.executable, '-m', 'http.server', '0', '--bind', '127.0.0.1'])"
    (tmp_path / "family.py").write_text(child)
    starter = (
        "import subprocess, sys\n"
        "command = [sys.executable, '-m', 'feature_registry.cli.leash', 'family']\n"
        "leashed = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)\n"
        "print(leashed.pid, flush=True)\n"
        "leashed.wait()"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"}
    command = [sys.executable, "-c", starter]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        session = int(process.stdout.readline())
        assert wait_for(lambda: len(processes_of(session)) == 2)
        process.kill()
    assert wait_for(lambda: not processes_of(session))


@needs_ps
@pytest.mark.slow
def test_dagster_ends_when_up_is_killed(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"FEATURE_REGISTRY_HOME": str(tmp_path / "home"), "DAGSTER_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "feature_registry", "up", "--dagster", "--dagster-port", str(port)]
    command += ["--port", "0", "--file-port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        [session] = children_of(process.pid)
        assert wait_for(lambda: answers(f"http://127.0.0.1:{port}/server_info"))
        assert len(processes_of(session)) > 2
        process.kill()
    assert wait_for(lambda: not processes_of(session))
    assert not answers(f"http://127.0.0.1:{port}/server_info")


def answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def processes(column: str, value: int) -> list[int]:
    """The living processes whose `pgid` or `ppid` this is."""
    listed = subprocess.run(["ps", "-A", "-o", f"pid=,stat=,{column}="], check=True, capture_output=True, text=True)
    rows = (line.split() for line in listed.stdout.splitlines())
    return [int(pid) for pid, state, group in rows if int(group) == value and not state.startswith("Z")]


def processes_of(session: int) -> list[int]:
    return processes("pgid", session)


def children_of(parent: int) -> list[int]:
    return processes("ppid", parent)


# --------------------------------------------------------------------------------------------------- missing extras


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        (["demo"], "dagster", "demo"),
        (["demo"], "duckdb", "demo"),
        (["demo"], "sqlalchemy", "demo"),
        (["up"], "uvicorn", "server"),
        (["up"], "sqlalchemy", "server"),
        (["up"], "alembic", "server"),
        (["up", "--dagster"], "dagster", "pipeline"),
        (["up", "--dagster"], "dagster_webserver", "pipeline"),
        (["search"], "sqlalchemy", "server"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(tmp_path: Path, command: list[str], missing: str, extra: str) -> None:
    ports = ["--port", "0", "--file-port", "0"] if "up" in command else []
    code = f"import sys; sys.modules[{missing!r}] = None\nfrom feature_registry.cli import app; app({command + ports})"
    environment = os.environ | {"FEATURE_REGISTRY_HOME": str(tmp_path / "home")}
    answer = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment, timeout=60
    )
    assert answer.returncode == 1
    assert re.fullmatch(rf"error: [^\n]*{missing}[^\n]*pip install 'feature-registry\[{extra}\]'.*\n", answer.stderr)
    assert not (tmp_path / "home" / "tables").exists()


def test_what_nobody_foresaw_shows_no_locals() -> None:
    code = (
        "import feature_registry.cli.reading\n"
        "from feature_registry.cli import commands\n"
        "def broken(*_, **__):\n    secret = 'hush' * 3\n    raise ZeroDivisionError\n"
        "commands.FeatureRegistry = broken\n"
        "commands.app(['search'])"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr.startswith("Traceback")
    assert "ZeroDivisionError" in answer.stderr
    assert "hushhush" not in answer.stderr
