"""Distributions that forecasts need, in NumPy alone: see docs/defence_of_design.md on SciPy."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "harmonic_number",
    "log_normal_cdf",
    "normal_cdf",
    "overdispersed_quantile",
    "student_quantile",
]

Array = NDArray[np.float64]
FAR = -30.0
"""Below this many standard deviations the asymptotic form of the normal tail takes over."""
STEPS = 4001
ERFC = np.frompyfunc(math.erfc, 1, 1)


def normal_cdf(z: ArrayLike) -> Array:
    """Probability that a standard normal is at most `z`.

    Parameters
    ----------
    z : array_like
        Standard deviations.

    Returns
    -------
    ndarray of float
        Probabilities.

    Examples
    --------
    >>> normal_cdf([0.0, 1.6448536269514722]).round(4).tolist()
    [0.5, 0.95]
    """
    half = ERFC(-np.asarray(z, dtype=np.float64) / math.sqrt(2))
    return np.asarray(0.5 * np.asarray(half, dtype=np.float64))


def log_normal_cdf(z: ArrayLike) -> Array:
    """Logarithm of `normal_cdf`, also where that is too small for a float.

    Parameters
    ----------
    z : array_like
        Standard deviations.

    Returns
    -------
    ndarray of float
        Logarithms.

    Examples
    --------
    >>> log_normal_cdf([-40.0, 0.0]).round(3).tolist()
    [-804.608, -0.693]
    """
    values = np.asarray(z, dtype=np.float64)
    near = np.log(normal_cdf(np.maximum(values, FAR)))
    far = np.minimum(values, FAR)
    tail = -(far**2) / 2 - np.log(-far) - 0.5 * math.log(2 * math.pi) - 1 / far**2
    return np.where(values > FAR, near, tail)


def student_quantile(probability: float, n_free: int) -> float:
    """Quantile of Student's t, by integrating its density.

    Parameters
    ----------
    probability : float
        Above one half and below 1.
    n_free : int
        Degrees of freedom, from 1.

    Returns
    -------
    float
        Quantile.

    Examples
    --------
    >>> [round(student_quantile(0.95, n), 3) for n in (1, 4, 30)]
    [6.314, 2.132, 1.697]
    """
    # With t = sqrt(n) tan(a) the density is cos(a)^(n - 1) over a finite range.
    angle = np.linspace(0.0, math.pi / 2, STEPS)
    density = np.cos(angle) ** (n_free - 1)
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    found = float(np.interp(2 * probability - 1, area / area[-1], angle))
    return math.sqrt(n_free) * math.tan(found)


def overdispersed_quantile(level: float, mean: float, dispersion: float = 1.0) -> int:
    """Quantile of a count: Poisson, or negative binomial where it varies more than that.

    Parameters
    ----------
    level : float
        Probability, below 1.
    mean : float
        Mean of the count, from 0.
    dispersion : float
        Variance over mean, from 1.

    Returns
    -------
    int
        Smallest count whose probability of being enough is `level` or more.

    Examples
    --------
    >>> overdispersed_quantile(0.99, 10.0), overdispersed_quantile(0.99, 10.0, 4.0)
    (18, 30)
    """
    extra = dispersion - 1
    log_first = -mean if extra <= 0 else -mean / extra * math.log(dispersion)
    log_term, below, k = log_first, math.exp(log_first), 0
    while below < level - 1e-12:
        log_term += math.log((mean + max(extra, 0.0) * k) / (dispersion * (k + 1)))
        k += 1
        below += math.exp(log_term)
    return k


def harmonic_number(n: ArrayLike) -> Array:
    """Sum of 1 / k up to n, for any n above 0.

    Parameters
    ----------
    n : array_like
        How many terms.

    Returns
    -------
    ndarray of float
        Harmonic numbers.

    Examples
    --------
    >>> harmonic_number([1, 2, 1024]).round(4).tolist()
    [1.0, 1.5, 7.5092]
    """
    start = np.asarray(n, dtype=np.float64)
    far = start + 16
    asymptotic = (
        np.log(far) + np.euler_gamma + 1 / (2 * far) - 1 / (12 * far**2) + 1 / (120 * far**4)
    )
    return np.asarray(asymptotic - sum(1 / (start + k) for k in range(1, 17)), dtype=np.float64)
