"""The reference is what the code says, and the code says something about all that has a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer

from docs import generate
from feature_registry import cli, errors, model
from feature_registry.api import create_app
from feature_registry.api.problems import STATUS
from feature_registry.defs.declaration import declare
from feature_registry.defs.feature_table import feature_table
from feature_registry.model import Metadata, Noun, Search
from feature_registry.settings import Settings

pages = cache(generate.pages)
UNSAID = "Successful Response"  # FastAPI's, where nobody said anything


@pytest.mark.parametrize("name", [f"{name}.md" for name in generate.PAGES])
def test_a_page_is_what_the_generator_gives(name: str) -> None:
    committed = generate.FOLDER / name
    assert committed.exists(), "run `make docs`"
    assert committed.read_text() == pages()[name], "run `make docs`"


def test_no_page_is_left_over() -> None:
    assert {page.name for page in generate.FOLDER.iterdir()} == set(pages())


def test_no_page_names_a_place_of_this_machine() -> None:
    places = (str(generate.FOLDER.parents[1]), "/home/", "/root/", "/tmp/", " object at 0x")
    assert [(name, place) for name, text in pages().items() for place in places if place in text] == []


def commands() -> Iterator[tuple[str, Any]]:
    group: Any = typer.main.get_command(cli.app)
    yield "feature-registry", group
    yield from group.commands.items()


def test_every_command_option_and_argument_has_a_help_text() -> None:
    mute = [name for name, command in commands() if not command.help]
    mute += [f"{name} {each.name}" for name, command in commands() for each in command.params if not each.help]
    assert mute == []


def routes() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in create_app(None).openapi()["paths"].items():  # type: ignore[arg-type]
        for method, route in methods.items():
            yield f"{method.upper()} {path}", route


def test_every_route_parameter_and_answer_has_a_description() -> None:
    mute = [name for name, route in routes() if not route.get("description")]
    for name, route in routes():
        mute += [f"{name} {each['name']}" for each in route.get("parameters", ()) if not each.get("description")]
        for status, answer in route["responses"].items():
            said = answer["description"] not in ("", UNSAID) or "content" in answer
            mute += [] if said else [f"{name} {status}"]
    assert mute == []


def test_every_error_says_what_it_means_and_has_a_status() -> None:
    assert [name for name, kind in errors.KINDS.items() if not kind.__dict__.get("__doc__")] == []
    assert set(errors.KINDS.values()) <= set(STATUS)
    described = dict(routes())["GET /v1/tables"]["responses"]
    assert {str(STATUS[kind]) for kind in errors.KINDS.values()} <= set(described)


@pytest.mark.parametrize("noun", [Settings, Metadata, Search], ids=lambda noun: noun.__name__)
def test_every_setting_and_every_field_that_one_gives_has_a_description(noun: Any) -> None:
    assert [name for name, field in noun.model_fields.items() if not field.description] == []


def test_every_noun_says_what_it_is() -> None:
    nouns = [each for each in vars(model).values() if isinstance(each, type) and issubclass(each, Noun)]
    assert [noun.__name__ for noun in nouns if not noun.__dict__.get("__doc__")] == []


@pytest.mark.parametrize("function", [feature_table, declare])
def test_every_argument_of_a_declaration_is_explained(function: Any) -> None:
    assert set(generate.explained(function)) == set(generate.arguments(function))


def test_every_figure_of_a_benchmark_is_listed() -> None:
    page = pages()["benchmarks.md"]
    for name, module in generate.benchmark_modules():
        assert f"## {name}\n" in page
        assert module.__doc__
    assert "`answer_ms` | 100 |" in page


def test_links_within_the_reference_lead_somewhere() -> None:
    made = pages()
    anchors = {
        f"{name}#{heading.lower()}" for name, text in made.items() for heading in re.findall(r"^## (\w+)$", text, re.M)
    }
    inside = [link for text in made.values() for link in re.findall(r"\]\(([\w-]+\.md(?:#\w+)?)\)", text)]
    assert inside
    assert [link for link in inside if link not in (anchors if "#" in link else made)] == []
