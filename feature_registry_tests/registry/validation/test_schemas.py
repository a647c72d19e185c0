from __future__ import annotations

import pytest

from feature_registry.registry.validation.schemas import arrow_type


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("float64", "double"),
        ("large_string", "string"),
        ("string_view", "str"),
        ("list<item: x>", "large_list<item: x>"),
    ],
)
def test_types_have_one_spelling(one: str, other: str) -> None:
    assert arrow_type(one) == arrow_type(other)
    assert arrow_type("int64") != arrow_type("uint64")
