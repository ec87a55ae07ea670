"""Where scaling stops paying: three flags, each with an interval or none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import UsageError
from loadpath.forecast.worlds import Flag, first_above, flag_of

__all__ = ["Inversions", "Limits", "find_inversions"]

Array = NDArray[np.float64]
WORST_RATIO = 1.2
"""Average cost above this many times the best counts as inverted, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as too dear.

    Attributes
    ----------
    worst_ratio : float
        Multiple of the best average cost that counts as inverted.
    value : float or None
        What a unit of work is worth.
    budget : float or None
        What a unit of work may cost; the worst ratio times the cheapest where None.
    """

    worst_ratio: float = WORST_RATIO
    value: float | None = None
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Inversions:
    """The three flags; None is "no inversion up to the largest size", or not asked.

    Attributes
    ----------
    average : Flag or None
        Average cost of a unit above a multiple of the best.
    marginal : Flag or None
        What one more unit costs above what it is worth.
    throughput : Flag or None
        More accelerators do less work per second.
    n_largest : int
        Size up to which was looked.
    """

    average: Flag | None
    marginal: Flag | None
    throughput: Flag | None
    n_largest: int


def find_inversions(
    n: ArrayLike,
    throughput: Array,
    cost_per_unit: Array | None = None,
    *,
    worst_ratio: float = WORST_RATIO,
    value_per_unit: float | None = None,
    level: float = 0.9,
) -> Inversions:
    """Find where scaling stops paying, in every sampled world.

    Parameters
    ----------
    n : array_like, shape (n_size,)
        Accelerators, growing.
    throughput : ndarray of float, shape (n_sample, n_size)
        Work per second.
    cost_per_unit : ndarray of float, shape (n_sample, n_size), optional
        Average cost of a unit of work; accelerator-seconds per unit where there are no prices, and that is
        what None stands for.
    worst_ratio : float
        Multiple of the best average cost that counts as inverted; above 1.
    value_per_unit : float, optional
        What a unit of work is worth, in the unit of the cost; None leaves the marginal flag out.
    level : float
        Share of the worlds inside the band.

    Returns
    -------
    Inversions
        A flag is None where half of the worlds or more do not invert.

    Raises
    ------
    UsageError
        If there are fewer than two sizes, they do not grow, or ratio and value are not positive.

    Examples
    --------
    Work that takes 1000 / n + 1 + n / 100 s is done fastest by 316 (the root of 100,000):

    >>> n = np.array([64, 128, 256, 512, 1024])
    >>> found = find_inversions(n, 1 / (1000 / n + 1 + n / 100)[None, :])
    >>> round(found.throughput.n), found.average.likelihood_ratio
    (310, 1.0)
    """
    sizes = np.asarray(n, dtype=np.float64)
    if len(sizes) < 2 or not np.all(np.diff(sizes) > 0):
        raise UsageError("inversion: give two sizes or more, growing.")
    if not worst_ratio > 1 or (value_per_unit is not None and not value_per_unit > 0):
        raise UsageError("inversion: the worst ratio is above 1, the value of a unit above 0.")
    cost = sizes / throughput if cost_per_unit is None else cost_per_unit
    logs = np.log(sizes)
    average = _average(logs, cost, worst_ratio)
    marginal = None if value_per_unit is None else _marginal(logs, throughput, cost, value_per_unit)
    return Inversions(
        flag_of(average, level),
        None if marginal is None else flag_of(marginal, level),
        flag_of(_throughput(logs, throughput), level),
        int(sizes[-1]),
    )


def _average(logs: Array, cost: Array, worst_ratio: float) -> Array:
    """First size beyond the cheapest at which a unit costs too much."""
    best = cost.argmin(axis=1)
    excess = np.log(cost / np.take_along_axis(cost, best[:, None], axis=1) / worst_ratio)
    beyond = np.arange(len(logs)) > best[:, None]
    return first_above(logs, np.where(beyond, excess, -np.abs(excess)))


def _marginal(logs: Array, throughput: Array, cost: Array, value: float) -> Array:
    """First size at which the work that was added costs more than it is worth."""
    spent = cost * throughput
    added, paid = np.diff(throughput, axis=1), np.diff(spent, axis=1)
    middle = (logs[:-1] + logs[1:]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(added > 0, paid / added - value, np.where(paid > 0, np.inf, -np.inf))
    return first_above(middle, excess)


def _throughput(logs: Array, throughput: Array) -> Array:
    """Size of the highest throughput, where it falls beyond."""
    found = np.full(len(throughput), np.inf)
    for i, row in enumerate(throughput):
        top = int(row.argmax())
        if top == len(row) - 1:
            continue
        found[i] = logs[0] if top == 0 else _vertex(logs[top - 1 : top + 2], row[top - 1 : top + 2])
    return found


def _vertex(x: Array, y: Array) -> float:
    """Abscissa of the top of the parabola through three points."""
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(np.clip(x[1] - b / (2 * a), x[0], x[2])) if a < 0 else float(x[1])
