"""What a datastack asks of the tables that are registered in it; every choice has a default."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from feature_registry.model.noun import Name, Noun
from feature_registry.model.rules import Rule

Action = Literal["enforce", "warn", "record"]


class Policies(Noun):
    """Of one datastack, or of all others."""

    checks: dict[str, Action] = Field(
        {},
        description="by the check's name, what happens when a table from outside fails it: it is refused, registered "
        "with a warning, or registered with a note",
    )
    key: Literal["whole", "sampled", "none"] = Field(
        "sampled", description="how much of a table from outside is read to see whether its key is unique"
    )
    references: Literal["text", "name", "column", "keys"] = Field(
        "keys", description="how far references are followed: not at all, to the table, to its column, or to its values"
    )
    publishing_needs: tuple[str, ...] = Field(
        ("description", "owner", "license"), description="the metadata without which nothing is published"
    )
    owners: Action = Field("enforce", description="whether only the owner's team may edit and deprecate")
    rules: dict[Name, Rule] = Field(
        {}, description="by a name of its own, what should hold of a table and those that it references"
    )
