"""One job a datastack for its versioned tables, one for its unversioned ones, and which versions are made unasked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from feature_registry.settings import Materialize

Job = UnresolvedAssetJobDefinition  # Dagster has no public name for it


# A table that takes its process along, for want of memory say, must not end the others: dumps have one each.
APART = dg.multiprocess_executor


def job_name(datastack: str, versioned: bool = True) -> str:
    return f"materialize_{datastack}" if versioned else f"materialize_{datastack}_unversioned"


def materialize(datastack: str, assets: Iterable[dg.AssetsDefinition], versioned: bool, *, apart: bool = False) -> Job:
    """All tables of the datastack in one run, with their own checks; small ones take milliseconds in process and
    seconds in one each.
    """
    own = list(assets)
    checks = (key for asset in own for key in asset.check_keys)
    return dg.define_asset_job(
        job_name(datastack, versioned),
        selection=dg.AssetSelection.assets(*own).without_checks() | dg.AssetSelection.checks(*checks),
        executor_def=APART if apart else dg.in_process_executor,
        description=f"Makes the {'' if versioned else 'un'}versioned feature tables of {datastack}.",
    )


def chosen(numbers: Sequence[int], newest: int, policy: Materialize) -> list[int]:
    """Which of the materialization versions are made unasked."""
    if policy == "all":
        return sorted(numbers)
    return [number for number in numbers if number == newest and policy == "latest"]
