"""What all nouns share: immutability, and the types that several of them use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from feature_registry.errors import Invalid
from feature_registry.location import REFUSED, holds_credentials

MAX_TEXT = 20_000
LONGEST_SHOWN = 500  # characters of a wrong value


class Noun(BaseModel):
    """Base of all nouns: immutable, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def checked(cls, fields: Mapping[str, Any]) -> Self:
        """The noun made of what a caller typed; what does not fit is an `Invalid` that names every field."""
        try:
            return cls(**fields)
        except ValidationError as wrong:
            known = sorted(cls.model_fields)
            raise Invalid.of([fault(each, known) for each in wrong.errors(include_url=False)]) from None


def fault(found: Mapping[str, Any], known: list[str] | None = None) -> Invalid:
    """What pydantic says of one field, as an error; `known` are the fields that there are."""
    field = ".".join(str(part) for part in found["loc"]) or None
    if found["type"] == REFUSED:  # it says by itself what may be shown
        return Invalid(**found["ctx"] | {"field": field})
    expected = known if found["type"] == "extra_forbidden" and len(found["loc"]) == 1 else None
    value = None if found["type"] == "missing" else showable(found["input"])
    return Invalid(found["msg"].removeprefix("Value error, "), field=field, value=value, expected=expected)


def showable(value: Any) -> Any:
    """A value as an error may repeat it: short, and without credentials that a URI holds, whatever field it is in."""
    if isinstance(value, str):
        if holds_credentials(value):
            return "(not shown)"
        return value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}... ({len(value):,} characters)"
    return value if value is None or isinstance(value, (int, float, bool)) else None


def aware(field: str, at: datetime) -> datetime:
    """In UTC. Raises `Invalid` for a time that does not say its offset: it may be anybody's."""
    if at.tzinfo is None:
        expected = "an instant with its offset, such as 2024-05-01T00:00:00Z"
        raise Invalid("has no time zone", field=field, value=at.isoformat(), expected=expected)
    return at.astimezone(UTC)


def _spelled(at: Any) -> Any:
    """Pydantic takes numbers, too, and guesses whether they are seconds or milliseconds."""
    if isinstance(at, datetime) or (isinstance(at, str) and at[4:5] == "-"):
        return at
    raise ValueError("an instant is written as in 2024-05-01T12:00:00Z")


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC it lies outside of the years 1 to 9999") from None


Instant = Annotated[AwareDatetime, BeforeValidator(_spelled), AfterValidator(_utc)]
Moment = Annotated[datetime, BeforeValidator(_spelled)]  # `aware` says what is wrong with one without an offset
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,127}$")]
Reference = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,127}/[A-Za-z][A-Za-z0-9_]{0,127}"
        r"(@(latest|unversioned|[0-9]{1,9})(\.[0-9]{1,9})?)?$"
    ),
]
MatVersion = Annotated[int, Field(ge=0, le=999_999_999)]  # what a reference can spell
Days = Annotated[int, Field(gt=0, le=1_000_000)]
Nanometres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Resolution = Annotated[tuple[Nanometres, Nanometres, Nanometres], Field(description="nm of a voxel along x, y, z")]
