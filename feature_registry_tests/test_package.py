"""What is installed is whole: the wheel has every file, and runs the demo outside of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")


def ran(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """As a user's shell would run it: nothing of this environment but where to fetch packages."""
    mine = ("FEATURE_REGISTRY_", "DAGSTER_", "PYTHON", "VIRTUAL_ENV", "PYTEST", "COVERAGE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
    run = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)
    assert run.returncode == 0, f"{command}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
    return run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=ROOT)
    [made] = folder.glob("*.whl")
    return made


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "feature_registry").rglob("*") if path.is_file()}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {name for name in files if "__pycache__" not in name}
    assert "feature_registry/py.typed" in packed


def interpreter(python: str) -> str | None:
    """By its name on the path, from uv, or from pyenv, whose shims need not lead anywhere."""
    name = f"python{python}"
    uv = subprocess.run(
        [sys.executable, "-m", "uv", "python", "find", "--no-python-downloads", python],
        check=False,
        capture_output=True,
        text=True,
    )
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(name), uv.stdout.strip(), *map(str, sorted(pyenv.glob(f"versions/{python}.*/bin/{name}")))]
    works = "import sys; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"
    runs = (each for each in found if each and not subprocess.run([each, "-c", works, python], check=False).returncode)
    return next(runs, None)


@pytest.mark.slow
@pytest.mark.parametrize("python", PYTHONS)
def test_the_installed_wheel_runs_the_demo(python: str, wheel: Path, tmp_path: Path) -> None:
    """With the extra `demo` and its dependencies only, at the versions of the lock."""
    executable = interpreter(python)
    if executable is None:
        pytest.skip(f"Python {python} is not on this machine")
    uv = [sys.executable, "-m", "uv"]
    venv, folder = tmp_path / "venv", tmp_path / "empty"
    folder.mkdir()
    ran(*uv, "venv", "--quiet", "--python", executable, venv, folder=folder)
    install = ["pip", "install", "--quiet", "--python", venv / "bin" / "python"]
    lock = ROOT / "requirements.lock"
    ran(*uv, *install, f"feature-registry[demo] @ {wheel.as_uri()}", "--constraint", lock, folder=folder)

    said = ran(
        venv / "bin" / "python",
        "-c",
        "import feature_registry, sys; print(sys.version, feature_registry.__file__)",
        folder=folder,
    )
    assert said.stdout.startswith(python)
    assert str(venv) in said.stdout
    demo = ran(venv / "bin" / "feature-registry", "demo", folder=folder)
    assert "SHOULD BE" not in demo.stdout
    assert "Done in" in demo.stdout
    listed = ran(venv / "bin" / "feature-registry", "search", folder=folder)
    assert "soma_nucleus" in listed.stdout or "nucleus" in listed.stdout
    assert {each.name for each in folder.iterdir()} == {".feature_registry"}
