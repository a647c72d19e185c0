"""Seven jobs of analysts, through the public client only: copy what you need."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from feature_registry import FeatureRegistry
from feature_registry.demo.cortex import BUCKETS, EMBEDDING_DIMENSION, RESOLUTION

NEAR_SOMA = 500  # nm
EMBEDDING = [f"embedding_{i}" for i in range(EMBEDDING_DIMENSION)]


def use_case_1(registry: FeatureRegistry, folder: Path) -> list[Path]:
    """The entire synapse table of a fixed materialization version, as Parquet files in a folder."""
    return registry.table("synapses").download(folder)


def use_case_2(registry: FeatureRegistry) -> tuple[pl.DataFrame, dict[str, int]]:
    """The synapses of cells with a proofread axon, with features of the same version, and counts of what lacks."""
    cells, outdated = proofread_axons(registry)
    features = "synapse_soma_distance", "synapse_bouton_size"
    frame = registry.join("synapses", *features, where=[("pre_pt_root_id", "in", cells)]).sort("id").collect()
    lacking = {
        "cells with an outdated judgement, dropped": outdated,
        "synapses without a distance to the soma, kept": frame["distance_to_post_soma"].null_count(),
        "synapses without a bouton volume, kept": frame["bouton_volume"].null_count(),
    }
    return frame, lacking


def use_case_3(registry: FeatureRegistry, one: str = "23P", other: str = "BC") -> pl.DataFrame:
    """How folded the nuclei of two cell types are."""
    query = """
        SELECT cell_type, count(*) AS nuclei, avg(fold_ratio) AS mean_fold_ratio, stddev(fold_ratio) AS sd_fold_ratio
        FROM soma_nucleus_features AS nucleus JOIN cell_types AS cell ON cell.target_id = nucleus.nucleus_id
        WHERE cell_type IN (?, ?) GROUP BY cell_type ORDER BY cell_type
    """
    with registry.duckdb() as database:
        frame: pl.DataFrame = database.execute(query, [one, other]).pl()
    return frame


def use_case_4(registry: FeatureRegistry) -> Iterator[pl.DataFrame]:
    """The SegCLR embeddings of the presynaptic sites of proofread cells, a batch for each bucket of root ids.

    A site takes the nearest embedded point of its own root, and keeps the distance in nm; both are null where the
    root has no embedded point.
    """
    cells, _ = proofread_axons(registry)
    pre = sites(outputs(registry, cells), "pre").collect()
    for bucket in range(BUCKETS):
        here = [cell for cell in cells if cell % BUCKETS == bucket]
        if here:
            points = registry.table("segclr").scan(where=[("root_id", "in", here)]).collect()
            yield nearest(pre.filter(pl.col("root_id").is_in(here)), points)


def use_case_5(registry: FeatureRegistry, synapse: int | None = None, k: int = 10) -> pl.DataFrame:
    """The k synapses of proofread axons that are most like one of them (the first, unless said).

    A synapse is what its two sides are: both embeddings, one after the other, compared by the cosine.
    """
    cells, _ = proofread_axons(registry)
    points = registry.table("segclr").scan().collect()
    synapses = outputs(registry, cells).collect().lazy()  # read once for both sides
    pre, post = (nearest(sites(synapses, side).collect(), points).drop_nulls() for side in ("pre", "post"))
    both = pre.join(post, on="id", suffix="_post", validate="1:1").sort("id")
    vector = [*EMBEDDING, *(f"{name}_post" for name in EMBEDDING)]
    query = both.row(0, named=True) if synapse is None else both.row(by_predicate=pl.col("id") == synapse, named=True)
    product = pl.sum_horizontal(pl.col(name).cast(pl.Float64) * query[name] for name in vector)
    length = pl.sum_horizontal(pl.col(name).cast(pl.Float64) ** 2 for name in vector).sqrt()
    return (
        both.with_columns((product / length / math.hypot(*(query[name] for name in vector))).alias("similarity"))
        .filter(pl.col("id") != query["id"])
        .sort("similarity", "id", descending=[True, False])
        .head(k)
        .select("id", "similarity", "root_id", "root_id_post", "distance", "distance_post")
        .with_columns(pl.lit(query["id"], pl.Int64).alias("query_id"))
    )


def use_case_6(registry: FeatureRegistry) -> pl.DataFrame:
    """The heat kernel signatures of both sides of every synapse, null where a side has none."""

    def one_side(side: str) -> pl.LazyFrame:
        frame = registry.table("hks").scan(where=[("side", "==", side)]).drop("side")
        return frame.rename(lambda column: column if column == "id" else f"{side}_{column}")

    synapses = registry.table("synapses").scan(columns=["id"])
    pre, post = one_side("pre"), one_side("post")
    return synapses.join(pre, on="id", how="left").join(post, on="id", how="left").sort("id").collect()


def use_case_7(registry: FeatureRegistry) -> pl.DataFrame:
    """The shapes of all spines within 500 nm of the soma, 500 included, on excitatory cells.

    A root is one if all its nuclei are of excitatory cells: a cell that hangs together with an inhibitory one is none.
    """
    excitatory = (
        registry.table("cell_info")
        .scan(columns=["pt_root_id", "classification_system"])
        .filter(pl.col("pt_root_id") != 0)
        .group_by("pt_root_id")
        .agg((pl.col("classification_system") == "excitatory_neuron").all().alias("excitatory"))
        .filter("excitatory")
    )
    spines = registry.table("spine_morphometry").scan(where=[("distance_to_soma", "<=", NEAR_SOMA)])
    return (
        spines.join(excitatory, left_on="post_pt_root_id", right_on="pt_root_id", how="semi")
        .sort("post_pt_root_id", "component_id")
        .collect()
    )


# --------------------------------------------------------------------------------------------------- their parts


def proofread_axons(registry: FeatureRegistry) -> tuple[list[int], int]:
    """The cells whose axon is proofread, and how many judgements are outdated: the cell was edited since."""
    judged = registry.table("proofreading_status").scan(where=[("status_axon", "==", True)]).collect()
    valid = judged.filter(pl.col("valid_id") == pl.col("pt_root_id"))
    return valid["pt_root_id"].unique().sort().to_list(), judged.height - valid.height


def outputs(registry: FeatureRegistry, cells: list[int]) -> pl.LazyFrame:
    """Where the synapses are that these cells make: id, cells and points of both sides."""
    synapses = registry.table("synapses").scan(where=[("pre_pt_root_id", "in", cells)])
    return synapses.select("id", "^(pre|post)_pt_(root_id|position_[xyz])$")


def sites(synapses: pl.LazyFrame, side: str) -> pl.LazyFrame:
    """One side of synapses: `id`, `root_id`, and `x`, `y`, `z` in nm."""
    axes = zip("xyz", RESOLUTION.tolist(), strict=True)
    return synapses.select(
        "id",
        pl.col(f"{side}_pt_root_id").alias("root_id"),
        *((pl.col(f"{side}_pt_position_{axis}") * float(step)).alias(axis) for axis, step in axes),
    )


def nearest(sites: pl.DataFrame, points: pl.DataFrame) -> pl.DataFrame:
    """Each site once: `id`, `root_id`, the `distance` in nm to the nearest point of its root, and its embedding."""
    points = points.with_row_index("point")
    place = points.select("root_id", "point", pl.col("x", "y", "z").cast(pl.Float64).name.suffix("_point"))
    squares = [(pl.col(axis) - pl.col(f"{axis}_point")) ** 2 for axis in "xyz"]
    return (
        sites.join(place, on="root_id", how="left")
        .select("id", "root_id", "point", pl.sum_horizontal(squares, ignore_nulls=False).sqrt().alias("distance"))
        .sort("id", "distance", "point")
        .unique("id", keep="first", maintain_order=True)
        .join(points.select("point", *EMBEDDING), on="point", how="left")
        .drop("point")
    )
