"""Noise of steps and ranks: jitter with rare spikes, and the maximum over many."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import InputError
from loadpath.forecast.distributions import log_normal_cdf, normal_cdf

__all__ = [
    "Noise",
    "fit_noise",
    "fit_noise_summary",
]

Array = NDArray[np.float64]
P75, P90 = 0.6744897501960817, 1.2815515655446004
"""Standard normal quantiles."""
ROUNDS = 60
NUDGE = 1e-5
LOGS = (-20.0, 2.0)
TINY = 1e-12
LEAST_SPREAD = 1e-6
SPIKE_WIDTHS = 4.0
"""A sample this many standard deviations of the jitter above the median is a spike."""
GRID = 2048


@dataclass(frozen=True, slots=True)
class Noise:
    """Relative duration: median 1, lognormal jitter, and rarely a spike on top.

    Attributes
    ----------
    jitter : float
        Standard deviation of the logarithm.
    spike_probability : float
        Probability of a spike.
    spike : float
        Mean of the logarithm that a spike adds (exponentially distributed).
    """

    jitter: float
    spike_probability: float = 0.0
    spike: float = 0.0

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value}"
            for name, value, most in (
                ("jitter", self.jitter, 10.0),
                ("spike_probability", self.spike_probability, 1.0),
                ("spike", self.spike, 10.0),
            )
            if not 0 <= value <= most
        ]
        if wrong:
            remedy = "Give a jitter and a spike from 0 and a probability up to 1."
            raise InputError("noise", wrong, remedy)

    def cdf(self, ratio: ArrayLike) -> Array:
        """Probability that a duration is at most a multiple of the median.

        Parameters
        ----------
        ratio : array_like
            Duration over median.

        Returns
        -------
        ndarray of float
            Probabilities.
        """
        logs = np.log(np.asarray(ratio, dtype=np.float64))
        width = max(self.jitter, LEAST_SPREAD)
        calm = normal_cdf(logs / width)
        if not self.spike_probability or not self.spike:
            return calm
        # A normal plus an exponential is below x as often as the normal, less what the spike lifts over x.
        share = width / self.spike
        lifted = log_normal_cdf(logs / width - share) - logs / self.spike + share**2 / 2
        return np.asarray(calm - self.spike_probability * np.exp(lifted), dtype=np.float64)

    def max_quantile(self, probability: ArrayLike, n: float = 1) -> Array:
        """Quantiles of the longest of `n` independent durations.

        Parameters
        ----------
        probability : array_like
            Probabilities.
        n : float
            Durations, 1 for the noise itself.

        Returns
        -------
        ndarray of float
            Durations over the median.

        Examples
        --------
        >>> Noise(0.01).max_quantile([0.5, 0.9]).round(4).tolist()
        [1.0, 1.0129]
        """
        grid, below = self._grid(n)
        return np.asarray(np.interp(np.asarray(probability, dtype=np.float64), below, grid))

    def expected_max(self, n: float) -> float:
        """Mean of the longest of `n` independent durations.

        Parameters
        ----------
        n : float
            Durations, such as ranks that wait for each other.

        Returns
        -------
        float
            Over the median: the slowdown by noise of a step in which all wait for all. Infinite where
            spikes have a mean logarithm of 1 and more.

        Examples
        --------
        >>> round(Noise(0.01).expected_max(1024), 3)
        1.033
        """
        if self.spike_probability and self.spike >= 1:
            return float("inf")
        grid, below = self._grid(n)
        return float(grid[0] + np.sum((1 - (below[1:] + below[:-1]) / 2) * np.diff(grid)))

    def variation_ratio(self) -> float:
        """Give the standard deviation over the mean.

        Returns
        -------
        float
            Coefficient of variation; infinite where spikes have a mean logarithm of 1/2 and more.
        """
        if self.spike_probability and self.spike >= 0.5:
            return float("inf")
        grid, below = self._grid(1)
        beyond, width = 1 - (below[1:] + below[:-1]) / 2, np.diff(grid)
        mean = grid[0] + np.sum(beyond * width)
        square = grid[0] ** 2 + np.sum(beyond * (grid[1:] + grid[:-1]) * width)
        return float(np.sqrt(max(square / mean**2 - 1, 0.0)))

    def draw(self, rng: np.random.Generator, shape: int | tuple[int, ...]) -> Array:
        """Draw durations.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of randomness.
        shape : int or tuple of int
            How many.

        Returns
        -------
        ndarray of float
            Durations over the median.
        """
        logs = self.jitter * rng.standard_normal(shape)
        hit = rng.random(shape) < self.spike_probability
        return np.asarray(np.exp(logs + np.where(hit, self.spike * rng.exponential(size=shape), 0)))

    def _grid(self, n: float) -> tuple[Array, Array]:
        """Durations, and the probability that the longest of `n` is below each."""
        width = max(self.jitter, LEAST_SPREAD)
        top = width * (8 + np.sqrt(2 * np.log(max(n, 2)))) + self.spike * (25 + np.log(max(n, 2)))
        near = np.linspace(-8 * width, 12 * width, GRID)
        far = np.linspace(12 * width, max(top, 12 * width + LEAST_SPREAD), GRID)[1:]
        grid = np.exp(np.concatenate([near, far]))
        return grid, np.maximum.accumulate(self.cdf(grid) ** n)


def fit_noise(durations: ArrayLike) -> Noise:
    """Fit noise to measured durations of the same work.

    Parameters
    ----------
    durations : array_like, shape (n_sample,)
        Any unit.

    Returns
    -------
    Noise
        Jitter from the distance of the quartiles, which spikes do not move; spikes from what lies
        `SPIKE_WIDTHS` above it.

    Raises
    ------
    InputError
        If there are fewer than eight durations, or one is not above 0.
    """
    values = np.asarray(durations, dtype=np.float64)
    if values.size < 8 or not np.all(values > 0):
        what = f"{values.size} durations, or some that are not above 0"
        raise InputError("noise", what, "Give eight durations or more of the same work.")
    logs = np.log(values / np.median(values))
    low, high = np.quantile(logs, [0.25, 0.75])
    jitter = float((high - low) / (2 * P75))
    far = logs[logs > SPIKE_WIDTHS * max(jitter, LEAST_SPREAD)]
    return Noise(jitter, len(far) / len(logs), float(far.mean()) if len(far) else 0.0)


def fit_noise_summary(p90: float, p99: float, longest: float, n: int) -> Noise:
    """Fit noise to published figures of a distribution.

    Parameters
    ----------
    p90, p99, longest : float
        Percentiles and largest of the durations, over their median.
    n : int
        Durations that were measured.

    Returns
    -------
    Noise
        The one whose percentiles, and median of the largest of `n`, come closest.

    Raises
    ------
    InputError
        If the figures do not grow from 1, or there are fewer than 100 durations (no 99th percentile).

    Examples
    --------
    >>> noise = fit_noise_summary(1.0129, 1.0236, 1.2, 1000)
    >>> noise.max_quantile([0.9, 0.99]).round(3).tolist()
    [1.013, 1.024]
    """
    if not (1 <= p90 <= p99 <= longest and n >= 100):
        what = f"p90 {p90}, p99 {p99}, longest {longest} over the median, of {n} durations"
        raise InputError("noise", what, "Give growing figures over the median of 100 or more.")
    wanted = np.maximum(np.log([p90, p99, longest]), LEAST_SPREAD)
    jitter, far = wanted[0] / P90, max(wanted[2] - wanted[1], wanted[1] / 4)

    ratios = np.exp(wanted)
    beyond = np.array([0.1, 0.01, -np.expm1(np.log(0.5) / n)])

    def miss(parameters: Array) -> Array:
        above = 1 - _noise(parameters, wanted[2]).cdf(ratios)
        return np.asarray(np.log(np.maximum(above, TINY) / beyond), dtype=np.float64)

    starts = [(jitter, q, far / max(np.log(q * n), 1)) for q in (2 / n, 1e-2, 5e-2)]
    tried = [_descend(miss, np.log(start)) for start in starts]
    return _noise(min(tried, key=lambda x: float(np.square(miss(x)).sum())), wanted[2])


def _descend(miss: Callable[[Array], Array], x: Array) -> Array:
    """Follow the misses down to a least square (Levenberg and Marquardt)."""
    damping, here = 1e-2, miss(x)
    for _ in range(ROUNDS):
        slope = np.stack([(miss(x + step) - here) / NUDGE for step in NUDGE * np.eye(len(x))], 1)
        normal = slope.T @ slope
        shift = np.linalg.solve(normal + damping * np.eye(len(x)), -slope.T @ here)
        tried = np.clip(x + np.clip(shift, -1, 1), *LOGS)
        found = miss(tried)
        if np.square(found).sum() < np.square(here).sum():
            x, here, damping = tried, found, damping / 4
        else:
            damping *= 8
        if damping > 1e12 or np.abs(here).max() < 1e-7:
            break
    return x


def _noise(parameters: Array, largest: float) -> Noise:
    """Read the parameters of a fit; the mean of spikes is not above the largest one seen."""
    jitter, probability, spike = np.exp(parameters)
    return Noise(float(jitter), float(min(probability, 0.5)), float(min(spike, largest)))
