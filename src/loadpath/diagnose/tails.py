"""Tails of the laws that excesses are held against."""

import math

__all__ = ["poisson_tail", "student_tail"]


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
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    inside = math.sin(angle) * total
    if odd:
        inside = 2 / math.pi * (angle + inside)
    return max(0.0, (1 - inside) / 2)


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
