"""Where the time of each rank goes, over the mean step and step by step."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose import moment_kernels
from loadpath.diagnose.exposure import Exposure
from loadpath.diagnose.places import COMPUTE, HOST, N_PART, OVERHEAD, TRANSFER, WAIT
from loadpath.replay import Mixture, Timeline, replay_runs, step_bounds_ns
from loadpath.tables.results import RANK_STEP, RANK_TIME
from loadpath.units import NS_PER_S

__all__ = ["RankSums", "rank_step", "rank_sums", "rank_time"]

Int64Array = NDArray[np.int64]


class RankSums(NamedTuple):
    """What ranks did in some steps.

    Attributes
    ----------
    spent_ns : (n_rank, n_part) array of int64
        Time of each part within the steps, in ns.
    bubble_ns : (n_rank,) array of int64
        Exposed wait that the ideal replay has too, in ns.
    step_ns : int
        Length of the steps, as replayed without lag, in ns.
    """

    spent_ns: Int64Array
    bubble_ns: Int64Array
    step_ns: int

    def plus(self, other: "RankSums") -> "RankSums":
        """Add other steps.

        Parameters
        ----------
        other : RankSums
            Of the same ranks.

        Returns
        -------
        RankSums
            Sums of both.
        """
        return RankSums(
            self.spent_ns + other.spent_ns,
            self.bubble_ns + other.bubble_ns,
            self.step_ns + other.step_ns,
        )


def rank_sums(
    job: CoupledJob, timeline: Timeline, actual: Exposure, ideal_wait_ns: Int64Array
) -> RankSums:
    """Sum up what ranks did in the steps there are; sums of other steps can be added.

    Parameters
    ----------
    job : CoupledJob
        Job that was replayed, or some of its steps.
    timeline : Timeline
        Replay of measured work without lag.
    actual : Exposure
        What `exposed` says of that replay.
    ideal_wait_ns : (n_op,) array of int64
        Exposed waiting in the ideal replay, in ns: what an op waits there too is bubble.

    Returns
    -------
    RankSums
        Time by rank.
    """
    begin, end = (np.rint(bound).astype(np.int64) for bound in step_bounds_ns(job.graph, timeline))
    return RankSums(
        _spent_ns(job, actual, begin, end),
        _bubble_ns(job, actual, ideal_wait_ns),
        int((end - begin).sum()),
    )


def rank_time(job: CoupledJob, sums: RankSums) -> pl.DataFrame:
    """Split the mean step of each rank into what it did.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    sums : RankSums
        Sums over all of its steps.

    Returns
    -------
    polars.DataFrame
        Table `RANK_TIME`, by rank, then part. The parts of each rank sum to the mean measured step
        time, from the earliest rank's start to the latest rank's end. Launch delay is what lag adds
        to the step, on every rank alike: lag of one rank that does not move the end of the step
        takes the place of waiting.
    """
    spent = sums.spent_ns
    bubble = np.minimum(sums.bubble_ns, spent[:, WAIT])
    parts = {
        "compute": spent[:, COMPUTE],
        "host": spent[:, HOST],
        "overhead": spent[:, OVERHEAD],
        "transfer": spent[:, TRANSFER],
        "wait": spent[:, WAIT] - bubble,
        "bubble": bubble,
        "launch_delay": np.full(bubble.size, max(_lagged_ns(job) - sums.step_ns, 0)),
        "idle": sums.step_ns - spent.sum(axis=1),
    }
    n_step = max(1, job.step_number.size)
    seconds = np.stack(list(parts.values()), axis=1) / (n_step * NS_PER_S)
    return RANK_TIME.build(
        {
            "rank": np.repeat(job.rank["rank"].to_numpy(), len(parts)),
            "part": list(parts) * bubble.size,
            "mean_s": seconds.ravel(),
        }
    ).sort("rank", "part", maintain_order=True)


def rank_step(
    job: CoupledJob, ideal_ns: ArrayLike, actual: Exposure, *, step: Int64Array | None = None
) -> pl.DataFrame:
    """Sum excess work and exposed waiting of each rank in each step.

    Parameters
    ----------
    job : CoupledJob
        Job with measured work.
    ideal_ns : (n_op,) array
        Work that each op would need, in ns.
    actual : Exposure
        What `exposed` says of its replay.
    step : (n_step,) array of int64, optional
        Numbers of the steps, where the job is a window whose own are those of another.

    Returns
    -------
    polars.DataFrame
        Table `RANK_STEP`, by rank, then step. Excess is what ops other than communication take
        beyond their ideal; what other ops save is not set against it.
    """
    works = ~job.op["kind"].is_in(["communicate", "marker"]).to_numpy()
    excess = np.where(works, np.maximum(np.subtract(job.work_ns, ideal_ns), 0), 0)
    number = job.graph.step if step is None else step
    return RANK_STEP.build(
        job.op.select("rank", "step")
        .with_columns(
            pl.Series("excess_ns", excess.astype(np.float64)),
            pl.Series("wait_ns", actual.wait_ns),
        )
        .filter(pl.col("step").is_in(job.graph.step))
        .with_columns(pl.col("step").replace_strict(job.graph.step, number))
        .group_by("rank", "step", maintain_order=True)
        .agg(
            (pl.col("excess_ns").sum() / NS_PER_S).alias("excess_s"),
            (pl.col("wait_ns").sum() / NS_PER_S).alias("wait_s"),
        )
        .sort("rank", "step")
    )


def _lagged_ns(job: CoupledJob) -> int:
    """Length of all steps with their lag, in ns."""
    work, lag = np.atleast_2d(job.work_ns), np.atleast_2d(job.lag_ns)
    every = np.ones(job.n_op, np.bool_)
    both = [Mixture(every, every)]
    step_ns = replay_runs(job.graph, work, np.zeros(job.n_op), both, lag_ns=lag)
    return int(step_ns.astype(np.int64).sum())


def _bubble_ns(job: CoupledJob, actual: Exposure, ideal_wait_ns: Int64Array) -> Int64Array:
    """Sum the waiting of each rank that its ops have in both replays."""
    both = np.minimum(actual.wait_ns, ideal_wait_ns)
    # whole numbers, whose sums are exact
    total = np.bincount(actual.occupancy.places.rank, both, job.rank.height)
    return total.astype(np.int64)


def _spent_ns(
    job: CoupledJob, exposure: Exposure, begin: Int64Array, end: Int64Array
) -> Int64Array:
    """(n_rank, n_part) ns within the steps; a moment of two overlapping steps counts in both."""
    occupancy = exposure.occupancy
    n_rank, n_step = job.rank.height, begin.size
    rank = np.repeat(np.arange(n_rank), n_step)
    total = np.zeros((rank.size, N_PART), np.int64)
    moment_kernels.sum_windows(
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
