"""Failures of a job: how often, how much time they take, and how often to checkpoint."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import InputError, UsageError
from loadpath.forecast.least_squares import fit_ratios

__all__ = [
    "Accounting",
    "Failures",
    "account_run",
    "best_interval_s",
    "ettr_ratio",
    "fit_failure_rate",
    "job_mttf_s",
    "young_daly_s",
]

Array = NDArray[np.float64]
S_PER_DAY = 86_400
NEVER_S = 1e12
"""Mean time between failures that stands for none: 30,000 years."""
SEARCH = np.geomspace(0.05, 20.0, 61)
"""Multiples of Young and Daly's interval among which the best one is sought."""


@dataclass(frozen=True, slots=True)
class Failures:
    """How a job fails and what a failure costs.

    Rates and times may be arrays, such as one of shape (n_world, 1) for sampled worlds.

    Attributes
    ----------
    per_node_day : float or ndarray of float
        Failures that stop the job, per node and day.
    per_job_day : float or ndarray of float
        Failures that do not grow with the job (software, operators, storage), per day.
    checkpoint_s : float or ndarray of float
        Time for which a checkpoint stops the job.
    recovery_s : float or ndarray of float
        Time from a failure to the first step after it: detection, replacement, start, loading.
    interval_s : float or None
        Time between checkpoints; None takes the best one.
    n_gpu_per_node : int
        Accelerators of a node.
    """

    per_node_day: float | Array
    per_job_day: float | Array = 0.0
    checkpoint_s: float | Array = 30.0
    recovery_s: float | Array = 600.0
    interval_s: float | None = None
    n_gpu_per_node: int = 8

    def __post_init__(self) -> None:
        values = {
            "per_node_day": self.per_node_day,
            "per_job_day": self.per_job_day,
            "checkpoint_s": self.checkpoint_s,
            "recovery_s": self.recovery_s,
        }
        problems = [
            f"{name} is {value}, not a number from 0"
            for name, value in values.items()
            if not np.all(np.isfinite(value) & (np.asarray(value) >= 0))
        ]
        if self.interval_s is not None and not self.interval_s > 0:
            problems.append(f"interval_s is {self.interval_s}, not above 0")
        if self.n_gpu_per_node < 1:
            problems.append(f"n_gpu_per_node is {self.n_gpu_per_node}, not from 1")
        if problems:
            raise InputError("failures", problems, "Give rates per day and times in seconds.")


@dataclass(frozen=True, slots=True)
class Accounting:
    """Where the time of a run goes; the four parts are all of it, as a clock of its own shows.

    Attributes
    ----------
    productive_s : ndarray of float
        Steps that count.
    blocked_s : ndarray of float
        Stopped for a checkpoint.
    discarded_s : ndarray of float
        Done, and lost by a failure.
    unavailable_s : ndarray of float
        From a failure to the first step after it.
    total_s : ndarray of float
        From start to end, told apart from the parts.
    """

    productive_s: Array
    blocked_s: Array
    discarded_s: Array
    unavailable_s: Array
    total_s: Array

    @property
    def ettr_ratio(self) -> Array:
        """Effective training time ratio: productive time over all time."""
        return self.productive_s / self.total_s


def job_mttf_s(n_gpu: ArrayLike, failures: Failures) -> Array:
    """Mean time between failures of a job: nodes in series, and what does not grow with them.

    Parameters
    ----------
    n_gpu : array_like
        Accelerators.
    failures : Failures
        Rates.

    Returns
    -------
    ndarray of float
        Seconds; infinite where nothing fails.

    Examples
    --------
    16,384 accelerators at 6.5 failures per 1,000 node-days (RSC-1 projects 1.8 h):

    >>> round(float(job_mttf_s(16384, Failures(6.5e-3))) / 3600, 2)
    1.8
    """
    nodes = np.ceil(np.asarray(n_gpu, dtype=np.float64) / failures.n_gpu_per_node)
    per_day = failures.per_node_day * nodes + failures.per_job_day
    with np.errstate(divide="ignore"):
        return np.asarray(S_PER_DAY / per_day, dtype=np.float64)


def fit_failure_rate(n_node: ArrayLike, mttf_s: ArrayLike) -> tuple[float, float]:
    """Fit failures per node and per job to measured times between failures.

    Parameters
    ----------
    n_node, mttf_s : array_like, shape (n_point,)
        Nodes of each job size, and its mean time between failures.

    Returns
    -------
    per_node_day, per_job_day : float
        Rates, none below 0.

    Raises
    ------
    InputError
        If sizes or times are not above 0, or there is a single size.

    Examples
    --------
    >>> per_node, per_job = fit_failure_rate([100, 1000], [86400 / 3, 86400 / 12])
    >>> round(per_node, 6), round(per_job, 6)
    (0.01, 2.0)
    """
    nodes, times = (np.asarray(value, dtype=np.float64) for value in (n_node, mttf_s))
    if len(nodes) != len(times) or len(np.unique(nodes)) < 2 or not np.all([nodes > 0, times > 0]):
        what = "times between failures of fewer than two job sizes, or not above 0"
        raise InputError("failure rates", what, "Give nodes and seconds of two sizes or more.")
    parts = np.stack([nodes, np.ones_like(nodes)], axis=1)
    per_node, per_job = fit_ratios(parts, S_PER_DAY / times)
    return float(per_node), float(per_job)


def young_daly_s(mttf_s: ArrayLike, checkpoint_s: ArrayLike) -> Array:
    """Interval between checkpoints that loses least, to second order.

    Parameters
    ----------
    mttf_s, checkpoint_s : array_like
        Mean time between failures; time that a checkpoint takes.

    Returns
    -------
    ndarray of float
        Seconds of work between checkpoints; never below the checkpoint's own time.

    References
    ----------
    .. [1] J. W. Young, "A first order approximation to the optimum checkpoint interval", CACM 1974.
    .. [2] J. T. Daly, "A higher order estimate of the optimum checkpoint interval", FGCS 2006.

    Examples
    --------
    >>> round(float(young_daly_s(10_000, 30)))
    755
    """
    mttf, cost = (np.asarray(value, dtype=np.float64) for value in (mttf_s, checkpoint_s))
    ratio = np.sqrt(cost / (2 * mttf))
    interval = np.sqrt(2 * cost * mttf) * (1 + ratio / 3 + ratio**2 / 9) - cost
    return np.asarray(np.maximum(np.where(cost < 2 * mttf, interval, mttf), np.maximum(cost, 1e-3)))


def account_run(
    work_s: ArrayLike, mttf_s: ArrayLike, failures: Failures, interval_s: ArrayLike | None = None
) -> Accounting:
    """Account for a run with failures, in expectation.

    Parameters
    ----------
    work_s : array_like
        Productive time that the run needs.
    mttf_s : array_like
        Mean time between its failures.
    failures : Failures
        Costs of checkpoints and of recovery, which may fail too.
    interval_s : array_like, optional
        Work between checkpoints; by default that of `failures`, or the best one.

    Returns
    -------
    Accounting
        Expected seconds; the sum is the expected length of the run, infinite where it would not end.

    Raises
    ------
    UsageError
        If there is no work.

    References
    ----------
    .. [1] J. T. Daly, FGCS 2006: failures that arrive without memory, during work, checkpoints and restarts.

    Examples
    --------
    >>> run = account_run(1e6, 10_000.0, Failures(0, checkpoint_s=30, recovery_s=600))
    >>> round(float(run.ettr_ratio), 3)
    0.871
    """
    mttf = np.minimum(np.asarray(mttf_s, dtype=np.float64), NEVER_S)
    if interval_s is None:
        interval_s = failures.interval_s or best_interval_s(mttf, failures)
    work = np.asarray(work_s, dtype=np.float64)
    if not np.all(work > 0):
        raise UsageError("run: give the productive time that it needs, above 0.")
    interval = np.minimum(np.asarray(interval_s, dtype=np.float64), work)
    segment = interval + failures.checkpoint_s
    n_segment = work / interval
    with np.errstate(over="ignore"):
        n_failure = np.expm1(segment / mttf)
        recovery = mttf * np.expm1(failures.recovery_s / mttf)
    lost = np.maximum(mttf * n_failure - segment, 0.0)
    return Accounting(
        work + 0 * mttf,
        n_segment * failures.checkpoint_s + 0 * mttf,
        n_segment * lost,
        n_segment * n_failure * recovery,
        # Daly's sum in one: not the sum of the parts, which must meet it.
        n_segment * n_failure * (mttf + recovery),
    )


def best_interval_s(mttf_s: ArrayLike, failures: Failures) -> Array:
    """Interval between checkpoints with the least expected loss.

    Parameters
    ----------
    mttf_s : array_like
        Mean time between failures.
    failures : Failures
        Costs of checkpoints and recovery.

    Returns
    -------
    ndarray of float
        Seconds; near `young_daly_s`, and exact where failures are as frequent as checkpoints.
    """
    mttf = np.minimum(np.asarray(mttf_s, dtype=np.float64), NEVER_S)
    tried = young_daly_s(mttf, failures.checkpoint_s)[..., None] * SEARCH
    rate = 1 / mttf[..., None]
    with np.errstate(over="ignore"):
        checkpoint = np.asarray(failures.checkpoint_s, dtype=np.float64)[..., None]
        per_work = np.expm1((tried + checkpoint) * rate) / tried
    best = per_work.argmin(axis=-1)
    return np.asarray(np.take_along_axis(tried, best[..., None], axis=-1)[..., 0])


def ettr_ratio(n_gpu: ArrayLike, failures: Failures) -> Array:
    """Effective training time ratio of a long run.

    Parameters
    ----------
    n_gpu : array_like
        Accelerators.
    failures : Failures
        Rates and costs.

    Returns
    -------
    ndarray of float
        Productive time over all time, in expectation.

    Examples
    --------
    >>> ettr_ratio([8, 16384], Failures(6.5e-3)).round(3).tolist()
    [0.998, 0.827]
    """
    mttf = job_mttf_s(n_gpu, failures)
    return account_run(1e9, mttf, failures).ettr_ratio
