from __future__ import annotations

from typing import Any

import pytest

from feature_registry import policy
from feature_registry.errors import Denied, Exhausted
from feature_registry.location import Location
from feature_registry.model import FeatureTable, Person


def test_a_budget_refuses_the_request_that_crosses_the_line_and_says_what_is_left() -> None:
    assert policy.budget_left(None, 5) is None
    assert policy.budget_left(10, 4) == 6
    assert policy.budget_left(10, 40) == 0
    policy.check_budget(6, 6)
    policy.check_budget(10**18, None)
    with pytest.raises(Exhausted) as raised:
        policy.check_budget(7, 6)
    assert (raised.value.value, raised.value.expected) == (7, "at most 6")


@pytest.mark.parametrize(
    ("place", "inside"),
    [("s3://b/a", True), ("s3://b/a/c", True), ("s3://b/ab", False), ("s3://b", False), ("gs://b/a", False)],
)
def test_a_caller_over_http_registers_below_the_prefixes_only(place: str, inside: bool) -> None:
    policy.check_place(Location(place), None)
    if inside:
        policy.check_place(Location(place), (Location("s3://b/a"),))
    else:
        with pytest.raises(Denied, match="outside"):
            policy.check_place(Location(place), (Location("s3://b/a"),))


def test_a_price_is_of_ten_to_the_nine_bytes() -> None:
    assert policy.price(2_000_000_000, 0.1) == pytest.approx(0.2)
    assert policy.price(5, None) is None


@pytest.mark.row("M9")
@pytest.mark.parametrize(
    ("owner", "person", "owns"),
    [
        ({"team": "lab"}, {"name": "bob", "groups": ("lab",)}, True),
        ({"team": "lab"}, {"name": "lab", "groups": ("others",)}, False),
        ({"team": "lab", "person": "bob"}, {"name": "bob"}, True),
        ({"person": "ann"}, {"name": "bob", "groups": ("ann",)}, False),
        ({"person": "ann"}, {"name": "local", "groups": ("*",)}, True),
        ({"team": "lab"}, {"name": "root", "admin": True}, True),
        (None, {"name": "ann"}, True),
        (None, {"name": "bob", "groups": ("lab",)}, False),
    ],
)
def test_whose_a_table_is(owner: dict[str, str] | None, person: dict[str, Any], owns: bool) -> None:
    table = FeatureTable.model_validate({"datastack": "d", "name": "t", "owner": owner})
    assert policy.owns(Person(**person), table, maker="ann") is owns
