"""How far two clocks are apart, as the line amid the band that delays of both directions leave."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.trace import kernels
from loadpath.couple.trace.clock_lines import (
    DRIFT_PRIOR,
    RESOLUTION_NS,
    ClockLines,
    Sightings,
    pick_sightings,
)

__all__ = ["DROPPED_RATIO", "fit_bands", "two_way"]

FloatArray = NDArray[np.float64]
MOST_DRIFT = 1e6
"""No clock gains more, in ns a second: crystals keep 1e5, and NTP steers by at most 5e5."""
DROPPED_RATIO = 0.05
"""Share of delays that may be wrong records, and are left out where they leave no band."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Upper and lower bounds of one pair's difference of clocks, over time from their middle."""

    middle_s: float
    x: FloatArray
    y: FloatArray
    is_upper: NDArray[np.bool_]


def two_way(seen: Sightings) -> Sightings:
    """Leave out delays of pairs that sent one way only: they bound a clock from one side.

    Parameters
    ----------
    seen : Sightings
        Differences of clocks.

    Returns
    -------
    Sightings
        All moments, and the delays of pairs with both directions.
    """
    key = seen.low.astype(np.int64) << 32 | seen.high
    ways = [key[seen.is_delay & (seen.direction == way)] for way in (1, -1)]
    keep = ~seen.is_delay | np.isin(key, np.intersect1d(*ways))
    return pick_sightings(seen, keep)


def fit_bands(seen: Sightings) -> ClockLines:
    """Fit the line that keeps farthest from all bounds of each pair.

    Parameters
    ----------
    seen : Sightings
        Delays of pairs with both directions; times small enough for float64.

    Returns
    -------
    ClockLines
        One line per pair; the error of its offset is half the width of the band.

    Notes
    -----
    Nothing arrives before it was sent, whatever it took: each delay bounds the difference of two
    clocks from one side, and a sound line lies between the bounds of both directions. The line amid
    the widest band is taken; of all drifts that leave nine tenths of that width the least. Up to
    5 % of the delays are left out where no line keeps all of them.

    References
    ----------
    .. [1] Duda, A., Harrus, G., Haddad, Y., Bernard, G. (1987). Estimating global time in
       distributed systems. Proc. 7th Int. Conf. Distributed Computing Systems.
    .. [2] Jezequel, J.-M., Jard, C. (1996). Building a global clock for observing computations in
       distributed memory parallel computers. Concurrency 8(1).
    .. [3] Moon, S. B., Skelly, P., Towsley, D. (1999). Estimation and removal of clock skew from
       network delay measurements. Proc. IEEE INFOCOM.
    """
    key = seen.low.astype(np.int64) << 32 | seen.high
    order = np.argsort(key, kind="stable")
    _, first = np.unique(key[order], return_index=True)
    pairs = np.split(order, first[1:]) if order.size else []
    lines = np.array([_line(_bounds(seen, here)) for here in pairs]).reshape(-1, 5)
    lead = order[first]
    return ClockLines(seen.low[lead], seen.high[lead], *lines.T)


def _bounds(seen: Sightings, here: NDArray[np.intp]) -> _Bounds:
    time_s = seen.time[here] / 1e9
    middle = (time_s.min() + time_s.max()) / 2
    value = seen.value[here].astype(np.float64)
    return _Bounds(middle, time_s - middle, value, seen.direction[here] > 0)


def _line(bounds: _Bounds) -> tuple[float, ...]:
    """Middle, offset, drift, and the errors of both."""
    n_drop = int(DROPPED_RATIO * bounds.x.size)
    band = (0.0, 0.0, -1.0)
    for limit in (DRIFT_PRIOR, MOST_DRIFT):
        band = kernels.robust_band(bounds.x, bounds.y, bounds.is_upper, limit, n_drop)
        if band[2] >= 0:
            break
    offset, drift, half = band
    half = max(abs(half), RESOLUTION_NS)
    steep = float(bounds.x.max()) / half
    drift_error = 1.0 / np.hypot(steep, 1.0 / max(DRIFT_PRIOR, abs(drift)))
    return bounds.middle_s, offset, drift, half, float(drift_error)
