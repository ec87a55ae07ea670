"""Recorded tables of the rows of an op table."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from loadpath.ingest.op_table.vocabulary import COLLECTIVES, OP_NAME, OP_TYPES
from loadpath.tables import LANE, OP, RANK, STEP

__all__ = ["lane_table", "missing_workers", "op_table", "rank_table", "step_table"]


def missing_workers(raw: pl.DataFrame, sizes: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """Count the workers that have no record, and those that lack steps.

    Parameters
    ----------
    raw : polars.DataFrame
        Typed rows.
    sizes : mapping of str to int
        Parallel sizes.

    Returns
    -------
    list of (str, str, int)
        Code, text and count of each doubt.
    """
    places = raw.select("dp_rank", "stage").unique()
    expected = sizes["dp_size"] * sizes["pp_size"]
    n_step = raw["step"].n_unique()
    cells = raw.select("dp_rank", "stage", "step").unique().height
    unknown = (
        f"{expected - places.height} of {expected} workers (replica, stage) have no record: what "
        "they did is unknown, and they cannot be blamed or cleared"
    )
    lacking = "workers lack some of the recorded steps"
    return [
        ("missing_rank", unknown, expected - places.height),
        ("missing_step", lacking, places.height * n_step - cells),
    ]


def op_table(raw: pl.DataFrame) -> pl.DataFrame:
    """Give the ops.

    Parameters
    ----------
    raw : polars.DataFrame
        Typed rows, times in ns.

    Returns
    -------
    polars.DataFrame
        Table `OP`, in the same order.
    """
    name = raw["optype"].to_physical()
    computes = _of_name({n: kind == "compute" for n, kind in OP_TYPES.items()}, name)
    return OP.build(
        raw.select(
            "rank",
            _of_name({n: int(kind == "communicate") for n, kind in OP_TYPES.items()}, name).alias(
                "lane"
            ),
            "step",
            _of_name(OP_TYPES, name, OP.schema["kind"]).alias("kind"),
            _of_name({n: n for n in OP_TYPES}, name, pl.Categorical).alias("name"),
            "start_ns",
            "duration_ns",
            pl.col("seq_id").alias("sequence"),
            pl.when(computes)
            .then(pl.col("mb_id").clip(lower_bound=-1))
            .otherwise(-1)
            .alias("microbatch"),
            pl.col("mc").alias("chunk"),
            _of_name({n: COLLECTIVES.get(n, "") for n in OP_TYPES}, name, pl.Categorical).alias(
                "collective"
            ),
        )
    )


def _of_name(
    values: Mapping[str, Any], name: pl.Series, dtype: pl.DataType | type[pl.DataType] | None = None
) -> pl.Series:
    """Give each op the value of its name; `name` holds places in `OP_NAME`."""
    listed = pl.Series([values[n] for n in OP_NAME.categories])
    return (listed if dtype is None else listed.cast(dtype)).gather(name)


def lane_table(raw: pl.DataFrame) -> pl.DataFrame:
    """Give the lanes: computation and communication of each rank.

    Parameters
    ----------
    raw : polars.DataFrame
        Typed rows.

    Returns
    -------
    polars.DataFrame
        Table `LANE`.
    """
    ranks = raw["rank"].unique().sort()
    lanes = pl.DataFrame(
        {"lane": [0, 1], "kind": ["device", "communication"], "name": ["compute", "communication"]}
    )
    return LANE.build(pl.DataFrame({"rank": ranks}).join(lanes, how="cross"))


def rank_table(raw: pl.DataFrame, sizes: Mapping[str, int], resolution_ns: int) -> pl.DataFrame:
    """Give the ranks and their places.

    Parameters
    ----------
    raw : polars.DataFrame
        Typed rows.
    sizes : mapping of str to int
        Parallel sizes.
    resolution_ns : int
        Resolution of recorded times, in ns.

    Returns
    -------
    polars.DataFrame
        Table `RANK`, by rank.
    """
    places = raw.group_by("rank").agg(pl.col("dp_rank", "stage").first())
    represented = max(1, sizes["world_size"] // max(1, sizes["dp_size"] * sizes["pp_size"]))
    return RANK.build(
        places.sort("rank").select(
            "rank",
            pl.col("dp_rank").alias("dp"),
            pl.col("stage").alias("pp"),
            pl.lit(represented).alias("n_represented"),
            pl.lit(resolution_ns).alias("clock_residual_ns"),
        )
    )


def step_table(raw: pl.DataFrame) -> pl.DataFrame:
    """Give begin and end of each step on each rank.

    Parameters
    ----------
    raw : polars.DataFrame
        Typed rows, times in ns.

    Returns
    -------
    polars.DataFrame
        Table `STEP`, by step and rank.
    """
    return STEP.build(
        raw.group_by("step", "rank")
        .agg(
            pl.col("start_ns").min(),
            (pl.col("start_ns") + pl.col("duration_ns")).max().alias("end_ns"),
        )
        .sort("step", "rank")
    )
