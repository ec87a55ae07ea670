"""Intervals from resampled steps, for all figures of a kind at once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.labels import sum_by

__all__ = [
    "FEWEST_DRAWN",
    "LEVEL",
    "Estimate",
    "draw_steps",
    "mean_estimate",
    "quantile_estimates",
    "ratio_estimate",
    "resample",
    "spread",
]

FloatArray = NDArray[np.float64]

FEWEST_DRAWN = 4
"""Fewer blocks give no interval of 95 %: one block K times over has a probability of 1/K to the K, and
is within a tail of 2.5 % only from four blocks on."""
N_RESAMPLE = 1000
"""Bootstrap resamples behind an interval."""
MOST_PRODUCTS = 200_000
"""Products of one piece of a resampling; a matrix by a vector takes a 25th."""
LEVEL = 0.95
"""Level of all intervals."""


class Estimate(NamedTuple):
    """A figure and its interval.

    Attributes
    ----------
    value, low, high : float
        NaN where the figure, or its interval, cannot be given.
    """

    value: float
    low: float
    high: float


def draw_steps(n_step: int, rng: np.random.Generator) -> FloatArray:
    """Draw the steps again with replacement, many times.

    Parameters
    ----------
    n_step : int
        Recorded steps.
    rng : numpy.random.Generator
        Source.

    Returns
    -------
    (n_resample, n_step) array of float64
        How often each step is drawn in each resample; no resamples under `FEWEST_DRAWN` steps.

    References
    ----------
    .. [1] B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7,
       1979.
    """
    n = N_RESAMPLE if n_step >= FEWEST_DRAWN else 0
    drawn = rng.multinomial(n_step, np.full(n_step, 1 / max(1, n_step)), n)
    return drawn.astype(np.float64)  # products with whole numbers are many times slower


def resample(weights: FloatArray, per_step: FloatArray) -> FloatArray:
    """Sum what steps have over every resample.

    The product is taken in pieces that the linear algebra library leaves to one thread: its threads
    cost a hundred times what they save here, and their number could show in the last digit.

    Parameters
    ----------
    weights : (n_resample, n_step) array of float64
        Result of `draw_steps`.
    per_step : (n_step,) or (n_step, n) array of float64
        What each step has.

    Returns
    -------
    (n_resample,) or (n_resample, n) array of float64
        Sums.
    """
    n_row, n_step = weights.shape
    values = per_step.reshape(n_step, int(np.prod(per_step.shape[1:])))
    total = np.empty((n_row, values.shape[1]))
    most = MOST_PRODUCTS if values.shape[1] > 1 else MOST_PRODUCTS // 25
    width = max(1, MOST_PRODUCTS // max(1, n_step))
    for left in range(0, values.shape[1], width):
        part = np.ascontiguousarray(values[:, left : left + width])
        rows = max(1, most // max(1, part.size))
        for top in range(0, n_row, rows):
            total[top : top + rows, left : left + width] = weights[top : top + rows] @ part
    return total.reshape(n_row, *per_step.shape[1:])


def spread(drawn: FloatArray) -> tuple[float, float]:
    """Give the interval of resampled figures.

    Parameters
    ----------
    drawn : (n_resample,) array of float64
        The figure in each resample; NaN where a resample has none.

    Returns
    -------
    low, high : float
        Ends of the interval; NaN where there are no resamples.
    """
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return float("nan"), float("nan")
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def mean_estimate(per_step: FloatArray, weights: FloatArray) -> Estimate:
    """Estimate the mean of a figure that every step has.

    Parameters
    ----------
    per_step : (n_step,) array of float64
        The figure.
    weights : (n_resample, n_step) array of float64
        Result of `draw_steps`.

    Returns
    -------
    Estimate
        Mean and interval.
    """
    return ratio_estimate(per_step, np.ones(per_step.size), weights)


def ratio_estimate(over: FloatArray, under: FloatArray, weights: FloatArray) -> Estimate:
    """Estimate the quotient of two sums over steps.

    Parameters
    ----------
    over, under : (n_step,) arrays of float64
        What each step adds to the sums.
    weights : (n_resample, n_step) array of float64
        Result of `draw_steps`.

    Returns
    -------
    Estimate
        Quotient and interval; NaN where the lower sum is 0.

    Examples
    --------
    >>> steps = draw_steps(4, np.random.default_rng(0))
    >>> ratio_estimate(np.ones(4), 2 * np.ones(4), steps)
    Estimate(value=0.5, low=0.5, high=0.5)
    """
    total = float(under.sum())
    value = float(over.sum()) / total if total else float("nan")
    drawn = resample(weights, under)
    known = drawn != 0
    quotient = resample(weights, over)[known] / drawn[known]
    return Estimate(value, *spread(quotient))


def quantile_estimates(
    value: FloatArray,
    weight: FloatArray,
    step: NDArray[np.integer],
    weights: FloatArray,
    *,
    shares: Sequence[float],
) -> list[Estimate]:
    """Estimate weighted quantiles of what many ops of many steps have.

    Resamples are read off a histogram whose bins hold equal weight, so that no resample has to be
    sorted; an end of the interval is exact to one part in 512 of the weight.

    Parameters
    ----------
    value, weight : (n,) arrays of float64
        Values, and what each counts; weights are not negative.
    step : (n,) array of int
        Step of each, from 0.
    weights : (n_resample, n_step) array of float64
        Result of `draw_steps`.
    shares : sequence of float
        Shares of the weight that lie at or below each quantile.

    Returns
    -------
    list of Estimate
        Quantiles and intervals; NaN where nothing has weight.
    """
    order = np.argsort(value, kind="stable")
    below = np.cumsum(weight[order])
    if not below.size or below[-1] <= 0:
        return [Estimate(float("nan"), float("nan"), float("nan"))] * len(shares)
    ordered = value[order]
    n_bin = 512
    bins = np.minimum((below / below[-1] * n_bin).astype(np.int64), n_bin - 1)
    n_step = weights.shape[1]
    held = sum_by(step[order] * n_bin + bins, weight[order], n_step * n_bin)
    upper = np.maximum.accumulate(
        np.where(np.bincount(bins, minlength=n_bin) > 0, _last(ordered, bins, n_bin), -np.inf)
    )
    drawn = np.cumsum(resample(weights, held.reshape(n_step, n_bin)), axis=1)
    found = []
    for share in shares:
        at = min(int(np.searchsorted(below, share * below[-1])), ordered.size - 1)
        place = (drawn < share * drawn[:, -1:]).sum(axis=1)
        interval = spread(upper[np.minimum(place, n_bin - 1)])
        found.append(Estimate(float(ordered[at]), *interval))
    return found


def _last(ordered: FloatArray, bins: NDArray[np.int64], n_bin: int) -> FloatArray:
    """Largest value of each bin; of an empty one, anything."""
    return ordered[np.clip(np.searchsorted(bins, np.arange(n_bin), side="right") - 1, 0, None)]
