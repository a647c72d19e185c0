"""Nouns made from what a caller typed: what does not fit is an `Invalid` that names the argument."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from feature_registry.errors import Invalid

N = TypeVar("N", bound=BaseModel)


def made(kind: type[N], fields: dict[str, Any]) -> N:
    try:
        return kind(**fields)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        expected = sorted(kind.model_fields) if first["type"] == "extra_forbidden" else None
        raise Invalid(first["msg"], field=field or None, value=first["input"], expected=expected) from None
