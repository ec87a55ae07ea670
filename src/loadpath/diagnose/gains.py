"""What removing an effect returns, in blocks that can be resampled."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob, NodeRole
from loadpath.diagnose import group_kernels
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.levels import FloatArray
from loadpath.replay import (
    Change,
    Timeline,
    node_weights_ns,
    replay,
    replay_changes,
    replay_weights,
    step_bounds_ns,
    step_time_ns,
)
from loadpath.replay.timeline import TimeArray

__all__ = [
    "Removals",
    "excess_s",
    "gain_blocks_s",
    "mean_step_s",
    "remove_each",
    "replay_without",
    "step_times_s",
    "steps_with_s",
    "steps_without_s",
    "take_out",
    "without",
]

MOST_BLOCKS = 16
"""Blocks of a job of one step, most."""


class Removals(NamedTuple):
    """What removing candidates returns.

    Attributes
    ----------
    step_s : (n_step,) array of float64
        Steps with all candidates.
    gain_s : (n_candidate, n_block) array of float64
        Seconds a step that each returns, split as by `gain_blocks_s`.
    """

    step_s: FloatArray
    gain_s: FloatArray


def without(work_ns: FloatArray, candidate: Candidate) -> FloatArray:
    """Take a candidate's effect out of the work.

    Parameters
    ----------
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Work in ns.
    candidate : Candidate
        What to remove.

    Returns
    -------
    array of the same shape
        Work without it.
    """
    changed = work_ns.copy()
    take_out(changed, candidate)
    return changed


def take_out(work_ns: FloatArray, candidate: Candidate) -> None:
    """Take a candidate's effect out of the work, in place.

    Parameters
    ----------
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Work in ns, which is changed.
    candidate : Candidate
        What to remove.
    """
    change_ns = np.ascontiguousarray(np.atleast_2d(candidate.change_ns), np.float64)
    group_kernels.change_columns(candidate.op, change_ns, np.atleast_2d(work_ns))


def mean_step_s(job: CoupledJob, work_ns: FloatArray) -> float:
    """Replay work and take the mean step.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Work in ns.

    Returns
    -------
    float
        Mean step in s.
    """
    return float(step_times_s(job, work_ns).mean())


def step_times_s(job: CoupledJob, work_ns: TimeArray) -> FloatArray:
    """Replay work and time every step.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) or (n_run, n_op) array
        Work in ns.

    Returns
    -------
    (n_step,) array of float64
        Steps in s, in the order of ``job.step_number``; one for all runs where they share the work.
    """
    if work_ns.ndim > 1:
        return np.asarray(replay_changes(job.graph, work_ns, [Change.none()])[0] / 1e9)
    return np.asarray(step_time_ns(job.graph, replay(job.graph, work_ns)) / 1e9)


def steps_without_s(job: CoupledJob, work_ns: FloatArray, candidate: Candidate) -> FloatArray:
    """Replay work without a candidate's effect, and time every step.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Work in ns.
    candidate : Candidate
        What to remove.

    Returns
    -------
    (n_step,) array of float64
        Steps in s.
    """
    if job.runs is None:
        return step_times_s(job, without(work_ns, candidate))
    change = Change(candidate.op, candidate.change_ns)
    return np.asarray(replay_changes(job.graph, work_ns, [change])[0] / 1e9)


def remove_each(job: CoupledJob, work_ns: FloatArray, candidates: Sequence[Candidate]) -> Removals:
    """Replay each candidate's removal.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Work in ns.
    candidates : sequence of Candidate
        What to remove, one at a time.

    Returns
    -------
    Removals
        Steps with all of them, and what each returns.
    """
    if job.runs is None:
        base = replay(job.graph, work_ns)
        gain_s = gain_blocks_s(job, base, replay_without(job, work_ns, candidates))
        return Removals(np.asarray(step_time_ns(job.graph, base) / 1e9), gain_s)
    changes = [Change(c.op, c.change_ns) for c in candidates]
    base_ns, *removed = replay_changes(job.graph, work_ns, [Change.none(), *changes])
    saved = [base_ns - step for step in removed]
    return Removals(base_ns / 1e9, np.reshape(saved, (-1, job.n_run)) / (1e9 * job.n_run))


def replay_without(
    job: CoupledJob, work_ns: FloatArray, candidates: Iterable[Candidate]
) -> Iterator[Timeline]:
    """Replay a job again and again, each time without one candidate's effect.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) array of float64
        Work in ns.
    candidates : iterable of Candidate
        What to remove.

    Yields
    ------
    Timeline
        Work without the candidate, replayed; it is overwritten by the next one.
    """
    weight = node_weights_ns(job.graph, work_ns)
    times = np.empty_like(weight)
    for candidate in candidates:
        entry = job.graph.end_node[candidate.op] + 1
        kept = weight[entry]
        weight[entry] = kept + candidate.change_ns
        yield replay_weights(job.graph, weight, times)
        weight[entry] = kept


def steps_with_s(
    job: CoupledJob, ideal_ns: FloatArray, candidates: Iterable[Candidate]
) -> list[float]:
    """Replay the ideal job with one candidate's effect added, again and again.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    ideal_ns : (n_op,) array of float64
        Ideal work in ns.
    candidates : iterable of Candidate
        What to add; no work becomes negative.

    Returns
    -------
    list of float
        Mean step with each candidate, in s.
    """
    if job.runs is not None:
        work = np.broadcast_to(ideal_ns, job.work_ns.shape)
        # what is added is what removal takes away
        changes = [Change(c.op, -c.change_ns) for c in candidates]
        steps = replay_changes(job.graph, work, changes, least_ns=0.0)
        return [float(step.mean()) / 1e9 for step in steps]
    weight = node_weights_ns(job.graph, ideal_ns)
    times = np.empty_like(weight)
    means = []
    for candidate in candidates:
        entry = job.graph.end_node[candidate.op] + 1
        kept = weight[entry]
        weight[entry] = np.maximum(kept - candidate.change_ns, 0.0)
        timeline = replay_weights(job.graph, weight, times)
        means.append(float(step_time_ns(job.graph, timeline).mean()) / 1e9)
        weight[entry] = kept
    return means


def gain_blocks_s(job: CoupledJob, base: Timeline, others: Iterable[Timeline]) -> FloatArray:
    """Split what counterfactuals return over blocks that sum to the mean gain a step.

    Blocks are steps. A job of one step is cut into at most 16 blocks at communications, in the
    order in which they became ready.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    base : Timeline
        The job as measured.
    others : iterable of Timeline
        The counterfactuals; each is used before the next is asked for.

    Returns
    -------
    (n_other, n_block) array of float64
        Seconds.
    """
    n_step = job.graph.step.size
    sync = np.flatnonzero(job.graph.role == NodeRole.SYNC) if n_step == 1 else np.empty(0, np.intp)
    order = sync[np.argsort(base.time_ns[1:][sync], kind="stable")]
    if order.size >= MOST_BLOCKS:  # gains move between neighbours; long blocks hold them together
        order = order[np.linspace(0, order.size - 1, MOST_BLOCKS - 1).astype(np.intp)]
    before = _lengths_ns(job, base, order)
    saved = [before - _lengths_ns(job, other, order) for other in others]
    return np.reshape(saved, (-1, before.size)) / (1e9 * max(1, n_step))


def _lengths_ns(job: CoupledJob, timeline: Timeline, sync: NDArray[np.intp]) -> FloatArray:
    """Length of each block: of steps, or between the moments at which communications were ready."""
    begin, end = step_bounds_ns(job.graph, timeline)
    if job.graph.step.size != 1:
        return np.subtract(end, begin).astype(np.float64)
    ready = np.maximum.accumulate(timeline.time_ns[1:][sync])
    marks = np.concatenate([begin, np.clip(ready, begin, end), end])
    return np.diff(marks).astype(np.float64)


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
    mean = np.atleast_2d(-candidate.change_ns).mean(axis=0)
    total = np.bincount(rank - rank.min(initial=0), mean) if rank.size else np.zeros(1)
    return float(total.max()) / (1e9 * max(1, job.graph.step.size))
