"""Routes that find tables, and rename what they are found by."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from feature_registry.api.people import Acting
from feature_registry.model import Facets, Found, Noun, Search, Tag

router = APIRouter(prefix="/v1", tags=["search"])


class FacetSearch(Search):
    """What is searched for, and how much is told of it."""

    most: int = Field(20, ge=1, le=1000, description="values of a facet")


class TagRename(Noun):
    """A tag's old name and its new one."""

    old: str
    new: Tag
    datastack: str | None = None


@router.get("/tables")
def search(wanted: Annotated[Search, Query()], registry: Acting) -> Found:
    """Full-text search and filters over tables, a page at a time."""
    return registry.search(wanted)


@router.get("/facets")
def facets(wanted: Annotated[FacetSearch, Query()], registry: Acting) -> Facets:
    """The values by which what matches a search can be narrowed, with the counts of their tables."""
    return registry.facets(wanted, wanted.most)


@router.post("/tags/rename")
def rename_tag(rename: TagRename, registry: Acting) -> tuple[str, ...]:
    """Renames a tag of all tables, or of one datastack's, at once, and answers the tables."""
    return registry.rename_tag(rename.old, rename.new, rename.datastack)
