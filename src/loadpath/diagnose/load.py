r"""Growing load: the same job with slower transfers, or with later launches.

Under a load f every transfer takes f times as long (or every launch delay does). Step time is convex
and piecewise linear in f: flat as long as slack absorbs, as steep as what is then critical after.
Where the first tangent meets the last is the *knee*: slack is exhausted there.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob, NodeRole
from loadpath.diagnose.delay import Loaded
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.resampling import Estimate, resample, spread
from loadpath.replay import Scenarios, replay_scenarios

__all__ = ["FACTORS", "LOADS", "LoadCurve", "load_base_ns", "load_curve", "load_delta_ns"]

LOADS = ("transfers", "launches")
"""What can be made heavier."""
FACTORS = (1.25, 1.5, 2.0)
"""Loads under which the whole vector is given."""
DRAWN = (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Loads of the drawn curve."""
HEAVIEST = 100.0
"""Load at which the last tangent is taken; a knee beyond it is none."""
STEEPER = 1.01
"""A last tangent less steep than this many times the first is no knee; rounding makes less."""

IntArray = NDArray[np.int64]


class LoadCurve(NamedTuple):
    """Step time against load.

    Attributes
    ----------
    factor : (n_load,) array of float64
        Loads.
    step_s : (n_load,) array of float64
        Mean steps.
    gain : (n_load,) array of float64
        Seconds of step for each second that a rank's loaded work grows by, on the mean of ranks,
        from this load to the next.
    knee : Estimate
        Load at which slack is exhausted; NaN where the curve has no knee.
    exhausted : bool
        True if there is no knee because there is no slack to begin with.
    """

    factor: FloatArray
    step_s: FloatArray
    gain: FloatArray
    knee: Estimate
    exhausted: bool


def load_delta_ns(job: CoupledJob, load: str, is_transfer: NDArray[np.bool_]) -> FloatArray:
    """Say what each node takes more where a load doubles.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    load : {"transfers", "launches"}
        What grows: the transfers of communications, or the delays between a launch (or the last
        predecessor) and the start of an op on a device or communication lane.
    is_transfer : (n_op,) array of bool
        Members of communications.

    Returns
    -------
    (n_node,) array of float64
        In ns; all 0 where the recording has none of it.
    """
    graph = job.graph
    delta = np.zeros(graph.n_node)
    if load == "transfers":
        delta[graph.end_node] = np.where(is_transfer, job.work_ns, 0)
        return delta
    delta += load_base_ns(job, load)
    launched = graph.role == NodeRole.LAUNCH
    delta[launched] += graph.fixed_ns[launched]
    return delta


def load_base_ns(job: CoupledJob, load: str) -> FloatArray:
    """Say what of a load the replay of the recorded job leaves out: lag is not replayed.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    load : {"transfers", "launches"}
        What grows.

    Returns
    -------
    (n_node,) array of float64
        In ns; to be added so that load 1 is the job as recorded.
    """
    base = np.zeros(job.graph.n_node)
    if load == "launches":
        base[job.graph.start_node] = job.lag_ns
    return base


def load_curve(loaded: Loaded, delta_ns: FloatArray, weights: FloatArray) -> LoadCurve:
    """Replay a growing load.

    Parameters
    ----------
    loaded : Loaded
        The job as recorded.
    delta_ns : (n_node,) array of float64
        Result of `load_delta_ns`.
    weights : (n_resample, n_step) array of float64
        Resampled steps.

    Returns
    -------
    LoadCurve
        Step times, gains and the knee.
    """
    ends = np.array([1.0 + 1e-3, HEAVIEST - 1.0, HEAVIEST])
    factor = np.concatenate([DRAWN, ends])
    job = loaded.job
    scenarios = Scenarios(
        delta_ns, np.zeros(job.graph.n_node, np.int64), (factor - 1)[None], by_node=True
    )
    timed = replay_scenarios(job.graph, loaded.timeline, scenarios, layout=loaded.layout) / 1e9
    n, drawn = len(DRAWN), resample(weights, timed) / max(1, len(timed))
    mean = timed.mean(axis=0)
    per_rank = float(delta_ns.sum()) / 1e9 / max(1, job.rank.height * job.graph.step.size)
    gain = np.append(
        np.diff(mean[:n]) / np.diff(factor[:n]), (mean[-1] - mean[n - 1]) / (HEAVIEST - DRAWN[-1])
    )
    knee = Estimate(float(_knees(mean[None])[0]), *spread(_knees(drawn)))
    first, last = _slopes(mean[None])
    exhausted = bool(first[0] > 0 and last[0] <= STEEPER * first[0])
    return LoadCurve(factor[:n], mean[:n], gain / per_rank, knee, exhausted)


def _slopes(step_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """First and last slope of each curve (a row)."""
    n = len(DRAWN)
    return (step_s[:, n] - step_s[:, 0]) / 1e-3, step_s[:, -1] - step_s[:, -2]


def _knees(step_s: FloatArray) -> FloatArray:
    """Load at which the first tangent of each curve meets its last."""
    first, last = _slopes(step_s)
    steeper = last > STEEPER * np.maximum(first, 0.0)
    rise = np.where(steeper, last - first, 1.0)
    met = 1 + (step_s[:, 0] - (step_s[:, -1] - (HEAVIEST - 1) * last)) / rise
    return np.where(steeper & (met < HEAVIEST), np.maximum(met, 1.0), np.nan)
