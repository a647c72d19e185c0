"""Texts that every database keeps: PostgreSQL has no NUL, and no encoding has half a surrogate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from feature_registry.errors import Invalid

_UNKEPT = re.compile(r"[\0\ud800-\udfff]")


def check(value: Any, field: str = "") -> None:
    """Raises `Invalid` for a text in JSON-ready data that could not be kept or compared, and names its place."""
    for path, text in _texts(value, field):
        if _UNKEPT.search(text):
            raise Invalid("holds a NUL or half a surrogate", field=path or None, value=ascii(text), expected="text")


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield path, str(name)
            yield from _texts(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each, path)
