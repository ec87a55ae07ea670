"""Evidence from size: one unit that dwarfs all others in every step."""

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import compact
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.medians import reduced

__all__ = ["any_of", "dominance_p_values", "excess_by_step"]

FLOOR_S = 1e-6
"""Excess below a microsecond a step is not told from none."""


def excess_by_step(
    job: CoupledJob, unit: NDArray[np.int32], units: NDArray[np.int64], residual_ns: FloatArray
) -> FloatArray:
    """Sum residuals over units and steps.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    unit : (n_op,) array of int32
        Unit of each op, negative for none.
    units : (n_unit,) array of int64
        Units, ascending.
    residual_ns : (n_op,) or (n_run, n_op) array of float64
        Work less level, in ns.

    Returns
    -------
    (n_unit, n_step) array of float64
        Seconds, in the order of ``job.step_number``.
    """
    if job.runs is not None:
        mine = np.flatnonzero(unit >= 0)
        known, number = compact(unit[mine])
        excess = np.zeros((units.size, job.n_run))
        total = reduced(np.add, number, np.take(residual_ns, mine, axis=-1), known.size)
        excess[np.searchsorted(units, known)] = total.T / 1e9
        return excess
    steps = job.graph.step
    step = job.op["step"].to_numpy()
    place = np.searchsorted(steps, step)
    inside = (unit >= 0) & (place < steps.size)
    inside[inside] = steps[place[inside]] == step[inside]
    row = np.searchsorted(units, unit[inside])
    cell = row * steps.size + place[inside]
    total = np.bincount(cell, residual_ns[inside], minlength=units.size * steps.size)
    return (total / 1e9).reshape(units.size, steps.size)


def dominance_p_values(excess_s: FloatArray) -> FloatArray:
    r"""Probability that chance alone lets a unit exceed all others by so much in every step.

    Shuffling says little where steps are few, however large an excess is. Let the noise be of any
    law whose tail is no heavier than that of a Pareto law of index 1 (its mean is infinite): then
    the largest of a step exceeds the second largest :math:`\rho` times with a probability of at
    most :math:`1/\\rho`, and the same unit of n leads in all K steps with

    .. math:: p \le n^{-(K-1)} \prod_k 1/\rho_k .

    Parameters
    ----------
    excess_s : (n_unit, n_step) array of float64
        Excess of each unit in each step, in s.

    Returns
    -------
    (n_unit,) array of float64
        p-values; 1 for all units but the one that leads in every step.

    References
    ----------
    .. [1] H. A. David, H. N. Nagaraja, "Order Statistics", Wiley, 2003: ratios of successive
       order statistics of a Pareto law are independent and Pareto.

    Examples
    --------
    >>> excess = np.array([[0.1, -0.1], [10.0, 8.0], [0.2, 0.1]])
    >>> dominance_p_values(excess).round(6).tolist()
    [1.0, 8.3e-05, 1.0]
    """
    n_unit, n_step = excess_s.shape
    p = np.ones(n_unit)
    if n_unit < 2 or not n_step:
        return p
    leader = int(excess_s[:, 0].argmax())
    others = np.maximum(np.abs(np.delete(excess_s, leader, axis=0)).max(axis=0), FLOOR_S)
    ratio = excess_s[leader] / others
    if (ratio > 1).all():
        p[leader] = float(np.exp(-(n_step - 1) * np.log(n_unit) - np.log(ratio).sum()))
    return p


def any_of(by_chance: FloatArray, *others: FloatArray) -> FloatArray:
    """Combine tests of the same units, so that any may be significant.

    Parameters
    ----------
    by_chance : (n_unit,) array of float64
        p-values of shuffles; half of the error rate is theirs.
    *others : (n_unit,) arrays of float64
        p-values of further tests, which share the other half.

    Returns
    -------
    (n_unit,) array of float64
        Family-wise p-values (weighted Bonferroni), at most 1.

    Examples
    --------
    >>> any_of(np.array([0.01, 1.0]), np.array([1.0, 1.0]), np.array([0.5, 0.001])).tolist()
    [0.02, 0.004]
    """  # numpydoc ignore=PR01,PR02
    further = 2.0 * len(others) * np.min(others, axis=0)
    return np.asarray(np.minimum(1.0, np.minimum(2.0 * by_chance, further)))
