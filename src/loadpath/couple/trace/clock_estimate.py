"""Clocks of the ranks, estimated: how far they are apart, and which of them are off."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.trace.clock_bands import fit_bands, two_way
from loadpath.couple.trace.clock_lines import (
    ClockLines,
    Sightings,
    core_spread,
    fit_lines,
    pick_sightings,
)
from loadpath.couple.trace.clock_network import coarse_offsets, components, nearest, solve_network
from loadpath.couple.trace.clocks import Clocks
from loadpath.couple.trace.rows import Int32Array, Int64Array

__all__ = ["estimate_clocks"]

FloatArray = NDArray[np.float64]

LINE_ERROR = 5.0
"""Two standard errors of a line at its ends, in spreads over the root of the sightings."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """Clocks of a network of pairs, each in its part of it; one entry per rank.

    The error of a clock is `coarse` (whole ns), plus `offset` in the middle of the recording, which
    grows by `drift` a second. `spread` is what its moments leave open.
    """

    part: Int64Array
    coarse: Int64Array
    middle: Int64Array
    half_s: FloatArray
    offset: FloatArray
    drift: FloatArray
    spread: FloatArray


def estimate_clocks(rank: Int32Array, seen: Sightings, clock: Int64Array | None = None) -> Clocks:
    """Estimate the clocks of all ranks from moments that two of them saw.

    Parameters
    ----------
    rank : (n,) array of int32
        Ranks, ascending.
    seen : Sightings
        Differences of clocks.
    clock : (n,) array of int64, optional
        Index of the lowest rank whose clock each one shares; its own where None.

    Returns
    -------
    Clocks
        Errors of all clocks, and which are off. The clock that agrees best with the others (of
        those that can be compared) is right. Another one is off if it errs by more than what its
        sightings spread by around the fitted line, by more than two standard errors of that line,
        and by more than delays leave open.

    Notes
    -----
    Nothing is taken from who arrived last. Lines of least absolute deviation through the
    differences of pairs, with drifts thought to be of 100 ppm unless the data says otherwise, and
    lines amid the bands that delays leave, are joined to one clock per rank by weighted least
    squares over the network of pairs; so ranks that no collective spans are compared by way of
    others.
    """
    clock = np.arange(rank.size) if clock is None else clock
    seen = two_way(_between_clocks(_indexed(seen, rank), clock))
    if not seen.low.size:
        still = np.zeros(rank.size, np.int64)
        alone = np.bincount(clock, minlength=rank.size)[clock] == 1
        return Clocks(rank, still, still, still, clock, still > 0, np.where(alone, -1, 0))
    fit, bands, moments = _fitted(rank.size, seen)
    # ranks that share a clock share all that was found
    fit = _Fit(*(getattr(fit, of.name)[clock] for of in fields(fit)))
    right = _most_agreed(fit)
    left_open = _left_open(moments, bands, clock[np.unique(right)], rank.size)[clock]
    # whole numbers that float64 cannot hold are compared apart
    whole, away = fit.coarse - fit.coarse[right], fit.offset - fit.offset[right]
    growth = fit.drift - fit.drift[right]
    most = np.abs(whole + away) + np.abs(growth) * fit.half_s
    return Clocks(
        rank=rank,
        offset_ns=whole + np.rint(away).astype(np.int64),
        drift_ppb=np.rint(growth).astype(np.int64),
        middle_ns=fit.middle + fit.coarse[right],
        part=fit.part,
        is_off=most > np.maximum(fit.spread, left_open),
        open_ns=np.rint(left_open).astype(np.int64),
    )


def _fitted(n: int, seen: Sightings) -> tuple[_Fit, ClockLines, Sightings]:
    """Fit the network of pairs; also the bands of delays, and the moments, that it rests on."""
    coarse = coarse_offsets(n, seen)
    part = components(n, seen.low, seen.high)
    middle, half_s = _middles(seen.time - coarse[seen.low], part[seen.low], n)
    seen = replace(
        seen,
        time=seen.time - coarse[seen.low] - middle[part[seen.low]],
        value=seen.value - (coarse[seen.high] - coarse[seen.low]),
    )
    moments = pick_sightings(seen, ~seen.is_delay)
    bands = fit_bands(pick_sightings(seen, seen.is_delay))
    offset, drift = solve_network(n, _joined(fit_lines(moments), bands))
    spread = _spreads(n, moments, (offset, drift))
    fit = _Fit(part, coarse, middle[part], half_s[part], offset, drift, spread)
    return fit, bands, moments


def _indexed(seen: Sightings, rank: Int32Array) -> Sightings:
    return replace(
        seen,
        low=np.searchsorted(rank, seen.low).astype(np.int32),
        high=np.searchsorted(rank, seen.high).astype(np.int32),
    )


def _middles(time: Int64Array, part: Int64Array, n: int) -> tuple[Int64Array, FloatArray]:
    """Middle (ns) and half of the length (s) of the time in which each part saw anything."""
    first, last = np.full(n, np.iinfo(np.int64).max), np.full(n, np.iinfo(np.int64).min)
    np.minimum.at(first, part, time)
    np.maximum.at(last, part, time)
    seen = first <= last
    half = np.where(seen, last, 0) // 2 - np.where(seen, first, 0) // 2
    return np.where(seen, first, 0) + half, half / 1e9


def _most_agreed(fit: _Fit) -> NDArray[np.intp]:
    """Find, for each rank, the one of its part whose clock is nearest to all others'."""
    right = np.arange(fit.part.size)
    for number in np.unique(fit.part):
        mine = np.flatnonzero(fit.part == number)
        whole = fit.coarse[mine] - fit.coarse[mine[0]]
        growth = (fit.drift * fit.half_s)[mine]
        far = sum(_distances(whole + fit.offset[mine] + sign * growth) for sign in (-1.0, 1.0))
        right[mine] = mine[int(np.argmin(np.rint(far)))]
    return right


def _distances(value: FloatArray) -> FloatArray:
    """Sum of the distances of each value to all others."""
    order = np.argsort(value, kind="stable")
    ahead = np.cumsum(value[order])
    k = np.arange(1, value.size + 1)
    far = np.empty(value.size)
    far[order] = value[order] * (2 * k - value.size) - 2 * ahead + ahead[-1]
    return far


def _spreads(n: int, seen: Sightings, clock: tuple[FloatArray, FloatArray]) -> FloatArray:
    """How far a clock may be off its moments and yet stay as recorded; 0 without any."""
    offset, drift = clock
    growth = (drift[seen.high] - drift[seen.low]) * (seen.time / 1e9)
    rest = np.abs(seen.value - (offset[seen.high] - offset[seen.low]) - growth)
    both = np.append(seen.low, seen.high)
    spread = core_spread(both, np.tile(rest, 2), n)
    count = np.bincount(both, minlength=n)
    error = np.maximum(1.0, LINE_ERROR / np.sqrt(np.maximum(count, 1)))
    return np.where(count > 0, spread * error, 0.0)


def _left_open(
    moments: Sightings, bands: ClockLines, right: NDArray[np.intp], n: int
) -> FloatArray:
    """Half of what bands leave open between each clock and the right one, along the best chain."""
    half = np.append(bands.offset_error_ns, np.zeros(moments.low.size))
    low, high = np.append(bands.low, moments.low), np.append(bands.high, moments.high)
    return nearest(n, low, high, length=half, start=right)


def _joined(*lines: ClockLines) -> ClockLines:
    return ClockLines(
        *(np.concatenate([getattr(part, name) for part in lines]) for name in ClockLines.__slots__)
    )


def _between_clocks(seen: Sightings, clock: Int64Array) -> Sightings:
    """Let the clocks stand for the ranks that read them, and the lower one come first."""
    low, high = clock[seen.low], clock[seen.high]
    turned = low > high
    between = Sightings(
        low=np.minimum(low, high).astype(np.int32),
        high=np.maximum(low, high).astype(np.int32),
        time=np.where(turned, seen.time + seen.value, seen.time),
        value=np.where(turned, -seen.value, seen.value),
        direction=np.where(turned, -seen.direction, seen.direction),
        is_delay=seen.is_delay,
    )
    return pick_sightings(between, low != high)
