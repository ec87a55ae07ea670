"""Buy or fix: how many added accelerators equal an improvement, and what either costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import UsageError
from loadpath.forecast.worlds import Flag, first_above, flag_of

__all__ = ["BuyOrFix", "buy_or_fix", "size_for_deadline", "substitute"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BuyOrFix:
    """Money for the same deadline, met as surely, by size or by a fix.

    Attributes
    ----------
    n_buy, n_fix : float or None
        Accelerators that meet the deadline without the fix and with it; None where no size does.
    buy_cost, fix_cost : float or None
        Expected cost of the job at that size, the price of the fix added.
    fix_is_cheaper : bool or None
        None where neither meets the deadline.
    """

    n_buy: float | None
    n_fix: float | None
    buy_cost: float | None
    fix_cost: float | None
    fix_is_cheaper: bool | None


def substitute(
    n: ArrayLike, throughput: Array, n_now: int, improved: ArrayLike, *, level: float = 0.9
) -> Flag | None:
    """Say how many added accelerators do what an improvement would.

    Parameters
    ----------
    n : array_like, shape (n_size,)
        Accelerators, growing.
    throughput : ndarray of float, shape (n_sample, n_size)
        Work per second without the improvement.
    n_now : int
        Size of the job, one of `n`.
    improved : array_like, shape (n_sample,)
        Work per second of that size with the improvement, in the same worlds.
    level : float
        Share of the worlds inside the band.

    Returns
    -------
    Flag or None
        Added accelerators (0 where the improvement gives nothing); None where in half of the worlds or more
        no size up to the largest equals it.

    Raises
    ------
    UsageError
        If the size of the job is not among the sizes.

    Examples
    --------
    >>> n = np.array([8, 16, 32])
    >>> (
    ...     substitute(n, np.array([[8.0, 14.0, 18.0]]), 8, [16.0]).n,
    ...     substitute(n, np.array([[8.0, 14.0, 18.0]]), 8, [20.0]),
    ... )
    (16.0, None)
    """
    sizes = np.asarray(n, dtype=np.float64)
    if n_now not in sizes:
        raise UsageError(f"substitution: {n_now} is not one of the sizes. Add it to them.")
    from_now = sizes >= n_now
    wanted = np.asarray(improved, dtype=np.float64)[:, None] * (1 - 1e-12)
    places = first_above(sizes[from_now], throughput[:, from_now] - wanted)
    with np.errstate(divide="ignore"):
        return flag_of(np.log(places - n_now), level)


def size_for_deadline(
    n: ArrayLike, job_s: Array, deadline_s: float, *, reliability: float = 0.9
) -> float | None:
    """Find the smallest size that ends in time as often as asked.

    Parameters
    ----------
    n : array_like, shape (n_size,)
        Accelerators, growing.
    job_s : ndarray of float, shape (n_sample, n_size)
        Time of the job.
    deadline_s : float
        When it should have ended.
    reliability : float
        Share of the worlds in which it does.

    Returns
    -------
    float or None
        Accelerators; None where no size does.

    Examples
    --------
    >>> size_for_deadline([8, 16, 32], np.array([[9.0, 5.0, 3.0], [11.0, 7.0, 4.0]]), 8.0)
    16.0
    """
    share = np.mean(job_s <= deadline_s, axis=0)
    meets = np.flatnonzero(share >= reliability)
    return float(np.asarray(n)[meets[0]]) if len(meets) else None


def buy_or_fix(
    n: ArrayLike,
    plain: tuple[Array, Array],
    fixed: tuple[Array, Array],
    *,
    deadline_s: float,
    fix_price: float,
    reliability: float = 0.9,
) -> BuyOrFix:
    """Compare adding accelerators with removing the cause, for the same deadline met as surely.

    Parameters
    ----------
    n : array_like, shape (n_size,)
        Accelerators, growing.
    plain, fixed : tuple of two ndarrays of float, shape (n_sample, n_size)
        Time and cost of the job without the fix and with it.
    deadline_s : float
        When the job should have ended.
    fix_price : float
        Price of the fix, in the unit of the cost.
    reliability : float
        Share of the worlds in which the deadline is to be met.

    Returns
    -------
    BuyOrFix
        Sizes, expected costs, and which is cheaper.

    Examples
    --------
    >>> times, costs = np.array([[12.0, 7.0]]), np.array([[10.0, 20.0]])
    >>> buy_or_fix([8, 16], (times, costs), (times / 2, costs / 2), deadline_s=8, fix_price=9)
    BuyOrFix(n_buy=16.0, n_fix=8.0, buy_cost=20.0, fix_cost=14.0, fix_is_cheaper=True)
    """
    sizes = np.asarray(n, dtype=np.float64)
    found: list[tuple[float | None, float | None]] = []
    for (times, costs), price in ((plain, 0.0), (fixed, fix_price)):
        size = size_for_deadline(sizes, times, deadline_s, reliability=reliability)
        cost = None if size is None else float(costs[:, sizes == size].mean()) + price
        found.append((size, cost))
    (n_buy, buy), (n_fix, fix) = found
    if buy is None and fix is None:
        return BuyOrFix(None, None, None, None, None)
    cheaper = buy is None or (fix is not None and fix < buy)
    return BuyOrFix(n_buy, n_fix, buy, fix, cheaper)
