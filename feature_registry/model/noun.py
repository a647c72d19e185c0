"""What all nouns share: immutability, and the types that several of them use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from feature_registry.errors import Invalid

MAX_TEXT = 20_000


class Noun(BaseModel):
    """Base of all nouns: immutable, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def checked(cls, fields: Mapping[str, Any]) -> Self:
        """The noun made of what a caller typed; what does not fit is an `Invalid` that names the field."""
        try:
            return cls(**fields)
        except ValidationError as wrong:
            first = wrong.errors(include_url=False)[0]
            expected = sorted(cls.model_fields) if first["type"] == "extra_forbidden" else None
            field = ".".join(map(str, first["loc"])) or None
            raise Invalid(first["msg"], field=field, value=first["input"], expected=expected) from None


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
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,127}$")]
MatVersion = Annotated[int, Field(ge=0, le=999_999_999)]  # what a reference can spell
Days = Annotated[int, Field(gt=0, le=1_000_000)]
Nanometres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Resolution = Annotated[tuple[Nanometres, Nanometres, Nanometres], Field(description="nm of a voxel along x, y, z")]
