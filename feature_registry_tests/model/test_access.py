from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from feature_registry.model import PlanRequest
from feature_registry.model.access import LONG_LIST

ROOT = 864691135000000000  # beyond 2^53
MANY = LONG_LIST + 1


def sent(value: Any) -> Any:
    request = PlanRequest(table="minnie65/cells@3", where=[("id", "in", value)])
    return json.loads(request.model_dump_json())["where"][0][0][2]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, ROOT, -ROOT], [1, str(ROOT), str(-ROOT)]),
        (tuple(range(ROOT, ROOT + MANY)), [str(ROOT + number) for number in range(MANY)]),
        ([str(ROOT)] * MANY, [str(ROOT)] * MANY),
        ([True] * MANY, [True] * MANY),
        ([1, True, ROOT] * MANY, [1, True, str(ROOT)] * MANY),
        ([0.5] * MANY, [0.5] * MANY),
        ([datetime(2024, 5, 1, tzinfo=UTC)] * MANY, ["2024-05-01T00:00:00+00:00"] * MANY),
    ],
    ids=["few", "ids", "texts", "booleans", "mixed", "floats", "instants"],
)
def test_no_id_is_sent_as_a_number_that_javascript_rounds(value: Any, expected: Any) -> None:
    assert sent(value) == expected


def test_a_long_predicate_is_not_repeated() -> None:
    def repeated(*lists: list[int]) -> Any:
        return PlanRequest(table="a/b@3", where=[[("id", "in", each)] for each in lists]).repeated

    assert repeated([1] * LONG_LIST) == ((("id", "in", [1] * LONG_LIST),),)
    assert repeated([1] * LONG_LIST, [2]) == ()
    assert PlanRequest(table="a/b@3", where=[("id", "==", 5)]).repeated == ((("id", "==", 5),),)
