"""What removing an effect returns, in blocks that can be resampled."""

import numpy as np

from loadpath.couple import CoupledJob, NodeRole
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.levels import FloatArray
from loadpath.replay import Timeline, replay, step_bounds_ns, step_time_ns

__all__ = ["excess_s", "gain_blocks_s", "mean_step_s", "without"]


def without(work_ns: FloatArray, candidate: Candidate) -> FloatArray:
    """Take a candidate's effect out of the work.

    Parameters
    ----------
    work_ns : (n_op,) array of float64
        Work in ns.
    candidate : Candidate
        What to remove.

    Returns
    -------
    (n_op,) array of float64
        Work without it.
    """
    changed = work_ns.copy()
    changed[candidate.op] += candidate.change_ns
    return changed


def mean_step_s(job: CoupledJob, work_ns: FloatArray) -> float:
    """Replay work and take the mean step.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) array of float64
        Work in ns.

    Returns
    -------
    float
        Mean step in s.
    """
    return float(step_time_ns(job.graph, replay(job.graph, work_ns)).mean()) / 1e9


def gain_blocks_s(job: CoupledJob, base: Timeline, other: Timeline) -> FloatArray:
    """Split what a counterfactual returns over blocks that sum to the mean gain a step.

    Blocks are steps. A job of one step is cut at its communications, in the order in which they
    became ready.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    base, other : Timeline
        The job as measured and the counterfactual.

    Returns
    -------
    (n_block,) array of float64
        Seconds.
    """
    graph = job.graph
    n_step = graph.step.size
    if n_step > 1:
        saved = np.subtract(step_time_ns(graph, base), step_time_ns(graph, other))
        return np.asarray(saved / (1e9 * n_step), np.float64)
    sync = np.flatnonzero(graph.role == NodeRole.SYNC)
    order = sync[np.argsort(base.time_ns[1:][sync], kind="stable")]
    marks = [_marks(job, timeline, order) for timeline in (base, other)]
    return np.asarray((np.diff(marks[0]) - np.diff(marks[1])) / 1e9, np.float64)


def _marks(
    job: CoupledJob, timeline: Timeline, sync: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> FloatArray:
    """Give the begin of the one step, the moments at which communications were ready, and its end."""
    begin, end = step_bounds_ns(job.graph, timeline)
    ready = np.maximum.accumulate(timeline.time_ns[1:][sync])
    return np.concatenate([begin, np.clip(ready, begin, end), end]).astype(np.float64)


def excess_s(job: CoupledJob, candidate: Candidate) -> float:
    """Sum a candidate's own excess work on the rank that has most of it.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    candidate : Candidate
        Candidate.

    Returns
    -------
    float
        Seconds a step, absorbed or not.
    """
    rank = job.op["rank"].to_numpy()[candidate.op]
    total = (
        np.bincount(rank - rank.min(initial=0), -candidate.change_ns) if rank.size else np.zeros(1)
    )
    return float(total.max()) / (1e9 * max(1, job.graph.step.size))
