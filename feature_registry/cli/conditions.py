"""`--where` as it is typed: COLUMN OP VALUE[,VALUE]."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from typing import Any

from feature_registry.errors import Invalid

_CONDITION = re.compile(r"\s*([^\s<>=!]+)\s*(==|!=|<=|>=|=|<|>|\bnot\s+in\b|\bin\b)\s*(.*?)\s*", re.DOTALL)


def parsed(texts: Sequence[str]) -> list[tuple[str, str, Any]]:
    """The conditions, all of which must hold. Values stay as typed; their columns say what they are.

    A value with a comma goes in double quotes: `cell_type in "a,b",c`.
    """
    return [_condition(text) for text in texts]


def _condition(text: str) -> tuple[str, str, Any]:
    found = _CONDITION.fullmatch(text)
    if found is None or not found[3]:
        raise Invalid("is no condition", field="where", value=text, expected="COLUMN OP VALUE, such as 'size > 100'")
    column, operator, value = found[1], " ".join(found[2].split()), found[3]
    if operator not in ("in", "not in"):
        return column, operator, _unquoted(value)
    try:
        [values] = csv.reader([value], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        raise Invalid("holds no list", field="where", value=text, expected="COLUMN in VALUE,VALUE") from None
    return column, operator, [_unquoted(each.strip()) for each in values]


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
