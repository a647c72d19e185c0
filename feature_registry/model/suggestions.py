"""What is said about tables before they are registered, and after the rules became stricter."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from feature_registry.model.noun import Noun


class Suggestion(Noun):
    """One thing that may be said of a table, for a person to accept."""

    field: Literal["columns", "key", "references"] = Field(description="of `Metadata`")
    column: str | None = Field(None, description="None: of the table")
    value: Any = Field(description="what to say, as JSON")
    why: str
    sure: Literal["certain", "likely", "possible"]


class Suggestions(Noun):
    """What names, types and values of a table suggest."""

    metadata: dict[str, Any] = Field(
        description="all that is certain or likely, as a registration takes it; what is only possible is left out"
    )
    suggestions: tuple[Suggestion, ...]


class Violation(Noun):
    """Something about an entry that the present policies would not let pass."""

    table: str = Field(description="the exact reference")
    field: str = Field(description="the metadata that is missing, or the check that failed")
    message: str
