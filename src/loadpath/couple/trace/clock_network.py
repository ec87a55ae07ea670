"""Clocks of all ranks from differences of pairs: a network that closes, solved by least squares."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.trace.clock_lines import ClockLines, Sightings
from loadpath.couple.trace.rows import Int64Array

__all__ = ["coarse_offsets", "components", "nearest", "solve_network"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[Any]
PRECISION = 1e-12


def components(n: int, low: IntArray, high: IntArray) -> IntArray:
    """Find the parts of a network that nothing connects.

    Parameters
    ----------
    n : int
        Number of nodes.
    low, high : (n_edge,) arrays of int
        Ends of the edges.

    Returns
    -------
    (n,) array of int
        Lowest node of each node's part.

    Examples
    --------
    >>> components(4, np.array([0, 2]), np.array([1, 3])).tolist()
    [0, 0, 2, 2]
    """
    part = np.arange(n)
    while True:
        least = part.copy()
        np.minimum.at(least, low, part[high])
        np.minimum.at(least, high, part[low])
        least = least[least]
        if np.array_equal(least, part):
            return part
        part = least


def coarse_offsets(n: int, seen: Sightings) -> Int64Array:
    """Align clocks roughly, in whole ns, so that what remains fits in float64 whatever the epochs.

    Parameters
    ----------
    n : int
        Number of ranks.
    seen : Sightings
        Differences; `low` and `high` are indices below `n`.

    Returns
    -------
    (n,) array of int64
        Offsets along a tree of pairs, each by the middle sighting; 0 for the first of each part.
    """
    offset = np.zeros(n, np.int64)
    order = np.lexsort((seen.value, seen.high, seen.low))
    pair = seen.low[order].astype(np.int64) * n + seen.high[order]
    first = np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]])[: pair.size]
    middle = order[(first + np.append(first[1:], pair.size)[: first.size] - 1) // 2]
    low, high, value = seen.low[middle], seen.high[middle], seen.value[middle]
    known = components(n, low, high) == np.arange(n)
    while True:
        forth, back = known[low] & ~known[high], known[high] & ~known[low]
        if not (forth | back).any():
            return offset
        offset[high[forth]] = offset[low[forth]] + value[forth]
        offset[low[back]] = offset[high[back]] - value[back]
        known[high[forth]] = True
        known[low[back]] = True


def nearest(
    n: int, low: IntArray, high: IntArray, *, length: FloatArray, start: IntArray
) -> FloatArray:
    """Find the shortest way from the nearest of some nodes.

    Parameters
    ----------
    n : int
        Number of nodes.
    low, high : (n_edge,) arrays of int
        Ends of the edges.
    length : (n_edge,) array of float64
        Their lengths, not negative.
    start : array of int
        Where ways begin.

    Returns
    -------
    (n,) array of float64
        Length of the way to each node; 0 where there is none.

    Examples
    --------
    >>> low, high = np.array([0, 1]), np.array([1, 2])
    >>> nearest(3, low, high, length=np.array([2.0, 3.0]), start=np.array([0])).tolist()
    [0.0, 2.0, 5.0]
    """
    way = np.full(n, np.inf)
    way[start] = 0.0
    while True:
        shorter = way.copy()
        np.minimum.at(shorter, low, way[high] + length)
        np.minimum.at(shorter, high, way[low] + length)
        if np.array_equal(shorter, way):
            return np.where(np.isinf(way), 0.0, way)
        way = shorter


def solve_network(n: int, lines: ClockLines) -> tuple[FloatArray, FloatArray]:
    """Find the clock of each rank such that the differences of pairs are met best.

    Parameters
    ----------
    n : int
        Number of ranks.
    lines : ClockLines
        Differences of pairs; `low` and `high` are indices below `n`.

    Returns
    -------
    offset_ns, drift : (n,) arrays of float64
        Of each clock at time 0; 0 for the first of each connected part. Each difference counts by the
        inverse square of its error.
    """
    drift = _potentials(n, lines, lines.drift, lines.drift_error)
    between = drift[lines.high] - drift[lines.low]
    offset = lines.offset_ns - between * lines.middle_s
    return _potentials(n, lines, offset, lines.offset_error_ns), drift


def _potentials(n: int, lines: ClockLines, value: FloatArray, error: FloatArray) -> FloatArray:
    """Least squares on a network, by preconditioned conjugate gradients."""
    low, high = lines.low, lines.high
    weight = (error.min(initial=np.inf) / error) ** 2
    diagonal = np.bincount(low, weight, n) + np.bincount(high, weight, n)
    scale = 1.0 / np.where(diagonal > 0, diagonal, 1.0)
    x = np.zeros(n)
    rest = np.bincount(high, weight * value, n) - np.bincount(low, weight * value, n)
    way = np.zeros(n)
    power = before = 0.0
    start = float(rest @ (scale * rest))
    for _ in range(4 * n):
        power = float(rest @ (scale * rest))
        if power <= PRECISION**2 * start:
            break
        way = scale * rest + (power / before if before else 0.0) * way
        flow = weight * (way[high] - way[low])
        pull = np.bincount(high, flow, n) - np.bincount(low, flow, n)
        length = power / float(way @ pull)
        x, rest, before = x + length * way, rest - length * pull, power
    part = components(n, low, high)
    return x - x[part]
