"""From step time to the whole job: convergence, evaluation, start-up."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import InputError
from loadpath.forecast.least_squares import Fit, fit_parts

__all__ = ["JobPlan", "fit_convergence", "fit_duration", "job_time_s"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class JobPlan:
    """What a job has to do, whatever it runs on.

    Attributes
    ----------
    n_step_least : float
        Steps to the target however large the batch.
    critical_batch : float
        Batch at which twice as many steps are needed; with batches far below it the job needs
        ``n_step_least * critical_batch`` samples, whatever the batch.
    evaluate_every : float or None
        Samples between evaluations, None for no evaluation.
    evaluation_s : float
        Time of one evaluation on one accelerator's worth of work spread over all: seconds x accelerators.
    evaluation_floor_s : float
        Time of an evaluation that more accelerators do not shorten.
    startup_s : float
        Time from the allocation to the first step.
    batch_now : float or None
        Batch of which a sample is worth one; None where all are worth the same.
    """

    n_step_least: float
    critical_batch: float
    evaluate_every: float | None = None
    evaluation_s: float = 0.0
    evaluation_floor_s: float = 0.0
    startup_s: float = 0.0
    batch_now: float | None = None

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in self.__slots__}
        problems = [
            f"{name} is {value}"
            for name, value in values.items()
            if value is not None and not (np.isfinite(value) and value >= 0)
        ]
        if not self.n_step_least + self.critical_batch > 0:
            problems.append("no step is to be done")
        if self.evaluate_every == 0:
            problems.append("evaluate_every is 0 samples")
        if problems:
            raise InputError("job plan", problems, "Give steps, samples and seconds from 0.")

    def n_step(self, batch: ArrayLike) -> Array:
        """Give the steps to the target.

        Parameters
        ----------
        batch : array_like
            Samples in a step.

        Returns
        -------
        ndarray of float
            Steps.

        References
        ----------
        .. [1] S. McCandlish et al., "An Empirical Model of Large-Batch Training", arXiv 1812.06162.

        Examples
        --------
        >>> JobPlan(100, 2000).n_step([500, 2000, 1_000_000]).round(1).tolist()
        [500.0, 200.0, 100.2]
        """
        return np.asarray(
            self.n_step_least * (1 + self.critical_batch / np.asarray(batch, dtype=np.float64))
        )

    def worth(self, batch: ArrayLike) -> Array:
        """Say how much of a sample of the present batch one of another batch is worth.

        Parameters
        ----------
        batch : array_like
            Samples in a step.

        Returns
        -------
        ndarray of float
            Samples to the target with the present batch, over those with the other.

        Examples
        --------
        >>> JobPlan(100, 2000, batch_now=2000).worth([2000, 6000]).round(9).tolist()
        [1.0, 0.5]
        """
        sizes = np.asarray(batch, dtype=np.float64)
        if self.batch_now is None:
            return np.ones_like(sizes)
        return np.asarray(
            self.n_step(self.batch_now) * self.batch_now / (self.n_step(sizes) * sizes)
        )


def job_time_s(plan: JobPlan, n_gpu: ArrayLike, batch: ArrayLike, step_s: ArrayLike) -> Array:
    """Time of a whole job without failures.

    Parameters
    ----------
    plan : JobPlan
        What it has to do.
    n_gpu, batch, step_s : array_like
        Accelerators, samples in a step, time of a step; broadcast against each other.

    Returns
    -------
    ndarray of float
        Seconds from the allocation to the end.

    Examples
    --------
    >>> plan = JobPlan(100, 2000, evaluate_every=20_000, evaluation_s=640, startup_s=60)
    >>> job_time_s(plan, 64, 2000, 1.5).tolist()
    560.0
    """
    steps = plan.n_step(batch)
    n_gpu = np.asarray(n_gpu, dtype=np.float64)
    time = plan.startup_s + steps * np.asarray(step_s, dtype=np.float64)
    if plan.evaluate_every is None:
        return np.asarray(time)
    n_evaluation = np.floor(steps * np.asarray(batch) / plan.evaluate_every)
    return np.asarray(time + n_evaluation * (plan.evaluation_floor_s + plan.evaluation_s / n_gpu))


def fit_convergence(batch: ArrayLike, n_step: ArrayLike) -> tuple[float, float, Fit]:
    """Fit steps to the target against the batch.

    Parameters
    ----------
    batch, n_step : array_like, shape (n_point,)
        Samples in a step, and steps that runs with it needed.

    Returns
    -------
    n_step_least, critical_batch : float
        Of `JobPlan`; where no least number of steps shows, one step and the samples as critical batch.
    fit : Fit
        Errors on batches left out.

    Raises
    ------
    InputError
        If there is no point, or one that is not above 0.

    Examples
    --------
    >>> least, critical, _ = fit_convergence([500, 1000, 2000], [500, 300, 200])
    >>> round(least, 3), round(critical)
    (100.0, 2000)
    """
    sizes, steps = (np.asarray(value, dtype=np.float64) for value in (batch, n_step))
    if not (len(sizes) == len(steps) > 0 and np.all(sizes > 0) and np.all(steps > 0)):
        what = "batches or steps that are missing or not above 0"
        raise InputError("convergence", what, "Give samples in a step and steps of each run.")
    parts = np.stack([np.ones_like(sizes), 1 / sizes], axis=1)
    fit = fit_parts(parts, steps, sizes.tolist())
    least, samples = (float(value) for value in fit.coefficients)
    least = least if least > 0 else 1.0
    return least, samples / least, fit


def fit_duration(n_gpu: ArrayLike, duration_s: ArrayLike) -> tuple[float, float, Fit]:
    """Fit a time that accelerators share in part: evaluation, start-up.

    Parameters
    ----------
    n_gpu, duration_s : array_like, shape (n_point,)
        Accelerators and seconds.

    Returns
    -------
    shared_s, floor_s : float
        Seconds x accelerators that are shared, seconds that are not.
    fit : Fit
        Errors on sizes left out.

    Raises
    ------
    InputError
        If there is no point, or one that is not above 0.

    Examples
    --------
    >>> shared, floor, _ = fit_duration([512, 1024, 4096], [10.5, 5.5, 1.75])
    >>> round(shared), round(floor, 3)
    (5120, 0.5)
    """
    sizes, times = (np.asarray(value, dtype=np.float64) for value in (n_gpu, duration_s))
    if not (len(sizes) == len(times) > 0 and np.all(sizes > 0) and np.all(times > 0)):
        what = "accelerators or times that are missing or not above 0"
        raise InputError("durations", what, "Give accelerators and seconds of each run.")
    fit = fit_parts(np.stack([1 / sizes, np.ones_like(sizes)], axis=1), times, sizes.tolist())
    shared, floor = (float(value) for value in fit.coefficients)
    return shared, floor, fit
