"""Luck on processors that threads share: it outlasts a recording, so its steps are one draw, not many."""

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.levels import ONE_PROGRAM, FloatArray
from loadpath.diagnose.lone_events import exceeds_others
from loadpath.diagnose.significance import ALPHA

__all__ = ["luck_of_units", "luck_p_values", "on_processors"]

FEWEST_TOP, MOST_TOP = 3, 50
"""Largest values that tell the tail of noise: a tenth of all, within these bounds."""
LUCK_P = 0.02
"""Family-wise error among jobs in which luck lasts, a stated policy: a unit must exceed the noise of steps too,
so that the `ALPHA` of the other tests holds even if a quarter of all jobs had such luck."""
FLOOR_S = 1e-6
"""Excess below a microsecond a step is not told from none."""


def on_processors(job: CoupledJob) -> bool:
    """Say whether a job's ranks compute on processors, which a scheduler gives to threads as they come.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    bool
        True of traces with host threads and without any device. Processes of MPI, which are bound to
        processors of their own, are not meant.
    """
    kinds = set(job.lane["kind"].cast(str).to_list())
    return job.source in ONE_PROGRAM and "host" in kinds and "device" not in kinds


def luck_of_units(job: CoupledJob, excess_s: FloatArray) -> FloatArray:
    """Weigh luck that lasts against the other tests of units, where the job is one that it can strike.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    excess_s : (n_unit, n_step) array of float64
        Excess of each unit in each step, in s.

    Returns
    -------
    (n_unit,) array of float64
        Result of `luck_p_values` of a job that computes on processors, scaled so that `LUCK_P` is the
        level `ALPHA` of the other tests; 0 of other jobs.
    """
    if not on_processors(job):
        return np.zeros(len(excess_s))
    return np.asarray(np.minimum(1.0, luck_p_values(excess_s) * (ALPHA / LUCK_P)))


def luck_p_values(excess_s: FloatArray) -> FloatArray:
    r"""Probability that one step of the others' noise, lasting for the whole recording, is as long.

    Where a process lies, and what else runs there, a scheduler leaves for as long as it can: often for
    longer than a recording. Then all steps of a unit, or of the two ends of a link, are long for one
    reason that is none of its own, and however many they are, they are one draw. That draw is from the
    law of what the other units' single steps take: :math:`k` of :math:`N` of them exceed the limit
    :math:`u`, by a mean of :math:`s`, and so a new one exceeds :math:`u + g` with the probability

    .. math:: p = n \frac{k}{N} \left(1 + \frac{g}{k s}\right)^{-k},

    that of an exponential tail whose scale is known from :math:`k` values only, over n units.

    Parameters
    ----------
    excess_s : (n_unit, n_step) array of float64
        Excess of each unit in each step, in s.

    Returns
    -------
    (n_unit,) array of float64
        Family-wise p-values of the mean step of each unit, its longest left out: one slow op accuses
        nobody. 1 where under two steps of others are known.

    Notes
    -----
    Other units that exceed the middle of all in most steps are left out, so that one culprit does not
    hide another, unless none is left.

    References
    ----------
    .. [1] I. Weissman, "Estimation of parameters and large quantiles based on the k largest
       observations", Journal of the American Statistical Association 73, 1978.

    Examples
    --------
    >>> excess = np.random.default_rng(1).exponential(size=(4, 20))
    >>> excess[2] += 3.0
    >>> excess[3] += 30.0
    >>> luck_p_values(excess).round(4).tolist()
    [1.0, 1.0, 0.2709, 0.0018]
    """
    n_unit, n_step = excess_s.shape
    p = np.ones(n_unit)
    slow = exceeds_others(excess_s) if n_step > 1 else np.zeros(n_unit, np.bool_)
    for unit in range(n_unit):
        apart = np.arange(n_unit) != unit
        others = excess_s[apart & ~slow] if (apart & ~slow).any() else excess_s[apart]
        if others.size > 1:
            p[unit] = min(1.0, n_unit * _tail(_usual(excess_s[unit]), others))
    return p


def _usual(excess_s: FloatArray) -> float:
    """Mean of the steps of a unit, without the longest."""
    most = max(float(excess_s.max()), 0.0) if excess_s.size > 1 else 0.0
    return (float(excess_s.sum()) - most) / max(1, excess_s.size - 1)


def _tail(value: float, noise: NDArray[np.float64]) -> float:
    """Probability that one more value of the same noise is as large."""
    n_top = min(max(FEWEST_TOP, noise.size // 10), MOST_TOP, noise.size - 1)
    top = np.sort(noise, axis=None)[::-1][: n_top + 1]
    if value <= top[-1]:
        return 1.0
    scale = max(float((top[:-1] - top[-1]).mean()), FLOOR_S)
    return float(n_top / noise.size * (1 + (value - top[-1]) / (n_top * scale)) ** -n_top)
