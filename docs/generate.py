"""Writes `docs/reference/` from the code, for `make docs`: every page is derived, nothing in it is typed by hand.

`pages()` answers the same text on every machine; a test compares it with what is committed.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo

import benchmarks
from feature_registry import cli, errors, exports, formats, model, storage
from feature_registry.api import create_app
from feature_registry.api.problems import STATUS
from feature_registry.defs.declaration import declare
from feature_registry.defs.feature_table import feature_table
from feature_registry.model import Metadata, Noun
from feature_registry.registry import validation
from feature_registry.settings import Settings

FOLDER = Path(__file__).parent / "reference"
HEAD = "<!-- Written by `make docs` from the code. -->\n\n"
PLAIN = {SecretStr: "str", type(None): "None", Any: "any", Path: "path"}


def pages() -> dict[str, str]:
    """File name -> Markdown."""
    return {f"{name}.md": HEAD + "\n\n".join(blocks()).rstrip() + "\n" for name, blocks in PAGES.items()}


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)


# -------------------------------------------------------------------------------------------------------- Markdown


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cell(each) for each in line)} |" for line in lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: Any) -> str:
    return f"`{text}`" if text != "" else ""


def prose(thing: Any) -> str:
    """The docstring, its paragraphs on one line each."""
    text = thing if isinstance(thing, str) else inspect.getdoc(thing) or ""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def first(thing: Any) -> str:
    return prose(thing).split("\n\n")[0]


def type_name(annotation: Any) -> str:
    """A type as one would say it; the constraints of `Annotated` are left out."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is typing.Annotated:
        return type_name(parts[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(type_name(each) for each in parts))
    if origin is Literal:
        return " or ".join(repr(each) for each in parts)
    if parts:
        inner = ["..." if each is Ellipsis else type_name(each) for each in parts]
        return f"{getattr(origin, '__name__', origin)}[{', '.join(inner)}]"
    return PLAIN.get(annotation) or str(getattr(annotation, "__name__", annotation))


def default_of(field: FieldInfo) -> str:
    return "needed" if field.is_required() else shown(field.default)


def shown(value: Any) -> str:
    if isinstance(value, Noun):
        said = ", ".join(f"{name}={each!r}" for name, each in value.model_dump(exclude_defaults=True).items())
        return code(f"{type(value).__name__}({said})")
    return code(repr(str(value)) if isinstance(value, Path) else repr(value))


def fields(noun: Any, names: Iterable[str] | None = None) -> str:
    chosen = {name: noun.model_fields[name] for name in names or noun.model_fields}
    rows = [
        (code(name), type_name(each.annotation), default_of(each), each.description or "")
        for name, each in chosen.items()
    ]
    return table(("field", "type", "default", "meaning"), rows)


# ----------------------------------------------------------------------------------------------------------- pages


def contents() -> Iterator[str]:
    yield "# Reference"
    yield "Everything that has a name, as the code says it."
    yield "\n".join(f"- [{first_heading(name)}]({name}.md)" for name in PAGES if name != "README")


def first_heading(name: str) -> str:
    return next(iter(PAGES[name]())).removeprefix("# ")


def settings() -> Iterator[str]:
    yield "# Settings"
    yield "Environment variables, read by `feature_registry/settings.py` alone. A list is written as JSON."
    rows = [
        (code(f"FEATURE_REGISTRY_{name.upper()}"), type_name(each.annotation), default_of(each), each.description or "")
        for name, each in Settings.model_fields.items()
    ]
    yield table(("variable", "type", "default", "meaning"), rows)


def checks() -> Iterator[str]:
    yield "# Checks of a registration"
    yield (
        "What is looked at when a table that lies somewhere already is registered, and what happens by default if it "
        "is not so: `enforce` refuses the table, with all that was found; `warn` registers it with a warning; `record` "
        "registers it with a note. `FEATURE_REGISTRY_POLICIES` says otherwise, by datastack or for all (`*`)."
    )
    rows = [(code(name), code(action), why) for name, (action, why) in validation.DEFAULTS.items()]
    yield table(("check", "default", "why"), rows)
    yield "Two more refuse whatever the policies say: `exists` and `format`. `coverage` only tells a number."


def commands() -> Iterator[str]:
    group: Any = typer.main.get_command(cli.app)
    yield "# The command line"
    yield prose(cli)
    yield f"## feature-registry\n\n{group.help}"
    yield parameters(group)
    for name, command in group.commands.items():
        yield f"## feature-registry {name}\n\n{prose(command.help or '')}"
        if command.params:
            yield parameters(command)


def parameters(command: Any) -> str:
    return table(("option or argument", "default", "meaning"), [_parameter(each) for each in command.params])


def _parameter(parameter: Any) -> tuple[str, str, str]:
    argument = parameter.param_type_name == "argument"
    spelled = parameter.name.upper() if argument else ", ".join([*parameter.opts, *parameter.secondary_opts])
    unsaid = parameter.default is None or parameter.default is False
    default = "needed" if parameter.required else "" if unsaid else shown(parameter.default)
    more = " Repeatable." if parameter.multiple else ""
    return code(spelled), default, (parameter.help or "") + more


def api() -> Iterator[str]:
    described = create_app(None).openapi()  # type: ignore[arg-type]  # a registry is asked for by requests only
    yield "# HTTP API"
    yield described["info"]["description"]
    yield (
        "A running server has the same as OpenAPI at `/openapi.json`, and to try out at `/docs`. Integers beyond 2^53 "
        "are strings in JSON. Every route may answer with [an error](errors.md). The nouns are those of "
        "[the model](model.md)."
    )
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            yield f"## {method.upper()} {path}\n\n{prose(route.get('description', ''))}"
            yield from _route(route)


def _route(route: dict[str, Any]) -> Iterator[str]:
    rows = [
        (code(each["name"]), each["in"], schema_name(each["schema"]), _default(each), each.get("description", ""))
        for each in route.get("parameters", ())
    ]
    if rows:
        yield table(("parameter", "in", "type", "default", "meaning"), rows)
    if "requestBody" in route:
        yield f"Body: {_content(route['requestBody'])}."
    common = {str(status) for status in STATUS.values()} - {"416"}
    answers = [
        (status, " ".join([each["description"].removeprefix("Successful Response"), _content(each)]).strip())
        for status, each in route["responses"].items()
        if status not in common
    ]
    yield table(("status", "answer"), answers)


def _default(parameter: dict[str, Any]) -> str:
    if parameter.get("required"):
        return "needed"
    return shown(parameter["schema"]["default"]) if "default" in parameter["schema"] else ""


def _content(part: dict[str, Any]) -> str:
    return ", ".join(schema_name(each["schema"]) for each in part.get("content", {}).values() if each.get("schema"))


def schema_name(schema: dict[str, Any]) -> str:
    """A JSON schema as one would say it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](model.md#{name.lower()})" if hasattr(model, name) else name
    if "anyOf" in schema:
        return " or ".join(schema_name(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return " or ".join(map(repr, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {schema_name(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type", "any"))


def problems() -> Iterator[str]:
    yield "# Errors"
    yield prose(errors)
    yield (
        "An error has a `kind`, a `message`, and where there are such the `field` at fault, the `value` that was given "
        "and what was `expected`. Over HTTP it is `application/problem+json` with the status below, and the client "
        "raises the same class. The command prints one line to standard error and ends with 1; a command that is typed "
        "wrong ends with 2."
    )
    rows = [(code(kind.__name__), code(name), str(STATUS[kind]), first(kind)) for name, kind in errors.KINDS.items()]
    yield table(("class", "kind", "HTTP status", "meaning"), rows)


def nouns() -> Iterator[str]:
    yield "# The nouns and their fields"
    yield prose(model)
    for name, noun in sorted(vars(model).items()):
        if isinstance(noun, type) and issubclass(noun, Noun) and noun is not Noun:
            yield f"## {name}\n\n{prose(noun.__doc__ or '')}".rstrip()
            yield fields(noun)


def decorator() -> Iterator[str]:
    yield "# @feature_table"
    yield prose(LISTED.sub("", inspect.getdoc(feature_table) or ""))
    yield "## What Dagster is told"
    yield _arguments(feature_table)
    yield "## How the table is written and checked"
    yield _arguments(declare)
    yield "## What is said of the table"
    yield fields(Metadata)


LISTED = re.compile(r"^(\w+): (.+)\n?", re.M)


def explained(function: Callable[..., Any]) -> dict[str, str]:
    """Argument -> its line in the docstring."""
    return dict(LISTED.findall(inspect.getdoc(function) or ""))


def arguments(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {name: each for name, each in inspect.signature(function).parameters.items() if each.kind not in variable}


def _arguments(function: Callable[..., Any]) -> str:
    said = explained(function)
    rows = [
        (code(name), "needed" if each.default is each.empty else shown(each.default), said.get(name, ""))
        for name, each in arguments(function).items()
        if function is feature_table or name not in arguments(feature_table)
    ]
    return table(("argument", "default", "meaning"), rows)


def extensions() -> Iterator[str]:
    yield "# Storages, formats and exports"
    yield "One module each; the file's name is the key. How to add one: [design.md](../design.md)."
    for room, names in ((storage, storage.schemes()), (formats, formats.names()), (exports, exports.names())):
        yield f"## {room.__name__.rpartition('.')[2].capitalize()}\n\n{prose(room)}"
        loaded = [(name, importlib.import_module(f"{room.__name__}.{name}")) for name in names]
        yield table(("name", "what"), [(code(name), prose(module).replace("\n\n", " ")) for name, module in loaded])


def figures() -> Iterator[str]:
    yield "# Benchmarks"
    yield (
        "`make bench NAME=...` prints a line `figure BENCHMARK KEY VALUE` a figure; names in braces stand for several. "
        "What was measured, and where, is in the [README](../../README.md#figures)."
    )
    for name, module in benchmark_modules():
        yield f"## {name}\n\n{prose(module)}"
        rows = [(code(key(call)), _limit(call, module)) for call in figure_calls(module)]
        yield table(("figure", "limit"), rows)


def benchmark_modules() -> list[tuple[str, types.ModuleType]]:
    """The modules that print figures; the others are their parts."""
    found = sorted(each.name for each in pkgutil.iter_modules(benchmarks.__path__))
    loaded = [(name, importlib.import_module(f"benchmarks.{name}")) for name in found]
    printing = [(name, module) for name, module in loaded if name != "figures" and figure_calls(module)]
    return [(name.replace("_", "-"), module) for name, module in printing]  # as `make bench NAME=` has them


def figure_calls(module: types.ModuleType) -> list[ast.Call]:
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "figure"]
    return sorted(calls, key=lambda call: call.lineno)


def key(call: ast.Call) -> str:
    said = call.args[1]
    if isinstance(said, ast.Constant):
        return str(said.value)
    return f"{{{said.id}}}" if isinstance(said, ast.Name) else ast.unparse(said).removeprefix("f").strip("'\"")


def limit(call: ast.Call, module: types.ModuleType) -> Any:
    """The number, or one by name of a figure that stands for several; None: no limit."""
    given = call.args[3] if len(call.args) > 3 else next((each.value for each in call.keywords), None)
    if isinstance(given, ast.Constant):
        return given.value
    names = [node.id for node in ast.walk(given) if isinstance(node, ast.Name)] if given else []
    return next((getattr(module, name) for name in names if hasattr(module, name)), None)


def _limit(call: ast.Call, module: types.ModuleType) -> str:
    found = limit(call, module)
    if isinstance(found, dict):
        return ", ".join(f"{name} {each}" for name, each in found.items())
    return "" if found is None else str(found)


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "README": contents,
    "settings": settings,
    "checks": checks,
    "command-line": commands,
    "http-api": api,
    "errors": problems,
    "model": nouns,
    "feature-table": decorator,
    "extensions": extensions,
    "benchmarks": figures,
}

if __name__ == "__main__":
    write()
