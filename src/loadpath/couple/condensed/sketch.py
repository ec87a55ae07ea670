"""Counts, sums and quantiles of what was merged: how often, how long, how unequal."""

import polars as pl

from loadpath.couple.condensed.merge import Condensed
from loadpath.couple.job import CoupledJob
from loadpath.tables import SKETCH

__all__ = ["sketch_of"]

PER_DOUBLING = 8
"""Steps of a quantile's scale for each factor of two."""


def sketch_of(job: CoupledJob, condensed: Condensed) -> pl.DataFrame:
    """Sketch the durations of merged ops by rank, step and class.

    Parameters
    ----------
    job : CoupledJob
        The whole job, in one graph.
    condensed : Condensed
        The same in fewer ops.

    Returns
    -------
    polars.DataFrame
        Table `SKETCH`, by step and rank, the class with the largest sum first.
    """
    merged = pl.Series(condensed.n_merged[condensed.of] > 1)
    duration = pl.col("duration_ns")
    at = {"least_ns": 0.0, "median_ns": 0.5, "p90_ns": 0.9, "most_ns": 1.0}
    found = (
        job.op.filter(merged)
        .group_by("rank", "step", "op_class")
        .agg(
            pl.len().alias("n_ops"),
            duration.sum().alias("total_ns"),
            *(_coarse(duration.quantile(q, "lower")).alias(name) for name, q in at.items()),
        )
        .sort(pl.col("step"), "rank", pl.col("total_ns"), pl.col("op_class").cast(pl.String),
              descending=[False, False, True, False])
    )  # fmt: skip
    return SKETCH.build(found)


def _coarse(value_ns: pl.Expr) -> pl.Expr:
    """Round down to the scale of the sketch."""
    exponent = (value_ns.clip(1).log(2) * PER_DOUBLING + 1e-9).floor()
    coarse = pl.lit(2.0).pow(exponent / PER_DOUBLING).floor().cast(pl.Int64)
    return pl.when(value_ns >= 1).then(coarse).otherwise(0)
