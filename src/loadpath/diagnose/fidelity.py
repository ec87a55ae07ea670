"""How well the graph explains the recording: a replay error that can fail."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple import CoupledJob
from loadpath.diagnose.levels import FloatArray
from loadpath.replay import replay, step_time_ns

__all__ = ["Fidelity", "measure_fidelity", "measured_step_ns"]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Replay of measured durations against the measured steps.

    Attributes
    ----------
    measured_s, replayed_s : (n_step,) arrays of float64
        Step times, earliest start to latest end.
    error_ratio_median, error_ratio_max : float
        Of ``|replayed - measured| / measured`` over steps.
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
    only launch latencies (one for all launches of a kind) and recorded boundaries are kept.

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
    error = np.abs(replayed - measured) / np.maximum(measured, 1.0)
    return Fidelity(
        measured_s=measured / 1e9,
        replayed_s=replayed / 1e9,
        error_ratio_median=float(np.median(error)) if error.size else 0.0,
        error_ratio_max=float(error.max(initial=0.0)),
        negative_lag_s=float(job.negative_lag_ns.sum()) / 1e9 / max(1, job.rank.height),
    )
