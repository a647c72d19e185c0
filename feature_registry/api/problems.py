"""Errors as problems (RFC 9457): one table from the kind of an error to its status."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from feature_registry.errors import (
    Conflict,
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    RegistryError,
    Unavailable,
)
from feature_registry.model import LARGEST_JSON_INTEGER
from feature_registry.model.noun import fault
from feature_registry.registry.links import RangeNotSatisfiable

STATUS: dict[type[RegistryError], int] = {
    RangeNotSatisfiable: 416,
    NotFound: 404,
    Conflict: 409,
    Invalid: 422,
    Denied: 403,
    Exhausted: 429,
    Unavailable: 503,
}


class Fault(BaseModel):
    """One thing that is wrong: the field, the value and what would be right, where there are such."""

    kind: str
    message: str
    field: str | None = None
    value: Any = None
    expected: Any = None


class Problem(Fault):
    """An error; it speaks of the first fault, and lists all where there are several."""

    status: int
    faults: list[Fault] | None = None


MEDIA_TYPE = "application/problem+json"
RESPONSES: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body cannot be parsed."},
    **{status: {"model": Problem, "description": kind.__doc__} for kind, status in STATUS.items() if status != 416},
}


def documented(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the problems' own media type: FastAPI knows one a route."""
    for operations in document["paths"].values():
        for operation in operations.values():
            for status in map(str, RESPONSES):
                content = operation["responses"][status].get("content", {})
                if "application/json" in content:
                    content[MEDIA_TYPE] = content.pop("application/json")
    return document


def install(app: FastAPI) -> None:
    app.add_exception_handler(RegistryError, _registry_error)
    app.add_exception_handler(RequestValidationError, _request_error)
    app.add_exception_handler(ValidationError, _request_error)
    app.add_exception_handler(HTTPException, _http_error)


def answer(error: RegistryError) -> JSONResponse:
    kinds = (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    return _response(next(kinds, 500), error.problem())


async def _registry_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RegistryError)
    return answer(error)


async def _request_error(_: Request, error: Exception) -> JSONResponse:
    """Pydantic's errors, all of them; the first one names the field."""
    assert isinstance(error, (RequestValidationError, ValidationError))
    found = [each | {"loc": _place(each["loc"])} for each in error.errors()]
    return answer(Invalid.of([fault(each) for each in found]))


def _place(loc: Sequence[Any]) -> list[Any]:
    """Within the body; of what is no JSON, the body itself."""
    return [part for part in loc if part != "body"] or ["body"]


async def _http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kinds = {status: kind.kind for kind, status in STATUS.items()}
    problem = {"kind": kinds.get(error.status_code, "error"), "message": str(error.detail)}
    return _response(error.status_code, problem, dict(error.headers or {}))


def _response(status: int, problem: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    content = problem | {"status": status}
    return JSONResponse(_jsonable(content), status, headers, media_type=MEDIA_TYPE)


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _jsonable(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_jsonable(each) for each in value]
    if isinstance(value, int) and abs(value) > LARGEST_JSON_INTEGER:
        return str(value)
    if value is None or isinstance(value, (int, bool)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value).encode(errors="backslashreplace").decode()  # half a surrogate is no UTF-8
