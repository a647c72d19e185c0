"""Whatever a noun, a reference or an error holds, it comes back from JSON as it was."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from feature_registry import errors, model
from feature_registry.errors import KINDS, from_problem
from feature_registry.location import Location
from feature_registry.model import LARGEST_JSON_INTEGER, Condition, Noun, Where
from feature_registry.model.noun import Instant

NOUNS = [
    noun for noun in vars(model).values() if isinstance(noun, type) and issubclass(noun, BaseModel) and noun is not Noun
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,10}", fullmatch=True)
IDS = st.one_of(st.integers(0, 3), st.sampled_from([2**53, 2**53 + 1, 2**60, 2**63 - 1, 2**64 - 1]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), IDS, TEXT), lambda each: st.lists(each, max_size=2), max_leaves=3
)
VALUES = st.one_of(IDS, TEXT, st.booleans(), st.floats(allow_nan=False), st.lists(st.one_of(IDS, TEXT), max_size=3))
CONDITIONS = st.tuples(TEXT, st.sampled_from(["==", "!=", "<", ">=", "in", "not in"]), VALUES)
LOCATIONS = st.builds(
    lambda root, parts: Location(root).joined("/".join(parts)) if parts else Location(root),
    st.sampled_from(["s3://bucket", "gs://bucket/a b", "file:///a%20b"]),
    st.lists(st.text("ab %é=+", min_size=1, max_size=4), max_size=2),
)

st.register_type_strategy(Location, LOCATIONS)


@cache  # nouns hold nouns, many times over
def strategy(noun: Any) -> st.SearchStrategy[Any]:
    """A noun made of what its fields' annotations allow; the few that a type does not say are spelled out here."""
    return st.builds(
        noun, **{name: of(info.annotation, info.metadata, name) for name, info in noun.model_fields.items()}
    )


SPELLED: dict[str, st.SearchStrategy[Any]] = {
    "where": st.lists(st.lists(CONDITIONS, min_size=1, max_size=2).map(tuple), max_size=2).map(tuple),
    "details": st.dictionaries(TEXT, JSON, max_size=2),
    "references": st.dictionaries(TEXT, st.just("table.column"), max_size=1),
    "time_range": st.none(),
    "start": st.just(datetime(2024, 1, 1, tzinfo=UTC)),
    "team": st.just("lab"),
    "end": st.datetimes(datetime(2024, 1, 2), timezones=st.just(UTC)),
    "hours": st.floats(0.1, 100),
}


def of(kind: Any, metadata: Any, name: str) -> st.SearchStrategy[Any]:
    # What is searched for is a text of the same name, and not all references are a mapping.
    mapped = name != "references" or get_origin(kind) is dict
    if name in SPELLED and mapped and (kind != (str | None) or name == "team"):
        return SPELLED[name]
    for each in metadata:
        kind = Annotated[kind, each]
    return _built(TypeAdapter(kind).core_schema, {})


def _built(schema: Any, known: dict[str, Any]) -> st.SearchStrategy[Any]:
    known = known | {each["ref"]: each for each in schema.get("definitions", ())}
    kind = schema["type"]
    if kind == "definitions":
        return _built(schema["schema"], known)
    if kind == "definition-ref":
        return _built(known[schema["schema_ref"]], known)
    if kind == "model":
        return strategy(schema["cls"])
    if kind in ("nullable", "default"):
        inner = _built(schema["schema"], known)
        return st.none() | inner if kind == "nullable" else inner
    if kind == "union":
        return st.one_of([_built(each if isinstance(each, dict) else each[0], known) for each in schema["choices"]])
    if kind == "tagged-union":
        return st.one_of([_built(each, known) for each in schema["choices"].values()])
    if kind == "tuple":
        if "variadic_item_index" in schema:
            return st.lists(_built(schema["items_schema"][0], known), max_size=2).map(tuple)
        return st.tuples(*(_built(each, known) for each in schema["items_schema"]))
    if kind == "dict":
        return st.dictionaries(_built(schema["keys_schema"], known), _built(schema["values_schema"], known), max_size=2)
    if kind == "literal":
        return st.sampled_from(schema["expected"])
    if kind in ("function-after", "function-before", "function-wrap"):
        return _built(schema["schema"], known)
    return _leaf(schema)


def _leaf(schema: Any) -> st.SearchStrategy[Any]:
    kind = schema["type"]
    if kind == "str":
        if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        return TEXT.filter(lambda text: len(text) >= schema.get("min_length", 0))
    if kind == "int":
        low = max(schema.get("ge", 0), schema.get("gt", -1) + 1)
        high = min(schema.get("le", 2**63 - 1), schema.get("lt", 2**63) - 1)
        return st.integers(low, high) | st.sampled_from([low, high])
    if kind == "float":
        return st.floats(0.001, 1e9)
    if kind == "bool":
        return st.booleans()
    if kind == "datetime":
        return st.datetimes(timezones=st.just(UTC))
    if kind == "any":
        return JSON
    assert kind == "function-plain", schema  # a location
    return LOCATIONS


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_noun_comes_back(noun: type[Noun], data: st.DataObject) -> None:
    made = data.draw(strategy(noun))
    text = made.model_dump_json()
    again = noun.model_validate_json(text)
    assert again.model_dump_json() == text
    assert noun.model_validate(json.loads(text)) == again
    if not {"where", "details"} & set(re.findall(r'"(\w+)":', text)):  # JSON has no tuples, and large ids are texts
        assert again == made
    with pytest.raises(Exception, match=r"extra|Extra"):
        noun.model_validate(json.loads(text) | {"no_such_field": 1})


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(CONDITIONS, max_size=3))
def test_a_predicate_comes_back_and_its_ids_are_exact(conditions: list[Condition]) -> None:
    adapter = TypeAdapter(Where)
    where = adapter.validate_python([conditions])
    text = adapter.dump_json(where).decode()
    numbers = [number for number in _numbers(json.loads(text)) if isinstance(number, int)]
    assert all(abs(number) <= LARGEST_JSON_INTEGER for number in numbers)
    again = adapter.validate_json(text)
    assert adapter.dump_json(again).decode() == text
    for (column, operator, value), (kept, same, found) in zip(where[0], again[0], strict=True):
        assert (column, operator) == (kept, same)
        assert _spelled(found) == _spelled(value)


def _numbers(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [number for each in value for number in _numbers(each)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def _spelled(value: Any) -> Any:
    """Integers beyond what JavaScript counts are the same as their digits."""
    if isinstance(value, (list, tuple)):
        return [_spelled(each) for each in value]
    if isinstance(value, float):
        return None if math.isinf(value) else value
    return str(value) if isinstance(value, int) and abs(value) > LARGEST_JSON_INTEGER else value


@settings(max_examples=100, deadline=None, derandomize=True)
@given(kind=st.sampled_from(sorted(KINDS)), message=TEXT, field=st.none() | NAMES, value=JSON, expected=JSON)
def test_an_error_comes_back(kind: str, message: str, field: str | None, value: Any, expected: Any) -> None:
    made = KINDS[kind](message, field=field, value=value, expected=expected)
    assert from_problem(json.loads(json.dumps(made.problem()))) == made
    assert type(from_problem(made.problem())) is type(made)
    assert isinstance(str(made), str)


def test_an_error_of_an_unknown_kind_is_still_one() -> None:
    assert type(from_problem({"kind": "new", "message": "x"})) is errors.RegistryError
    assert type(from_problem({})) is errors.RegistryError


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    datastack=NAMES,
    name=NAMES,
    mat_version=st.sampled_from(["latest", "unversioned"]) | st.integers(0, 999_999_999),
    revision=st.none() | st.integers(0, 999_999_999),
)
def test_a_reference_comes_back(datastack: str, name: str, mat_version: Any, revision: int | None) -> None:
    ref = model.TableRef(datastack=datastack, name=name, mat_version=mat_version, revision=revision)
    assert model.TableRef.parse(str(ref)) == ref


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=20) | st.from_regex(r"[a-z]{1,3}/[a-z]{1,3}@[0-9a-z.]{0,12}", fullmatch=True))
def test_what_is_no_reference_is_refused_and_what_is_one_spells_itself(text: str) -> None:
    try:
        ref = model.TableRef.parse(text)
    except errors.Invalid as wrong:
        assert (wrong.field, wrong.value) == ("table", text)
        return
    assert model.TableRef.parse(str(ref)) == ref


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.datetimes(timezones=st.timezones()))
def test_an_instant_is_the_same_instant_in_utc(at: datetime) -> None:
    adapter = TypeAdapter(Instant)
    try:
        expected = at.astimezone(UTC)
    except OverflowError:
        return
    found = adapter.validate_json(adapter.dump_json(adapter.validate_python(at)))
    assert (found, found.tzinfo) == (expected, UTC)


@pytest.mark.parametrize("at", [0, 1.5, "0", "1714564800", "2024-05-01T12:00:00", "2024-05-01", "tomorrow", "", None])
def test_what_is_no_instant(at: Any) -> None:
    with pytest.raises(ValueError, match=r"instant|timezone|datetime"):
        TypeAdapter(Instant).validate_python(at)


def test_an_instant_beyond_the_calendar_is_refused() -> None:
    for text in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"):
        with pytest.raises(ValueError, match="lies outside"):
            TypeAdapter(Instant).validate_python(text)
