"""How far steps vary with the mean work of all ranks: a control variate for what noise costs."""

import numpy as np

from loadpath.couple import CoupledJob
from loadpath.diagnose import group_kernels
from loadpath.diagnose.labels import compact, sum_by
from loadpath.diagnose.levels import FloatArray

__all__ = ["mean_work_s", "sway"]


def mean_work_s(job: CoupledJob, work_ns: FloatArray) -> FloatArray:
    """Sum own work in each step, as the mean over ranks.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Its work; transfers are left out.

    Returns
    -------
    (n_step,) array of float64
        Seconds, in the order of ``job.step_number``.
    """
    own = np.ones(job.n_op, np.bool_)
    own[job.membership["op"].to_numpy()] = False
    scale = 1e9 * max(1, job.rank.height)
    if job.runs is not None:
        total = np.zeros(job.n_run)
        group_kernels.add_up(np.flatnonzero(own), np.ascontiguousarray(work_ns), total)
        return total / scale
    step, known = job.op["step"].to_numpy(), job.graph.step
    mine = np.flatnonzero(own & np.isin(step, known))
    found, number = compact(step[mine])
    total = np.zeros(known.size)
    total[np.searchsorted(known, found)] = sum_by(number, work_ns[mine], found.size)
    return np.asarray(total / scale)


def sway(value: FloatArray, work: FloatArray) -> FloatArray:
    """Part of a figure of steps that goes with the work that all ranks share; its mean is 0.

    Taking it off leaves the mean of the figure as it is, and narrows its interval: how much ranks do in
    a step says nothing of how they differ in it.

    Parameters
    ----------
    value : (n_step,) array of float64
        The figure.
    work : (n_step,) array of float64
        Result of `mean_work_s`.

    Returns
    -------
    (n_step,) array of float64
        Its regression on the work; zeros where that does not vary.

    References
    ----------
    .. [1] S. S. Lavenberg, P. D. Welch, "A perspective on the use of control variables to increase the
       efficiency of Monte Carlo simulations", Management Science 27, 1981.

    Examples
    --------
    >>> sway(np.array([5.0, 7.0, 9.0]), np.array([1.0, 2.0, 3.0])).tolist()
    [-2.0, 0.0, 2.0]
    """
    off = work - work.mean() if work.size else work
    square = float((off * off).sum())
    if square <= 0:
        return np.zeros(value.size)
    return np.asarray(float((off * value).sum()) / square * off)
