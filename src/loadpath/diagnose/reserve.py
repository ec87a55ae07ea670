r"""Reserve: by how much work of one class may grow before the step breaks a bound.

With the work of a class x times its own more, the step time T(x) is convex and piecewise linear (a
maximum of sums). The reserve is the smallest x with :math:`T(x) = (1 + b) T(0)`: found on a grid of
replays, then on a finer one around the crossing.
"""

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.delay import Loaded
from loadpath.diagnose.labels import compact, numbered
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.resampling import Estimate, resample, spread
from loadpath.replay import Scenarios, replay_scenarios

__all__ = ["LARGEST_GROWTH", "find_reserves", "work_classes"]

LARGEST_GROWTH = 100.0
"""A class that may grow this many times over breaks no bound."""
LEAST_GROWTH = 1e-3
N_POINT = 16
"""Growths on each of the two grids of a class."""
MOST_NAMES = 16
"""Op names are classes where there are at most this many; else kinds and collectives are."""

IntArray = NDArray[np.int64]


def work_classes(job: CoupledJob, is_transfer: NDArray[np.bool_]) -> tuple[IntArray, list[str]]:
    """Group ops into the classes that reserves and gains are given for.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    is_transfer : (n_op,) array of bool
        Members of communications.

    Returns
    -------
    code : (n_op,) array of int64
        Class of each op.
    names : list of str
        Names of the classes: op names where they are few, else kinds of op and collectives.
    """
    code, names = numbered(job.op["name"])
    if len(names) <= MOST_NAMES:
        return code.astype(np.int64), names
    kind, kinds = numbered(job.op["kind"])
    collective, collectives = numbered(job.op["collective"])
    named = [c or "communicate" for c in collectives]
    number, place = compact(np.where(is_transfer, len(kinds) + collective, kind))
    return place.astype(np.int64), [[*kinds, *named][i] for i in number]


def find_reserves(
    loaded: Loaded, delta_ns: FloatArray, code: IntArray, *, bound: float, weights: FloatArray
) -> list[Estimate]:
    """Find by how much each class may grow.

    Parameters
    ----------
    loaded : Loaded
        Job under some load; the bound is relative to its own mean step.
    delta_ns : (n_op,) array of float64
        What each op grows by where its class doubles: its work, or 0 if it does not count.
    code : (n_op,) array of int64
        Class of each op, from 0.
    bound : float
        By how much the mean step may grow, as a share.
    weights : (n_resample, n_step) array of float64
        Resampled steps.

    Returns
    -------
    list of Estimate
        Growth of each class as a share of its work; NaN beyond `LARGEST_GROWTH`.
    """
    n_class = int(code.max(initial=-1)) + 1
    coarse = np.tile(np.geomspace(LEAST_GROWTH, LARGEST_GROWTH, N_POINT), (n_class, 1))
    curves = _replay(loaded, delta_ns, code, coarse)
    mean = curves.mean(axis=0)
    target = (1 + bound) * float(loaded.step_s.mean())
    fine = np.array([_around(coarse[c], mean[c], target) for c in range(n_class)])
    finer = _replay(loaded, delta_ns, code, fine.reshape(n_class, N_POINT))
    return [
        _reserve(loaded, coarse[c], curves[:, c], (fine[c], finer[:, c]), bounded=(bound, weights))
        for c in range(n_class)
    ]


def _around(growth: FloatArray, mean_s: FloatArray, target_s: float) -> FloatArray:
    """Finer grid about the place where a curve crosses the target."""
    at = int((mean_s < target_s).sum())
    low = growth[at - 2] if at >= 2 else 0.0
    return np.linspace(low, growth[min(at + 1, growth.size - 1)], N_POINT)


def _replay(
    loaded: Loaded, delta_ns: FloatArray, code: IntArray, growth: FloatArray
) -> NDArray[np.float64]:
    """Step times at every growth of every class: (n_step, n_class, n_point), in s."""
    n_class, n_point = growth.shape
    scale = np.zeros((n_class, n_class, n_point))
    scale[np.arange(n_class), np.arange(n_class)] = growth
    scenarios = Scenarios(delta_ns, code, scale.reshape(n_class, n_class * n_point))
    timed = replay_scenarios(loaded.job.graph, loaded.timeline, scenarios, layout=loaded.layout)
    return timed.reshape(-1, n_class, n_point) / 1e9


def _reserve(
    loaded: Loaded,
    growth: FloatArray,
    step_s: FloatArray,
    further: tuple[FloatArray, FloatArray],
    *,
    bounded: tuple[float, FloatArray],
) -> Estimate:
    """Cross the bound on both grids together, for all steps and for every resample of them."""
    bound, weights = bounded
    all_growth = np.concatenate([[0.0], growth, further[0]])
    order = np.argsort(all_growth, kind="stable")
    curve = np.hstack([loaded.step_s[:, None], step_s, further[1]])[:, order]
    x = all_growth[order]
    value = float(_cross(x, curve.mean(axis=0)[None], bound)[0])
    drawn = _cross(x, resample(weights, curve) / max(1, len(curve)), bound)
    return Estimate(value, *spread(drawn))


def _cross(x: FloatArray, curves: FloatArray, bound: float) -> FloatArray:
    """Smallest x at which each curve (a row) exceeds its own beginning by the bound."""
    target = (1 + bound) * curves[:, 0]
    over = curves >= target[:, None]
    at = np.maximum(over.argmax(axis=1), 1)
    row = np.arange(len(curves))
    low, high = curves[row, at - 1], curves[row, at]
    rise = np.where(high > low, high - low, 1.0)
    crossed = x[at - 1] + (x[at] - x[at - 1]) * (target - low) / rise
    return np.where(over.any(axis=1), crossed, np.nan)
