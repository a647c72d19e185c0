"""The rooms of the package and the arrows between them: walks all imports, those inside of functions too.

What only type checkers see (`if TYPE_CHECKING:`) is no arrow.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import feature_registry

ROOT = Path(feature_registry.__file__).parent
LONGEST_MODULE = 400

GROUND = {"model", "errors", "location", "settings"}
ADAPTERS = {"catalog", "cave", "storage", "formats"}
PURE = {"policy", "pruning", "lineage"}
CORE = PURE | {"exports"} | ADAPTERS

# room -> the rooms that it may import, beside itself
ARROWS = {
    "errors": set(),
    "location": {"errors"},
    "settings": {"errors", "location", "model"},
    "model": {"errors", "location"},
    **dict.fromkeys(ADAPTERS | PURE, GROUND),
    "exports": GROUND | ADAPTERS,
    "registry": GROUND | CORE,
    "client": GROUND | {"registry"},
    "api": GROUND | {"registry", "policy", "exports", "formats", "storage"},
    "defs": GROUND | {"registry", "policy", "pruning", "exports", "formats", "storage", "cave"},
    "definitions": GROUND | {"registry", "defs"},
    "cli": GROUND | {"registry", "client", "api", "storage", "formats", "exports", "defs", "demo"},
    "demo": GROUND | {"registry", "client", "api", "defs", "cli", "storage", "formats", "cave"},
    "__init__": {"errors"},
    "__main__": {"cli"},
}
ONLY_INSIDE_FUNCTIONS = {
    ("__init__", "errors"),
    ("client", "registry"),
    ("cli", "registry"),
    ("cli", "api"),
    ("cli", "defs"),
    ("cli", "demo"),
}
ROOMS_OF: dict[str | None, set[str]] = {
    None: GROUND | {"client", "cli", "__init__", "__main__"},
    "server": CORE | {"registry", "api"},
    "pipeline": {"defs", "definitions"},
    "demo": {"demo"},
}
OF_CAVES_EXTRA = {f"feature_registry.cave.{name}" for name in ("database", "selection", "session")}  # by `needed`
LIBRARIES = {
    "dagster": {"defs", "definitions", "demo"},
    "sqlalchemy": {"catalog"},
    "alembic": {"catalog"},
    "fastapi": {"api"},
}


@dataclass(frozen=True)
class Import:
    """`module` imports `target`; `deferred` when only a function does."""

    module: str
    target: str
    line: int
    deferred: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def room(module: str) -> str:
    return ([*module.split("."), "__init__"])[1]


def statements(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, deferred
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for alternative in child.orelse:
                yield from statements(alternative, deferred)
        else:
            yield from statements(child, deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def targets(statement: ast.Import | ast.ImportFrom, module: str, path: Path) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
        return
    source = statement.module or ""
    if statement.level:
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        source = ".".join(package[: len(package) - statement.level + 1] + ([source] if source else []))
    for alias in statement.names:  # `from package import module` means the module
        if source == ROOT.name and alias.name in feature_registry._PUBLIC:
            yield feature_registry._PUBLIC[alias.name][0]
        else:
            yield f"{source}.{alias.name}" if f"{source}.{alias.name}" in MODULES else source


def imports() -> Iterator[Import]:
    for module, path in MODULES.items():
        for statement, deferred in statements(ast.parse(path.read_text())):
            for target in targets(statement, module, path):
                yield Import(module, target, statement.lineno, deferred)


def listed(arrows: Iterable[Import]) -> str:
    return "\n".join(map(str, arrows))


IMPORTS = sorted(set(imports()), key=str)
OWN = [arrow for arrow in IMPORTS if arrow.target.split(".")[0] == "feature_registry"]


def test_every_room_is_on_the_plan() -> None:
    assert {room(module) for module in MODULES} <= set(ARROWS)


def test_arrows_point_down() -> None:
    crossing = [arrow for arrow in OWN if room(arrow.module) != room(arrow.target) and arrow.target != ROOT.name]
    assert crossing
    assert listed(arrow for arrow in crossing if room(arrow.target) not in ARROWS[room(arrow.module)]) == ""


def test_heavy_rooms_are_loaded_when_needed() -> None:
    edges = [(arrow, (room(arrow.module), room(arrow.target))) for arrow in OWN]
    assert listed(arrow for arrow, edge in edges if edge in ONLY_INSIDE_FUNCTIONS and not arrow.deferred) == ""


def test_modules_form_no_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for arrow in OWN:
        if arrow.target != arrow.module:
            graph[arrow.module].add(arrow.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        pytest.fail(" <- ".join(circle.args[1]))


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_stays_in_its_room(library: str) -> None:
    users = [arrow for arrow in IMPORTS if arrow.target.split(".")[0].split("_")[0] == library]
    assert listed(arrow for arrow in users if room(arrow.module) not in LIBRARIES[library]) == ""


def installed(extra: str | None) -> set[str]:
    """The packages that an extra of pyproject.toml names, under the names by which they are imported."""
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
    found = {ROOT.name, "rich", "pydantic_core"}  # the last two of typer and pydantic
    wanted = [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else [])]
    for requirement in wanted:
        name, extras = re.match(r"([\w-]+)(?:\[([\w,]+)\])?", requirement).groups()
        if name == "feature-registry":
            found.update(*(installed(each) for each in extras.split(",")))
        found.add(name.replace("-", "_"))
    return found


def brings(extra: str | None, module: str) -> bool:
    if module in OF_CAVES_EXTRA:
        return extra == "cave"
    return room(module) in ROOMS_OF.get(extra, set())


@pytest.mark.parametrize("extra", [None, "server", "pipeline", "cave", "demo"])
def test_an_extra_brings_what_its_rooms_import(extra: str | None) -> None:
    """The client's extras (duckdb, pandas) are imported by the functions that use them."""
    missing = [
        arrow
        for arrow in IMPORTS
        if brings(extra, arrow.module)
        and not (arrow.deferred and room(arrow.module) in ROOMS_OF[None])
        and arrow.target.split(".")[0] not in installed(extra) | sys.stdlib_module_names
    ]
    assert listed(missing) == ""


def test_every_room_belongs_to_an_extra() -> None:
    assert set().union(*ROOMS_OF.values()) == set(ARROWS)


def test_modules_fit_on_their_page() -> None:
    lengths = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    assert {module: lines for module, lines in lengths.items() if lines > LONGEST_MODULE} == {}
