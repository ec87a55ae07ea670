"""Where the time of each rank goes, over the mean step and step by step."""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose import kernels
from loadpath.diagnose.exposure import (
    COMPUTE,
    HOST,
    N_PART,
    TRANSFER,
    WAIT,
    Exposure,
)
from loadpath.replay import Timeline, replay, step_bounds_ns, step_time_ns
from loadpath.tables.results import RANK_STEP, RANK_TIME
from loadpath.units import NS_PER_S

__all__ = ["rank_step", "rank_time"]

Int64Array = NDArray[np.int64]


def rank_time(
    job: CoupledJob, timeline: Timeline, actual: Exposure, ideal: Exposure
) -> pl.DataFrame:
    """Split the mean step of each rank into what it did.

    Parameters
    ----------
    job : CoupledJob
        Job that was replayed.
    timeline : Timeline
        Replay of measured work without lag.
    actual : Exposure
        What `exposed` says of that replay.
    ideal : Exposure
        What it says of the ideal replay: waiting that an op has there too is bubble.

    Returns
    -------
    polars.DataFrame
        Table `RANK_TIME`, by rank, then part. The parts of each rank sum to the mean measured step
        time, from the earliest rank's start to the latest rank's end. Launch delay is what lag adds
        to the step, on every rank alike: lag of one rank that does not move the end of the step
        takes the place of waiting.
    """
    begin, end = (np.rint(bound).astype(np.int64) for bound in step_bounds_ns(job.graph, timeline))
    spent = _spent_ns(job, actual, begin, end)
    bubble = np.minimum(_bubble_ns(job, actual, ideal), spent[:, WAIT])
    lagged = replay(job.graph, job.work_ns, lag_ns=job.lag_ns)
    delay = max(int(step_time_ns(job.graph, lagged).sum() - (end - begin).sum()), 0)
    parts = {
        "compute": spent[:, COMPUTE],
        "host": spent[:, HOST],
        "transfer": spent[:, TRANSFER],
        "wait": spent[:, WAIT] - bubble,
        "bubble": bubble,
        "launch_delay": np.full(bubble.size, delay),
        "idle": (end - begin).sum() - spent.sum(axis=1),
    }
    seconds = np.stack(list(parts.values()), axis=1) / (max(begin.size, 1) * NS_PER_S)
    return RANK_TIME.build(
        {
            "rank": np.repeat(job.rank["rank"].to_numpy(), len(parts)),
            "part": list(parts) * bubble.size,
            "mean_s": seconds.ravel(),
        }
    ).sort("rank", "part", maintain_order=True)


def rank_step(job: CoupledJob, ideal_ns: ArrayLike, actual: Exposure) -> pl.DataFrame:
    """Sum excess work and exposed waiting of each rank in each step.

    Parameters
    ----------
    job : CoupledJob
        Job with measured work.
    ideal_ns : (n_op,) array
        Work that each op would need, in ns.
    actual : Exposure
        What `exposed` says of its replay.

    Returns
    -------
    polars.DataFrame
        Table `RANK_STEP`, by rank, then step. Excess is what ops other than communication take
        beyond their ideal; what other ops save is not set against it.
    """
    works = ~job.op["kind"].is_in(["communicate", "marker"]).to_numpy()
    excess = np.where(works, np.maximum(np.subtract(job.work_ns, ideal_ns), 0), 0)
    return RANK_STEP.build(
        job.op.select("rank", "step")
        .with_columns(
            pl.Series("excess_ns", excess.astype(np.float64)),
            pl.Series("wait_ns", actual.wait_ns),
        )
        .filter(pl.col("step").is_in(job.graph.step))
        .group_by("rank", "step", maintain_order=True)
        .agg(
            (pl.col("excess_ns").sum() / NS_PER_S).alias("excess_s"),
            (pl.col("wait_ns").sum() / NS_PER_S).alias("wait_s"),
        )
        .sort("rank", "step")
    )


def _bubble_ns(job: CoupledJob, actual: Exposure, ideal: Exposure) -> Int64Array:
    """Sum the waiting of each rank that its ops have in both replays."""
    both = np.minimum(actual.wait_ns, ideal.wait_ns)
    total = np.zeros(job.rank.height, np.int64)
    np.add.at(total, actual.occupancy.places.rank, both)
    return total


def _spent_ns(
    job: CoupledJob, exposure: Exposure, begin: Int64Array, end: Int64Array
) -> Int64Array:
    """(n_rank, n_part) ns within the steps; a moment of two overlapping steps counts in both."""
    occupancy = exposure.occupancy
    n_rank, n_step = job.rank.height, begin.size
    rank = np.repeat(np.arange(n_rank), n_step)
    total = np.zeros((rank.size, N_PART), np.int64)
    kernels.sum_windows(
        occupancy.group_segment,
        occupancy.start_ns,
        occupancy.end_ns,
        occupancy.part,
        rank * occupancy.n_clock + np.tile(occupancy.places.clock[:-1], n_rank),
        np.tile(begin, n_rank),
        np.tile(end, n_rank),
        total,
    )
    spent: Int64Array = total.reshape(n_rank, n_step, N_PART).sum(axis=1)
    return spent
