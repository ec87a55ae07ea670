"""How well the graph explains the recording: a replay error that can fail."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple import CoupledJob, NodeRole
from loadpath.diagnose.levels import FloatArray
from loadpath.replay import Timeline, replay, step_time_ns

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
        step (the slowest rank's is the step time), over the measured step time.
    negative_lag_s : float
        Time by which ops began before a claimed predecessor ended, mean over ranks, all steps.
    """

    measured_s: FloatArray
    replayed_s: FloatArray
    error_ratio_median: float
    error_ratio_max: float
    negative_lag_s: float


def measured_step_ns(job: CoupledJob) -> FloatArray:
    """Measure each step from the earliest rank's start to the latest rank's end.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_step,) array of float64
        In the order of ``job.graph.step``, in ns.
    """
    spans = (
        job.op.filter(pl.col("step").is_in(job.graph.step.tolist()))
        .group_by("step")
        .agg(
            pl.col("start_ns").min().alias("start"),
            (pl.col("start_ns") + pl.col("duration_ns")).max().alias("end"),
        )
        .sort("step")
    )
    return (spans["end"] - spans["start"]).to_numpy().astype(np.float64)


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
    replayed = step_time_ns(job.graph, replay(job.graph, job.work_ns)).astype(np.float64)
    error = _worst_rank_ns(job, replay(job.graph, _known_work_ns(job))) / np.maximum(measured, 1.0)
    return Fidelity(
        measured_s=measured / 1e9,
        replayed_s=replayed / 1e9,
        error_ratio_median=float(np.median(error)) if error.size else 0.0,
        error_ratio_max=float(error.max(initial=0.0)),
        negative_lag_s=float(job.negative_lag_ns.sum()) / 1e9 / max(1, job.rank.height),
    )


def _known_work_ns(job: CoupledJob) -> FloatArray:
    """Work, where that of communication ops without a partner is the least of their class."""
    lone = (job.op["kind"] == "communicate").to_numpy().copy()
    lone[job.membership["op"].to_numpy()] = False
    work = job.op.select("op_class", pl.Series("work", job.work_ns, pl.Float64))
    least = work.select(pl.col("work").min().over("op_class"))["work"].to_numpy()
    return np.where(lone, least, job.work_ns)


def _worst_rank_ns(job: CoupledJob, timeline: Timeline) -> FloatArray:
    """Largest difference between replayed and recorded ends of the ranks, of each step."""
    graph = job.graph
    last, first = graph.op[graph.end_step_node], graph.op[graph.begin_node]
    start = job.op["start_ns"].to_numpy()
    ends = pl.DataFrame(
        {
            "step": graph.end_step,
            "rank": job.op["rank"].to_numpy()[last],
            "replayed": timeline.time_ns[graph.end_step_node + 1].astype(np.float64),
            "measured": (start + job.op["duration_ns"].to_numpy())[last].astype(np.float64),
        }
    )
    begins = pl.DataFrame(
        {
            "step": graph.begin_step,
            "replayed_begin": timeline.time_ns[graph.begin_node + 1].astype(np.float64),
            "measured_begin": start[first].astype(np.float64),
        }
    )
    replayed = pl.col("replayed") - pl.col("replayed_begin")
    measured = pl.col("measured") - pl.col("measured_begin")
    return (
        ends.group_by("step", "rank")
        .max()
        .join(begins.group_by("step").min(), on="step")
        .group_by("step")
        .agg((replayed - measured).abs().max().alias("worst"))
        .sort("step")["worst"]
        .to_numpy()
    )


def work_waits(job: CoupledJob) -> bool:
    """Say whether any work waits for any communication.

    Host lanes are filled with recorded time, so a graph that lacks these waits replays without
    error all the same; but then nothing that one rank does can reach another.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    bool
        False if communications only lead to communications.
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
    return bool((after & works).any() or (ends[graph.overflow_pred] & works[further]).any())
