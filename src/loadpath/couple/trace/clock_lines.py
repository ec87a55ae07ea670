"""How far two clocks are apart, as a line over time, from what both of them saw."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array

__all__ = [
    "DRIFT_PRIOR",
    "RESOLUTION_NS",
    "ClockLines",
    "Sightings",
    "core_spread",
    "fit_lines",
    "pick_sightings",
]

FloatArray = NDArray[np.float64]

DRIFT_PRIOR = 1e5
"""Spread of drifts before any is seen, in ns a second: 100 ppm, what crystals are sold for."""
RESOLUTION_NS = 1000.0
"""Time stamps of whole us are usual."""
MOST_SIGHTINGS = 256
"""Of a pair and direction: the error of a line is a sixteenth of what its sightings spread by."""
N_ROUND, REFRESH = 40, 5
"""Rounds of a fit, and after how many the spread is measured again."""
MEDIAN_ERROR = 1.2533
"""Standard error of a median, in spreads over the root of their number (normal law)."""
QUARTILE = 0.3186
"""Lower quartile of the absolute deviations of a normal law, in units of its spread."""
PRIOR_SPREAD_NS, PRIOR_WEIGHT = 50_000.0, 4
"""What ends are thought to spread by before any is seen, and for how many sightings that counts."""


@dataclass(frozen=True, slots=True)
class Sightings:
    """Differences of two clocks, each seen at one moment.

    Attributes
    ----------
    low, high : (n,) arrays of int32
        Ranks, the lower one first.
    time : (n,) array of int64
        When, on the lower rank's clock, in ns.
    value : (n,) array of int64
        Clock of `high` minus clock of `low`, in ns; delays come on top.
    direction : (n,) array of int32
        0: seen at one moment. 1 (-1): something went from low to high (from high to low), so the
        value is too large (too small) by what it took.
    is_delay : (n,) array of bool
        The value holds a delay of any length, and only the least ones tell; otherwise the delay
        is as typical as the moment.
    """

    low: Int32Array
    high: Int32Array
    time: Int64Array
    value: Int64Array
    direction: Int32Array
    is_delay: BoolArray


@dataclass(frozen=True, slots=True)
class ClockLines:
    """Lines through the sightings of each pair of ranks.

    Attributes
    ----------
    low, high : (n,) arrays of int32
        Ranks.
    middle_s : (n,) array of float64
        Time at which `offset_ns` holds, in s.
    offset_ns, drift : (n,) arrays of float64
        Clock of `high` minus clock of `low`, and by how much it grows, in ns a second.
    offset_error_ns, drift_error : (n,) arrays of float64
        Their standard errors.
    """

    low: Int32Array
    high: Int32Array
    middle_s: FloatArray
    offset_ns: FloatArray
    drift: FloatArray
    offset_error_ns: FloatArray
    drift_error: FloatArray


def fit_lines(seen: Sightings) -> ClockLines:
    """Fit a line through the moments of each pair and direction.

    Parameters
    ----------
    seen : Sightings
        Moments, no delays; differences and times small enough for float64.

    Returns
    -------
    ClockLines
        One line per pair and direction. Directions that disagree widen each other's error by half
        of that: the delays of both ways may differ by as much.

    References
    ----------
    .. [1] Mills, D. L. (1991). Internet time synchronization: the Network Time Protocol. IEEE
       Trans. Communications 39(10). (The least delays of both directions tell the offset.)
    .. [2] Schlossmacher, E. J. (1973). An iterative technique for absolute deviations curve
       fitting. JASA 68(344).
    """
    seen = _thinned(seen)
    key = (seen.low.astype(np.int64) << 32 | seen.high) * 4 + seen.direction + 1
    _, first, pair = np.unique(key, return_index=True, return_inverse=True)
    n = np.bincount(pair)
    middle = np.bincount(pair, seen.time / 1e9) / n
    x = seen.time / 1e9 - middle[pair]
    offset, drift, spread = _robust_lines(pair, x, seen.value.astype(np.float64))
    width = np.bincount(pair, x * x)
    drift_error = 1.0 / np.sqrt(width / (MEDIAN_ERROR * spread) ** 2 + DRIFT_PRIOR**-2)
    lines = ClockLines(
        low=seen.low[first],
        high=seen.high[first],
        middle_s=middle,
        offset_ns=offset,
        drift=drift,
        offset_error_ns=MEDIAN_ERROR * spread / np.sqrt(n),
        drift_error=drift_error,
    )
    return _both_ways(lines, seen.direction[first])


def pick_sightings(seen: Sightings, keep: NDArray[Any]) -> Sightings:
    """Keep some sightings.

    Parameters
    ----------
    seen : Sightings
        Differences of clocks.
    keep : array of bool or int
        Which.

    Returns
    -------
    Sightings
        Those.
    """
    return Sightings(*(getattr(seen, name)[keep] for name in Sightings.__slots__))


def _thinned(seen: Sightings) -> Sightings:
    """Keep so many sightings of each pair and direction, evenly over the time, as a line needs."""
    order = np.lexsort((seen.time, seen.direction, seen.high, seen.low))
    columns = [column[order] for column in (seen.low, seen.high, seen.direction)]
    new = np.ones(order.size, np.bool_)
    new[1:] = np.any([column[1:] != column[:-1] for column in columns], axis=0)
    pair = np.cumsum(new) - 1
    n = np.bincount(pair)[pair]
    place = np.arange(order.size) - np.flatnonzero(new)[pair]
    kept = place * MOST_SIGHTINGS // n != (place - 1) * MOST_SIGHTINGS // n
    return pick_sightings(seen, np.sort(order[kept | (n <= MOST_SIGHTINGS)]))


def _robust_lines(
    pair: NDArray[np.intp], x: FloatArray, y: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Fit lines of least absolute deviation, then ones through where the sightings are densest."""
    offset, drift = _medians(pair, y), np.zeros(int(pair.max(initial=-1)) + 1)
    spread = np.full(offset.size, RESOLUTION_NS)
    # marks of a busy host come late, seldom early: the middle of them is late too
    for k in range(N_ROUND):
        rest = np.abs(y - offset[pair] - drift[pair] * x)
        if k % REFRESH == 0:
            spread = core_spread(pair, rest, offset.size)
        s = spread[pair]
        near = (
            s * np.maximum(rest, RESOLUTION_NS / 100) if k < N_ROUND // 2 else s * s + rest * rest
        )
        offset, drift = _weighted_lines(pair, x, y, 1.0 / near)
    return offset, drift, spread


def core_spread(group: NDArray[Any], rest: FloatArray, n_group: int) -> FloatArray:
    """Measure what the nearer ones of the sightings spread by around their line.

    Parameters
    ----------
    group : (n,) array of int
        Pair or rank of each sighting.
    rest : (n,) array of float64
        Absolute distance from the line, in ns.
    n_group : int
        Number of groups.

    Returns
    -------
    (n_group,) array of float64
        Spread of a normal law with the same lower quartile, in ns; few sightings are outweighed
        by what is thought before any is seen.
    """
    order = np.lexsort((rest, group))
    n = np.bincount(group, minlength=n_group)
    first = np.cumsum(n) - n
    quartile = np.zeros(n_group)
    some = n > 0
    quartile[some] = rest[order][(first + (n - 1) // 4)[some]]
    seen = n * (quartile / QUARTILE) ** 2
    return np.sqrt((PRIOR_WEIGHT * PRIOR_SPREAD_NS**2 + seen) / (PRIOR_WEIGHT + n))


def _weighted_lines(
    pair: NDArray[np.intp], x: FloatArray, y: FloatArray, weight: FloatArray
) -> tuple[FloatArray, FloatArray]:
    total = np.bincount(pair, weight)
    mean_x, mean_y = (np.bincount(pair, weight * value) / total for value in (x, y))
    # about the means no difference of large numbers divides
    apart = x - mean_x[pair]
    square = np.bincount(pair, weight * apart * apart) + DRIFT_PRIOR**-2
    drift = np.bincount(pair, weight * apart * (y - mean_y[pair])) / square
    return mean_y - drift * mean_x, drift


def _medians(pair: NDArray[np.intp], y: FloatArray) -> FloatArray:
    order = np.lexsort((y, pair))
    n = np.bincount(pair)
    first = np.cumsum(n) - n
    middle: FloatArray = y[order][first + (n - 1) // 2]
    return middle


def _both_ways(lines: ClockLines, direction: Int32Array) -> ClockLines:
    """Let the two directions of a pair widen each other's error by half of what they differ."""
    pair = lines.low.astype(np.int64) << 32 | lines.high
    _, group = np.unique(pair, return_inverse=True)
    there, back = np.full((2, int(group.max(initial=-1)) + 1), np.nan)
    there[group[direction > 0]] = lines.offset_ns[direction > 0]
    back[group[direction < 0]] = lines.offset_ns[direction < 0]
    gap = np.abs(there - back)[group] / 2
    error = np.hypot(lines.offset_error_ns, np.nan_to_num(gap))
    return replace(lines, offset_error_ns=error)
