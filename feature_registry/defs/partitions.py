"""The partitions: one dynamic definition a datastack, its keys are the numbers of the materialization versions."""

from __future__ import annotations

import dagster as dg

from feature_registry.errors import Invalid


def mat_versions(datastack: str) -> dg.DynamicPartitionsDefinition:
    return dg.DynamicPartitionsDefinition(name=f"mat_version_{datastack}")


def mat_version_of(partition_key: str) -> int:
    """The materialization version that a partition key stands for."""
    if not (partition_key.isascii() and partition_key.isdecimal()):
        raise Invalid(
            "is no materialization version",
            field="partition_key",
            value=partition_key,
            expected="a number such as 1507",
        )
    return int(partition_key)
