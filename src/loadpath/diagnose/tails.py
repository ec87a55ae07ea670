"""Tails of the laws that excesses are held against."""

import math
from bisect import bisect_left
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.group_kernels import student_sum

__all__ = [
    "beyond_student",
    "binomial_tail",
    "few_quantiles",
    "log_normal_limit",
    "poisson_tail",
    "student_tail",
    "tail_limit",
    "tail_shape",
]


def student_tail(t: float, freedom: int) -> float:
    """Probability that Student's t with whole degrees of freedom is `t` or more.

    Parameters
    ----------
    t : float
        Value.
    freedom : int
        Degrees of freedom, at least 1.

    Returns
    -------
    float
        One-sided probability.

    References
    ----------
    .. [1] M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 1964, 26.7.3-4.

    Examples
    --------
    >>> round(student_tail(2.920, 2), 4), round(student_tail(1.943, 6), 4)
    (0.05, 0.05)
    >>> student_tail(0.0, 3)
    0.5
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    inside: float = math.sin(angle) * student_sum(cosine, odd, freedom)
    if odd:
        inside = 2 / math.pi * (angle + inside)
    return max(0.0, (1 - inside) / 2)


def beyond_student(t: NDArray[np.float64], freedom: int, p: float) -> NDArray[np.bool_]:
    """Say which values Student's t passes with less than a probability: the tail falls with t.

    Parameters
    ----------
    t : (n,) array of float64
        Values, none of them NaN; beyond a million they count as that.
    freedom : int
        Degrees of freedom, at least 1.
    p : float
        The probability.

    Returns
    -------
    (n,) array of bool
        Values whose tail is below `p`.

    Examples
    --------
    >>> beyond_student(np.array([1.0, 3.0, 2.9]), 2, 0.05).tolist()
    [False, True, False]
    """
    rising = np.sort(t)
    place = bisect_left(rising.tolist(), x=True, key=lambda value: _is_beyond(value, freedom, p))
    return np.asarray(t >= rising[place]) if place < t.size else np.zeros(t.size, np.bool_)


def _is_beyond(value: float, freedom: int, p: float) -> bool:
    return student_tail(min(value, 1e6), freedom) < p


def poisson_tail(n: int, rate: float) -> float:
    """Probability that a Poisson variable of this rate is n or more.

    Parameters
    ----------
    n : int
        Count.
    rate : float
        Mean.

    Returns
    -------
    float
        Probability; 0 for a count above 0 at rate 0.

    Examples
    --------
    >>> round(poisson_tail(2, 0.1), 5), poisson_tail(1, 0.0)
    (0.00468, 0.0)
    """
    below = (
        sum(math.exp(-rate + k * math.log(rate) - math.lgamma(k + 1)) for k in range(n))
        if rate > 0
        else 1.0
    )
    return max(0.0, 1.0 - below)


def binomial_tail(n: int, n_trial: int, share: float) -> float:
    """Probability that n or more of so many trials succeed.

    Parameters
    ----------
    n, n_trial : int
        Count, and number of trials.
    share : float
        Probability of one success.

    Returns
    -------
    float
        Probability.

    Examples
    --------
    >>> round(binomial_tail(3, 3, 0.125), 6), binomial_tail(0, 5, 0.5)
    (0.001953, 1.0)
    """
    if n <= 0:
        return 1.0
    if share >= 1:
        return 1.0
    terms = (
        math.lgamma(n_trial + 1) - math.lgamma(k + 1) - math.lgamma(n_trial - k + 1)
        + k * math.log(share) + (n_trial - k) * math.log1p(-share)
        for k in range(n, n_trial + 1)
    )  # fmt: skip
    return min(1.0, sum(map(math.exp, terms)))


def few_quantiles(ordered: NDArray[np.float64], *shares: float) -> list[float]:
    """Read quantiles off values in their order, as `numpy.quantile` does, which asks far more.

    Parameters
    ----------
    ordered : (n,) array of float64
        Values, ascending, at least one.
    *shares : float
        Which quantiles, each in [0, 1].

    Returns
    -------
    list of float
        Between two values in proportion.

    Examples
    --------
    >>> few_quantiles(np.array([1.0, 2.0, 4.0]), 0.5, 0.75)
    [2.0, 3.0]
    """  # numpydoc ignore=PR01,PR02
    found = []
    for share in shares:
        place = (ordered.size - 1) * share
        at = int(place)
        low, high = float(ordered[at]), float(ordered[min(at + 1, ordered.size - 1)])
        part = place - at
        between = (high - low) * (part if part < 0.5 else 1 - part)
        found.append(low + between if part < 0.5 else high - between)
    return found


def tail_shape(at_80: float, at_90: float, shapes: tuple[float, float]) -> float:
    """Find the stretched exponential tail through two percentiles.

    Parameters
    ----------
    at_80, at_90 : float
        The 80th and 90th percentile, positive.
    shapes : tuple of two floats
        Shapes between which it is taken to lie: 1 is an exponential law, 2 a normal one.

    Returns
    -------
    float
        Shape c of the tail exp(-(x / scale)**c).

    References
    ----------
    .. [1] J. Laherrere, D. Sornette, "Stretched exponential distributions in nature and economy",
       European Physical Journal B 2, 1998.

    Examples
    --------
    >>> round(tail_shape(1.609, 2.303, (0.25, 2.0)), 2)
    1.0
    """
    growth = max(at_90 / at_80, 1.0 + 1e-9)
    shape = math.log(math.log(10) / math.log(5)) / math.log(growth)
    return min(max(shape, shapes[0]), shapes[1])


def tail_limit(values: NDArray[np.float64], p: float, shapes: tuple[float, float]) -> float:
    """Place a limit that the largest of so many values passes with a small probability only.

    Parameters
    ----------
    values : (n,) array of float64
        Values, few of which are odd.
    p : float
        That probability.
    shapes : tuple of two floats
        As of `tail_shape`.

    Returns
    -------
    float
        Limit in the unit of the values; infinite where they have no tail above 0.

    Examples
    --------
    >>> exponential = -np.log(1 - (np.arange(1000) + 0.5) / 1000)
    >>> round(tail_limit(exponential, 0.005, (0.25, 2.0)), 1)
    12.1
    """
    if not values.size:
        return math.inf
    at_80, at_90 = few_quantiles(np.sort(values), 0.8, 0.9)
    if at_80 <= 0:
        return math.inf
    shape = tail_shape(at_80, at_90, shapes)
    return float(at_90 * (math.log(values.size / p) / math.log(10)) ** (1 / shape))


def log_normal_limit(values: NDArray[np.float64], p: float) -> float:
    """Place a limit that the largest of so many log-normal values passes with a small probability only.

    The law has a begin of its own: what is measured from a middle may be below 0. The 10th, 50th and
    90th percentile tell it, for the upper is as many times farther from the middle than the lower as
    the spread of the logarithm says.

    Parameters
    ----------
    values : (n,) array of float64
        Values, few of which are odd.
    p : float
        That probability.

    Returns
    -------
    float
        Limit in the unit of the values; minus infinity where the upper half spreads no
        farther than the lower.

    Examples
    --------
    >>> normal = np.random.default_rng(1).standard_normal(100_000)
    >>> round(log_normal_limit(np.exp(normal)[:10_000], 0.005), 1)
    120.2
    >>> log_normal_limit(-np.exp(normal), 0.005)
    -inf
    """
    if not values.size:
        return -math.inf
    low, middle, high = few_quantiles(np.sort(values), 0.1, 0.5, 0.9)
    if not high - middle > middle - low > 0:
        return -math.inf
    farther = (high - middle) / (middle - low)
    law = NormalDist()
    times = law.inv_cdf(1 - p / values.size) / law.inv_cdf(0.9)
    return float(middle + (high - middle) * (farther**times - 1) / (farther - 1))
