"""Which steps of a large job figures that are estimates look at; a stated policy."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.cut import cut_out
from loadpath.couple.steps import CoupledSteps, as_runs, keep_runs
from loadpath.diagnose.components import FEWEST_STEPS
from loadpath.diagnose.effects import Effects
from loadpath.errors import UsageError
from loadpath.replay import replay, step_bounds_ns
from loadpath.tables import caveat_table

__all__ = [
    "MOST_OPS",
    "MOST_STEPS",
    "StepSample",
    "effects_of",
    "n_sampled",
    "sample_steps",
    "sampled_caveat",
    "spread_out",
    "take_steps",
]

IntArray = NDArray[np.int64]

MOST_OPS = 1_000_000
"""A job of more ops is sampled; a stated policy."""
MOST_STEPS = 128
"""Steps of a sample, which have at most `MOST_OPS` ops but are at least `FEWEST_STEPS`."""
GOLDEN_RATIO = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class StepSample:
    """Steps of a job that estimates look at.

    Attributes
    ----------
    job : CoupledJob
        These steps: the job itself where it is all of them.
    kept : (n_kept,) array of int64
        Which ones, as entries of `CoupledJob.step_number`, ascending.
    op : (n_op,) array of int64
        Which ops of the job those of the sample are; runs of one graph share theirs.
    n_step : int
        Steps of the whole job.
    """

    job: CoupledJob
    kept: IntArray
    op: IntArray
    n_step: int


def sample_steps(job: CoupledJob) -> StepSample:
    """Choose the steps that estimates look at: all of them, unless the job is large.

    Parameters
    ----------
    job : CoupledJob
        A job, perhaps of several runs.

    Returns
    -------
    StepSample
        Runs of one graph; of a job whose steps are coupled one by one, steps that begin when they do
        in the replay of all.
    """
    n_step = job.step_number.size
    kept = spread_out(n_step, n_sampled(n_step, job.n_run * job.n_op))
    every = np.arange(job.n_op)
    if kept.size == n_step:
        return StepSample(job, kept, every, n_step)
    if job.runs is not None:
        return StepSample(keep_runs(job, kept), kept, every, n_step)
    return StepSample(*_cut(job, kept), n_step)


def take_steps(steps: CoupledSteps, n_kept: int | None) -> CoupledJob:
    """Take the job as if some of its steps alone had been recorded, spread evenly.

    Parameters
    ----------
    steps : CoupledSteps
        All steps, of an op table where not all are wanted.
    n_kept : int or None
        How many to take; all if None, or if there are no more.

    Returns
    -------
    CoupledJob
        These steps; a caveat ``steps_left_out`` counts the others.

    Raises
    ------
    UsageError
        If steps hand work on to each other: one without those before it took another time.
    """
    n_step = steps.step.size
    if n_kept is None or n_kept >= n_step:
        return as_runs(steps)
    if steps.job.source != "op_table":
        problem = "--steps is for op tables: steps of other records hand work on to each other"
        raise UsageError(f"{problem}. Leave it out.")
    kept = spread_out(n_step, n_kept)
    if len(steps.start_ns) > 1:
        taken = (column[kept] for column in (steps.step, steps.start_ns, steps.duration_ns))
        job = as_runs(CoupledSteps(steps.job, *taken))
    else:
        job, *_ = _cut(steps.job, kept)
    text = (
        f"{n_kept} of {n_step:,} steps are audited, spread evenly, as asked: what is rare or small "
        "may go unseen, and totals are of these steps"
    )
    left_out = caveat_table([("steps_left_out", text, n_step - n_kept)])
    return replace(job, caveat=pl.concat([job.caveat, left_out]))


def _cut(job: CoupledJob, kept: IntArray) -> tuple[CoupledJob, IntArray, IntArray]:
    """Cut steps out of a job of one graph; they, which they are, and their ops."""
    timeline = replay(job.graph, job.work_ns)
    some, op = cut_out(job, kept, timeline.time_ns, step_bounds_ns(job.graph, timeline)[0])
    return some, kept, op


def n_sampled(n_step: int, n_op: int) -> int:
    """Say how many steps estimates look at.

    Parameters
    ----------
    n_step, n_op : int
        Steps and ops of the whole job.

    Returns
    -------
    int
        All of them in a job of at most `MOST_OPS` ops.

    Examples
    --------
    >>> n_sampled(500, MOST_OPS), n_sampled(500, 2 * MOST_OPS), n_sampled(500, 50 * MOST_OPS)
    (500, 128, 10)
    """
    if n_op <= MOST_OPS:
        return n_step
    return min(n_step, max(FEWEST_STEPS, min(MOST_STEPS, MOST_OPS * n_step // n_op)))


def effects_of(effects: Effects, sample: StepSample) -> Effects:
    """Give effects of some steps as those of all their ops, run after run.

    Parameters
    ----------
    effects : Effects
        Of all steps of a job: what peers take is known from all of them.
    sample : StepSample
        Which steps.

    Returns
    -------
    Effects
        Arrays of one entry for each op of each step of the sample.
    """
    n_run = sample.kept.size if effects.work_ns.ndim > 1 else 1
    shape = (n_run, sample.op.size)

    def of_ops(value: NDArray[Any]) -> NDArray[Any]:
        if value.ndim > 1:
            return value[sample.kept].ravel()
        return np.broadcast_to(value[sample.op], shape).ravel()

    names = ("work_ns", "level_ns", "across_ns", "data_ns", "is_transfer", "paused")
    common = tuple(replace(part, part_ns=of_ops(part.part_ns)) for part in effects.common)
    parts: dict[str, Any] = {name: of_ops(getattr(effects, name)) for name in names}
    return Effects(**parts, common=common)


def spread_out(n: int, n_kept: int) -> IntArray:
    r"""Take one entry of each of some stretches of equal length.

    Its place in stretch k is the fraction of :math:`\varphi\, k (k + 1) / 2`, with the golden ratio
    :math:`\varphi`: what comes with a period is met about as often as it is there, where a fixed
    distance (or a place that moves on evenly) meets some periods always or never.

    Parameters
    ----------
    n : int
        Entries there are.
    n_kept : int
        Entries wanted, at most `n`.

    Returns
    -------
    (n_kept,) array of int
        Entries, ascending.

    References
    ----------
    .. [1] H. Weyl, "Ueber die Gleichverteilung von Zahlen mod. Eins", Mathematische Annalen 77, 1916:
       quadratic sequences stay uniform whatever linear one is added.

    Examples
    --------
    >>> spread_out(12, 4).tolist(), spread_out(3, 3).tolist()
    ([0, 4, 8, 11], [0, 1, 2])
    """
    edge = np.arange(n_kept + 1) * n // n_kept
    k = np.arange(n_kept)
    place = k * (k + 1) // 2 * GOLDEN_RATIO % 1.0
    return edge[:-1] + (place * np.diff(edge)).astype(np.int64)


def sampled_caveat(sample: StepSample) -> pl.DataFrame:
    """Say which share of the steps estimates look at, where it is not all.

    Parameters
    ----------
    sample : StepSample
        Result of `sample_steps`.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT` of one row, or none; it counts the steps that are left out.
    """
    n_kept = sample.kept.size
    # of runs of one graph the envelope looks at one step, which is ideal for all
    estimates = "stability, limits" + (", failure envelope" if sample.job.runs is None else "")
    text = (
        f"{estimates} and shares of interacting causes are estimated from {n_kept} of "
        f"{sample.n_step:,} steps, spread evenly; everything else is of all steps"
    )
    return caveat_table([("sampled_steps", text, sample.n_step - n_kept)])
