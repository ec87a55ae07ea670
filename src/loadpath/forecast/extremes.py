"""The largest of many, in closed form: exponential, normal, and whether any is hit."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.forecast.distributions import harmonic_number, normal_cdf

__all__ = ["expected_max_exponential", "expected_max_normal", "probability_of_any"]

Array = NDArray[np.float64]


def expected_max_exponential(n: ArrayLike, mean: ArrayLike = 1.0) -> Array:
    """Mean of the longest of `n` exponential durations: the n-th harmonic number times their mean.

    Parameters
    ----------
    n : array_like
        Durations.
    mean : array_like
        Mean of one of them.

    Returns
    -------
    ndarray of float
        In the unit of the mean.

    Examples
    --------
    >>> expected_max_exponential([1, 2, 3]).round(4).tolist()
    [1.0, 1.5, 1.8333]
    """
    return np.asarray(harmonic_number(n) * np.asarray(mean), dtype=np.float64)


def expected_max_normal(n: float) -> float:
    """Mean of the largest of `n` standard normals, by numerical integration.

    Parameters
    ----------
    n : float
        How many.

    Returns
    -------
    float
        In standard deviations.

    Examples
    --------
    >>> round(expected_max_normal(1024), 4)
    3.2482
    """
    grid = np.linspace(-12.0, 12.0, 24001)
    below = normal_cdf(grid) ** n
    return float(grid[0] + np.trapezoid(1 - below, grid))


def probability_of_any(probability: ArrayLike, n: ArrayLike) -> Array:
    """Probability that at least one of `n` is hit.

    Parameters
    ----------
    probability : array_like
        Probability of one.
    n : array_like
        How many, independent of each other.

    Returns
    -------
    ndarray of float
        Probabilities.

    Examples
    --------
    >>> probability_of_any(1e-4, [128, 16384]).round(4).tolist()
    [0.0127, 0.8057]
    """
    hit = np.asarray(probability, dtype=np.float64)
    return np.asarray(-np.expm1(np.asarray(n) * np.log1p(-hit)), dtype=np.float64)
