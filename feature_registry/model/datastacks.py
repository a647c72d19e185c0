"""Datastacks and their materialization versions."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from feature_registry.model.noun import Instant, MatVersion, Name, Noun, Resolution

LONG_TERM = timedelta(days=1_000)


class Datastack(Noun):
    """CAVE's name for one dataset: an aligned volume plus a segmentation."""

    name: Name
    aligned_volume: str | None = Field(None, description="the image space; several datastacks may share one")
    segmentation_source: str | None = None
    voxel_resolution: Resolution | None = None


class MaterializationVersion(Noun):
    """CAVE's frozen version of all annotation tables of a datastack at one instant."""

    datastack: Name
    mat_version: MatVersion
    time_stamp: Instant = Field(description="the instant of the segmentation that was frozen, UTC")
    expires_on: Instant | None = Field(None, description="when CAVE drops its database; None: kept")
    valid: bool = True
    status: Literal["running", "available", "failed", "expired"] = Field("available", description="as CAVE says it")
    parent: str | None = Field(None, description="the datastack of which this one's version is a view")
    tables: tuple[str, ...] | None = Field(None, description="the tables and views that it lists; None: not known")

    @property
    def long_term(self) -> bool:
        """Whether it is kept: inferred, for CAVE has no flag, from an expiry that is absent or 1,000 days away from
        its time stamp.
        """
        return self.expires_on is None or self.expires_on - self.time_stamp > LONG_TERM
