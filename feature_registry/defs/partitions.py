"""The partitions: one dynamic definition a datastack, its keys are the numbers of the materialization versions."""

from __future__ import annotations

import dagster as dg

from feature_registry.errors import Invalid


def mat_versions(datastack: str) -> dg.DynamicPartitionsDefinition:
    return dg.DynamicPartitionsDefinition(name=f"mat_version_{datastack}")


def mat_version_of(partition_key: str | None) -> int | None:
    """The materialization version that a partition key stands for; None: the table has none."""
    if partition_key is None:
        return None
    if not (partition_key.isascii() and partition_key.isdecimal()):
        raise Invalid(
            "is no materialization version",
            field="partition_key",
            value=partition_key,
            expected="a number such as 1507",
        )
    return int(partition_key)


def partition_of(mat_version: int | None) -> str | None:
    return None if mat_version is None else str(mat_version)


def asset_key(datastack: str, table: str) -> dg.AssetKey:
    """Of `table` of the datastack, or of `other_datastack/table`."""
    return dg.AssetKey(table.split("/") if "/" in table else [datastack, table])


def dep(key: dg.AssetKey, datastack: str, versioned: bool = True) -> dg.AssetDep:
    """What a table of the datastack depends on. Versions of another datastack are the numbers of another clock: no
    partition of it is the one to wait for.
    """
    same = key.path[0] == datastack or not versioned
    return dg.AssetDep(key, partition_mapping=None if same else dg.AllPartitionMapping())
