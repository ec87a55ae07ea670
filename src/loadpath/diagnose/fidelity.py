"""How well the graph explains the recording: a replay error that can fail."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob, CouplingGraph, NodeRole
from loadpath.couple.steps import blocks
from loadpath.diagnose.labels import compact
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.medians import reduced
from loadpath.diagnose.places import find_places
from loadpath.replay import Timeline, begin_apart, replay, step_time_ns
from loadpath.replay.timeline import TimeArray

__all__ = ["Fidelity", "measure_fidelity", "measured_step_ns", "work_waits"]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Replay of measured durations against the measured steps.

    Attributes
    ----------
    measured_s, replayed_s : (n_step,) arrays of float64
        Step times, earliest start to latest end.
    error_ratio_median, error_ratio_max : float
        Over steps, of the largest difference between a rank's replayed and measured end of the
        step (the slowest rank's is the step time), over the measured step time. Ends count from
        where the step begins, which is not before those that it follows have ended.
    negative_lag_s : float
        Time by which ops began before a claimed predecessor ended, mean over ranks, all steps.
    """

    measured_s: FloatArray
    replayed_s: FloatArray
    error_ratio_median: float
    error_ratio_max: float
    negative_lag_s: float


class _Ends(NamedTuple):
    """Which rank and step each possible end of a step is of.

    Attributes
    ----------
    of_end : (n_end,) array of int
        Number of the pair of step and rank of each end.
    step : (n_pair,) array of int
        Step of each pair.
    """

    of_end: NDArray[np.intp]
    step: NDArray[np.int64]


def measured_step_ns(job: CoupledJob) -> FloatArray:
    """Measure each step from the earliest rank's start to the latest rank's end.

    Time that steps share counts to the earlier one, as in the replay.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_step,) array of float64
        In the order of ``job.step_number``, in ns.
    """
    if job.runs is not None:
        times = ((job.start_ns[rows], job.duration_ns[rows]) for rows in blocks(job))
        spans = [(start + length).max(axis=1) - start.min(axis=1) for start, length in times]
        return np.concatenate(spans).astype(np.float64)
    steps = job.graph.step
    place = np.searchsorted(steps, job.op["step"].to_numpy())
    inside = np.append(steps, -1)[place] == job.op["step"].to_numpy()
    inside &= place < steps.size
    start = job.op["start_ns"].to_numpy()[inside]
    end = start + job.op["duration_ns"].to_numpy()[inside]
    earliest, latest = np.full((2, steps.size), start.max(initial=0))
    np.minimum.at(earliest, place[inside], start)
    latest[:] = earliest
    np.maximum.at(latest, place[inside], end)
    span: FloatArray = (latest - begin_apart(job.graph, earliest, latest)).astype(np.float64)
    return span


def measure_fidelity(job: CoupledJob) -> Fidelity:
    """Compare measured steps with a replay in which lag is not replayed.

    Replaying each op's own lag would make any graph fit, even one without edges between ranks; so
    only launch latencies (one for all launches of a kind) and recorded boundaries are kept. For
    the same reason a communication op without a recorded partner, whose waiting cannot be told
    from its transfer, is replayed with the least time an op of its class took: otherwise a graph
    without any communication would fit. Every rank's end counts, because one slow rank alone can
    set the step time and hide that the others are not coupled to it.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    Fidelity
        Errors and negative lag.
    """
    measured = measured_step_ns(job)
    known, ends = _known_ns(job), _ends(job)
    found = [_replayed_ns(job, rows, known, ends) for rows in blocks(job)]
    replayed, worst = (np.concatenate(part).astype(np.float64) for part in zip(*found, strict=True))
    error = worst / np.maximum(measured, 1.0)
    return Fidelity(
        measured_s=measured / 1e9,
        replayed_s=replayed / 1e9,
        error_ratio_median=float(np.median(error)) if error.size else 0.0,
        error_ratio_max=float(error.max(initial=0.0)),
        negative_lag_s=float(job.negative_lag_ns.sum()) / 1e9 / max(1, job.rank.height),
    )


def _known_ns(job: CoupledJob) -> tuple[NDArray[np.bool_], FloatArray]:
    """Communication ops without a partner, and the least work of each op's class."""
    lone = (job.op["kind"] == "communicate").to_numpy().copy()
    lone[job.membership["op"].to_numpy()] = False
    if not lone.any():
        return lone, np.zeros(0)
    found, op_class = compact(job.op["op_class"].to_physical().to_numpy())
    least = np.full(found.size, np.inf)
    np.minimum.at(least, op_class, np.atleast_2d(job.work_ns).min(axis=0))
    return lone, least[op_class]


def _replayed_ns(
    job: CoupledJob, rows: Any, known: tuple[NDArray[np.bool_], FloatArray], ends: _Ends
) -> tuple[TimeArray, FloatArray]:
    """Replayed steps of some runs, and the largest error of a rank's end in each of them."""
    work, (lone, least) = job.work_ns[rows], known
    timeline = replay(job.graph, work)
    replayed = step_time_ns(job.graph, timeline)
    if lone.any():
        timeline = replay(job.graph, np.where(lone, least, work))
    recorded = (job.start_ns[rows], job.duration_ns[rows])
    return replayed, _worst_rank_ns(job.graph, timeline, recorded, ends)


def _ends(job: CoupledJob) -> _Ends:
    graph = job.graph
    rank = job.op["rank"].to_numpy()[graph.op[graph.end_step_node]].astype(np.int64)
    n_rank = int(rank.max(initial=0)) + 1
    place, of_end = np.unique(graph.end_step * n_rank + rank, return_inverse=True)
    return _Ends(of_end, place // n_rank)


def _worst_rank_ns(
    graph: CouplingGraph,
    timeline: Timeline,
    recorded: tuple[NDArray[np.int64], NDArray[np.int64]],
    ends: _Ends,
) -> FloatArray:
    """Largest difference between replayed and recorded ends of the ranks, of each step."""
    start, duration = recorded
    last, first = graph.op[graph.end_step_node], graph.op[graph.begin_node]
    spans = []
    for begin, end in (
        (
            timeline.time_ns[..., graph.begin_node + 1],
            timeline.time_ns[..., graph.end_step_node + 1],
        ),
        (start[..., first], start[..., last] + duration[..., last]),
    ):
        begins = reduced(np.minimum, graph.begin_step, begin, graph.step.size)
        latest = reduced(np.maximum, graph.end_step, end, graph.step.size)
        # else a job whose hosts run ahead would have the errors of all steps before in each
        begins = begin_apart(graph, begins, latest)
        spans.append(reduced(np.maximum, ends.of_end, end, ends.step.size) - begins[..., ends.step])
    return np.asarray(
        reduced(np.maximum, ends.step, np.abs(spans[0] - spans[1]), graph.step.size)
    ).ravel()


def work_waits(job: CoupledJob) -> bool:
    """Say whether work that follows communication waits for it.

    Host lanes are filled with recorded time, so a graph that lacks these waits replays without
    error all the same; but then nothing that one rank does can reach another. Where every rank (in
    every step, where steps are not connected) ends with communication, nothing is there to wait.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    bool
        False if communications only lead to communications although work begins after them.
    """
    graph = job.graph
    talks = np.zeros(job.n_op, np.bool_)
    talks[job.membership["op"].to_numpy()] = True
    ends = np.zeros(graph.n_node + 1, np.bool_)
    ends[graph.end_node[talks] + 1] = True
    works = (graph.role != NodeRole.SYNC) & ~talks[
        np.where(graph.role == NodeRole.SYNC, 0, graph.op)
    ]
    after = ends[graph.first] | ends[graph.second]
    further = np.repeat(graph.overflow_node, np.diff(graph.overflow_start))
    waits = (after & works).any() or (ends[graph.overflow_pred] & works[further]).any()
    return bool(waits) or not _work_follows(job, talks)


def _work_follows(job: CoupledJob, talks: NDArray[np.bool_]) -> bool:
    """Whether some work was recorded to begin after a communication of its rank, on one clock."""
    group = find_places(job).group
    first_end = np.full(int(group.max(initial=0)) + 1, np.iinfo(np.int64).max)
    start = job.op["start_ns"].to_numpy()
    end = start + job.op["duration_ns"].to_numpy()
    np.minimum.at(first_end, group[talks], end[talks])
    works = ~talks & (job.op["kind"] != "marker").to_numpy() & (end > start)
    return bool((works & (start >= first_end[group])).any())
