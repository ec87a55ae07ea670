"""Spare nodes: how many a job needs so that it seldom waits for a repair."""

from loadpath.errors import InputError
from loadpath.forecast.distributions import overdispersed_quantile
from loadpath.forecast.reliability import Failures

__all__ = ["spares_for"]

S_PER_DAY = 86_400


def spares_for(
    n_node: int,
    failures: Failures,
    repair_s: float,
    *,
    level: float = 0.99,
    dispersion: float = 1.0,
) -> int:
    """Spare nodes with which a job seldom waits for a repair.

    Parameters
    ----------
    n_node : int
        Nodes of the job.
    failures : Failures
        Rates; only those per node take a node away.
    repair_s : float
        Mean time until a failed node is back.
    level : float
        Share of the time in which the spares should suffice.
    dispersion : float
        Variance over mean of the nodes in repair: 1 where failures arrive independently, above where they
        come in bursts (measure it: it decides the tail).

    Returns
    -------
    int
        Smallest such number.

    Raises
    ------
    InputError
        If the dispersion is below 1.

    References
    ----------
    .. [1] C. Palm, 1943: independent nodes in repair are Poisson distributed whatever the distribution of
       repairs (M/G/infinity); with bursts they are taken as negative binomial.

    Examples
    --------
    >>> spares_for(2048, Failures(3.79e-3), 2 * 86400)
    25
    """
    if not dispersion >= 1:
        what = f"dispersion is {dispersion}"
        raise InputError("spares", what, "Give the variance over the mean, from 1.")
    mean = n_node * float(failures.per_node_day) * repair_s / S_PER_DAY
    return overdispersed_quantile(level, mean, dispersion)
