"""The demo's feature tables that are computed from dumps."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from feature_registry.defs.feature_table import feature_table
from feature_registry.demo.cortex import DATASTACK, RESOLUTION
from feature_registry.demo.meanings import CITATION, identity
from feature_registry.model import Column, SegmentationNode

CUBIC_MICROMETRES_PER_VOXEL = math.prod(RESOLUTION.tolist()) * 1e-9
BOUTON_AT_NO_CLEFT = 0.03  # um^3
BOUTON_PER_CLEFT = 60.0  # um^3 of bouton for each um^3 of cleft
THOMSEN = 1.6075  # the exponent in Thomsen's formula for the surface of an ellipsoid, good to 1.1 %

_COMPUTED: dict[str, Any] = {"datastack": DATASTACK, "license": "CC-BY-4.0", "citation": CITATION, "publish": True}


@feature_table(
    **_COMPUTED,
    owner="synapse-team",
    description="Straight distance from the postsynaptic point to the nucleus of the postsynaptic cell; null where "
    "that cell has no nucleus or more than one. Synthetic.",
    tags=["feature", "synapse", "soma", "synthetic"],
    key=["id"],
    columns={
        "id": identity("synapses", "The synapse"),
        "distance_to_post_soma": Column(
            "From the postsynaptic point to the nucleus of the postsynaptic cell",
            unit="nm",
            type="float64",
            derived_from=("synapses.post_pt_position_x", "nucleus_detection.pt_position_x"),
        ),
    },
    references={"id": "synapses.id"},
    sort_by=["id"],
    invalidation_radius=15_000,
    code_version="1",
)
def synapse_soma_distance(synapses: pl.LazyFrame, nucleus_detection: pl.LazyFrame) -> pl.LazyFrame:
    soma = (
        nucleus_detection.filter(pl.col("pt_root_id") != 0)
        .group_by("pt_root_id")
        .agg(pl.len().alias("nuclei"), *(pl.col(f"pt_position_{axis}").first() for axis in "xyz"))
        .filter(pl.col("nuclei") == 1)
    )
    squares = [
        ((pl.col(f"post_pt_position_{axis}") - pl.col(f"pt_position_{axis}")) * float(resolution)) ** 2
        for axis, resolution in zip("xyz", RESOLUTION, strict=True)
    ]
    return synapses.join(soma, left_on="post_pt_root_id", right_on="pt_root_id", how="left").select(
        "id", pl.sum_horizontal(squares, ignore_nulls=False).sqrt().alias("distance_to_post_soma")
    )


@feature_table(
    **_COMPUTED,
    owner="synapse-team",
    description="Volume of the presynaptic bouton, which grows with the cleft: 0.03 um^3 + 60 times the volume of the "
    "cleft. Synthetic.",
    tags=["feature", "synapse", "bouton", "synthetic"],
    key=["id"],
    columns={
        "id": identity("synapses", "The synapse"),
        "bouton_volume": Column("Volume of the bouton", unit="um^3", type="float64", derived_from=("synapses.size",)),
    },
    references={"id": "synapses.id"},
    sort_by=["id"],
    code_version="1",
)
def synapse_bouton_size(synapses: pl.LazyFrame) -> pl.LazyFrame:
    cleft = pl.col("size") * CUBIC_MICROMETRES_PER_VOXEL
    return synapses.select("id", (BOUTON_AT_NO_CLEFT + BOUTON_PER_CLEFT * cleft).alias("bouton_volume"))


@feature_table(
    **_COMPUTED,
    owner="celltypes-team",
    description="Shape of the nucleus of every cell. The area is that of the ellipsoid in the bounding box; fold_ratio "
    "compares it with the sphere of the nucleus's volume, so that a folded nucleus is far above 1. Synthetic.",
    tags=["feature", "nucleus", "soma", "synthetic"],
    key=["nucleus_id"],
    columns={
        "nucleus_id": identity("nucleus_detection", "The nucleus"),
        "pt_root_id": Column(
            "Cell of the nucleus, at this version; 0: none",
            unit="1",
            kind=SegmentationNode(level="root_id"),
            type="int64",
        ),
        "nucleus_volume": Column("Volume of the nucleus", unit="um^3", type="float64"),
        "nucleus_area": Column(
            "Surface of the ellipsoid in the bounding box, by Thomsen's formula", unit="um^2", type="float64"
        ),
        "fold_ratio": Column("nucleus_area over the surface of the sphere of nucleus_volume", unit="1", type="float64"),
    },
    references={"nucleus_id": "nucleus_detection.id"},
    invalidation_radius=15_000,
    code_version="1",
)
def soma_nucleus_features(nucleus_detection: pl.LazyFrame) -> pl.LazyFrame:
    a, b, c = (
        ((pl.col(f"bb_end_position_{axis}") - pl.col(f"bb_start_position_{axis}")) * (resolution / 2_000)) ** THOMSEN
        for axis, resolution in zip("xyz", RESOLUTION.tolist(), strict=True)
    )
    sphere = math.pi ** (1 / 3) * (6 * pl.col("nucleus_volume")) ** (2 / 3)
    return nucleus_detection.select(
        pl.col("id").alias("nucleus_id"),
        "pt_root_id",
        pl.col("volume").alias("nucleus_volume"),
        (4 * math.pi * ((a * b + a * c + b * c) / 3) ** (1 / THOMSEN)).alias("nucleus_area"),
    ).with_columns((pl.col("nucleus_area") / sphere).alias("fold_ratio"))
