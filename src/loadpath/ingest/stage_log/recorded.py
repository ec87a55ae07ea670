"""Recorded tables of the rows of stage logs."""

import polars as pl

from loadpath.ingest.stage_log.vocabulary import stage_kind
from loadpath.tables import OP, STEP

__all__ = ["recorded_tables"]

OP_KIND = {
    "input": "input",
    "copy": "copy",
    "forward": "compute",
    "backward": "compute",
    "wait": "communicate",
    "optimizer": "optimise",
    "other": "compute",
}
ABSENT = "stages that a rank lacks in a step are taken to have lasted 0"


def recorded_tables(
    table: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame, list[tuple[str, str, int]]]:
    """Give ops and steps.

    Parameters
    ----------
    table : polars.DataFrame
        Columns ``rank, step, stage, duration_ns``, one row of each; stages in the order in which they
        first stand.

    Returns
    -------
    op, step : polars.DataFrame
        Tables `OP` and `STEP`; every step of every rank has every stage, numbered in order by ``sequence``.
    doubts : list of (str, str, int)
        What was filled in.
    """
    stages = table["stage"].unique(maintain_order=True)
    order = pl.DataFrame({"stage": stages, "sequence": range(stages.len())})
    every = table.select("rank", "step").unique().join(order, how="cross")
    full = every.join(table.drop("host"), on=["rank", "step", "stage"], how="left")
    n_absent = full["duration_ns"].null_count()
    full = full.with_columns(pl.col("duration_ns").fill_null(0)).sort("rank", "step", "sequence")
    after = pl.col("duration_ns").cum_sum().over("rank", "step")
    kinds = {name: OP_KIND[stage_kind(name)] for name in stages}
    op = OP.build(
        full.select(
            "rank",
            pl.lit(0).alias("lane"),
            "step",
            pl.col("stage").replace_strict(kinds, return_dtype=pl.String).alias("kind"),
            pl.col("stage").alias("name"),
            (after - pl.col("duration_ns")).alias("start_ns"),
            "duration_ns",
            "sequence",
        )
    )
    step = full.group_by("step", "rank").agg(
        start_ns=pl.lit(0, pl.Int64), end_ns=pl.col("duration_ns").sum()
    )
    return op, STEP.build(step.sort("step", "rank")), [("stage_absent", ABSENT, n_absent)]
