"""Pauses at one place of a program that has no peer without them: other places tell."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import BETWEEN_CALLS, CoupledJob
from loadpath.diagnose.tails import tail_limit

__all__ = ["common_pauses"]

ALPHA = 0.005
"""Probability that a job without such a pause shows one; as for all tests."""
LEAST_PLACES = 20
"""Fewer places have no tail to speak of."""
TAIL_SHAPES = (0.25, 0.5)
"""Shapes of tails between which that of healthy places is taken to lie. Places run different code, so
that their levels are no noise of one law: no tail is taken for lighter than the second; a policy."""
WOKEN_NS = 50_000
"""A thread that another one woke goes on within this time; schedulers take microseconds."""


def common_pauses(job: CoupledJob, level_ns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find time between calls at one place of each step, far beyond that at others.

    That is a place of every rank, or of all ranks of a stage.

    Parameters
    ----------
    job : CoupledJob
        Job recorded in traces.
    level_ns : (n_op,) array of float64
        Peers' level.

    Returns
    -------
    (n_op,) array of float64
        What such a place needs if it is like the others: their median; NaN for all other ops.

    Notes
    -----
    A place is a call, and the how-manieth of its name, after which the threads of a stage go on
    without a call. Its level is beyond chance if the tail of the other places' levels, a stretched exponential through
    their 80th and 90th percentiles, has less than `ALPHA` beyond it. A thread that goes on when
    something on another lane of its rank ended has waited for that, and does not pause.
    """
    usual = np.full(job.n_op, np.nan)
    places = _places(job, level_ns)
    levels = places.group_by("place").agg(pl.col("level").median())["level"].to_numpy()
    if levels.size < LEAST_PLACES:
        return usual
    mine = places.filter(pl.col("level") > tail_limit(levels, ALPHA, TAIL_SHAPES)).filter(
        pl.col("rank").n_unique().over("place") == pl.col("n_rank")
    )
    if not mine.height:
        return usual
    mine = mine.filter(pl.col("op").is_in(_woken(job).implode()).mean().over("place") <= 0.5)
    usual[mine["op"].to_numpy()] = np.median(levels)
    return usual


def _places(job: CoupledJob, level_ns: NDArray[np.float64]) -> pl.DataFrame:
    """List time between calls on host threads, and the place in the program of each."""
    op_class = job.op["op_class"]
    gaps = op_class.unique().filter(
        op_class.unique().cast(pl.String).str.starts_with(BETWEEN_CALLS)
    )
    return (
        job.op.select("rank", "stage", "op_class", "position")
        .with_columns(
            pl.Series("level", level_ns),
            pl.int_range(pl.len()).alias("op"),
            pl.col("rank").n_unique().over("stage").alias("n_rank"),
        )
        .filter(pl.col("op_class").is_in(gaps.implode()) & (pl.col("level") > 0))
        .with_columns(pl.struct("stage", "op_class", "position").rank("dense").alias("place"))
    )


def _woken(job: CoupledJob) -> pl.Series:
    """Ops of host threads that end just after something on another lane of their rank."""
    ends = job.op.select(
        "rank",
        "lane",
        (pl.col("start_ns") + pl.col("duration_ns")).alias("end"),
        pl.int_range(pl.len()).alias("op"),
    ).sort("end")
    # the latest end of each lane before an op's own; a rank has few lanes
    other = ends.select("rank", pl.col("lane").alias("lane_before"), pl.col("end").alias("before"))
    found = [
        ends.filter(pl.col("lane") != lane).join_asof(
            part.drop("lane_before").sort("before"),
            left_on="end", right_on="before", by="rank", strategy="backward", check_sortedness=False,
        )
        for (lane,), part in sorted(other.group_by("lane_before"))
    ]  # fmt: skip
    woken = pl.concat(found).filter(pl.col("end") - pl.col("before") <= WOKEN_NS)
    return woken["op"].unique()
