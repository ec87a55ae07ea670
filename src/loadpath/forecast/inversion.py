"""Where scaling stops paying: three flags, each with an interval or none."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import UsageError

__all__ = ["Flag", "Inversions", "find_inversions"]

Array = NDArray[np.float64]
WORST_RATIO = 1.2
"""Average cost above this many times the best counts as inverted, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A size at which scaling stops paying, by one measure.

    Attributes
    ----------
    n : float
        Accelerators; half of the sampled worlds invert at fewer.
    low, high : float or None
        Band; None where it reaches beyond the largest size.
    likelihood_ratio : float
        Share of the worlds that invert at all up to the largest size.
    """

    n: float
    low: float
    high: float | None
    likelihood_ratio: float


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
        _flag(average, level),
        None if marginal is None else _flag(marginal, level),
        _flag(_throughput(logs, throughput), level),
        int(sizes[-1]),
    )


def _flag(logs: Array, level: float) -> Flag | None:
    """Summarise the sizes (logarithms, infinite where there is none) of all worlds."""
    edges = [0.5, (1 - level) / 2, (1 + level) / 2]
    median, low, high = np.quantile(logs, edges, method="inverted_cdf")
    if not np.isfinite(median):
        return None
    share = float(np.mean(np.isfinite(logs)))
    return Flag(
        float(np.exp(median)),
        float(np.exp(low)),
        float(np.exp(high)) if np.isfinite(high) else None,
        share,
    )


def _average(logs: Array, cost: Array, worst_ratio: float) -> Array:
    """First size beyond the cheapest at which a unit costs too much."""
    best = cost.argmin(axis=1)
    excess = np.log(cost / np.take_along_axis(cost, best[:, None], axis=1) / worst_ratio)
    beyond = np.arange(len(logs)) > best[:, None]
    return _first_above(logs, np.where(beyond, excess, -np.abs(excess)))


def _marginal(logs: Array, throughput: Array, cost: Array, value: float) -> Array:
    """First size at which the work that was added costs more than it is worth."""
    spent = cost * throughput
    added, paid = np.diff(throughput, axis=1), np.diff(spent, axis=1)
    middle = (logs[:-1] + logs[1:]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(added > 0, paid / added - value, np.where(paid > 0, np.inf, -np.inf))
    return _first_above(middle, excess)


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


def _first_above(logs: Array, excess: Array) -> Array:
    """Interpolate where each row first rises above 0; infinite where it does not."""
    found = np.full(len(excess), np.inf)
    for i, row in enumerate(excess):
        above = np.flatnonzero(row > 0)
        if not len(above):
            continue
        k = int(above[0])
        before, after = (row[k - 1], row[k]) if k else (0.0, 1.0)
        is_sound = k > 0 and np.isfinite(after) and np.isfinite(before)
        place = before / (before - after) if is_sound else 1.0
        found[i] = logs[k] if not k else logs[k - 1] + place * (logs[k] - logs[k - 1])
    return found
