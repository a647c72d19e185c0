"""What is said of several tables: how to cite them, and columns that many of them have."""

from __future__ import annotations

from feature_registry.model import Column, TableId

CITATION = (  # the software's, as in CITATION.cff: nobody measured these data
    "The Feature Registry developers, Feature Registry: a registry and pipeline for connectomics feature tables. "
    "Synthetic data, made by its demo."
)


def identity(table: str, description: str = "") -> Column:
    """The id of a row, its own or another table's."""
    return Column(description or f"The id of the row of {table}", unit="1", kind=TableId(table=table), type="int64")
