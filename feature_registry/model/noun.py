"""What all nouns share: immutability, and the types that several of them use."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

MAX_TEXT = 20_000


class Noun(BaseModel):
    """Base of all nouns: immutable, and unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


Instant = Annotated[AwareDatetime, AfterValidator(lambda at: at.astimezone(UTC))]
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,127}$")]
Nanometres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Resolution = Annotated[tuple[Nanometres, Nanometres, Nanometres], Field(description="nm of a voxel along x, y, z")]
