"""Possible worlds side by side: bands over them, and where each first crosses a line."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Band", "Flag", "band_of", "first_above", "flag_of"]

Array = NDArray[np.float64]


class Band(NamedTuple):
    """Median and edges over the worlds.

    Attributes
    ----------
    median, low, high : float
        Half of the worlds lie below the median, and the band's level between low and high.
    """

    median: float
    low: float
    high: float


class Flag(NamedTuple):
    """A value at which something happens in half of the worlds or more.

    Attributes
    ----------
    n : float
        Where half of the worlds have it behind them.
    low, high : float or None
        Band; None where it reaches beyond what was looked at.
    likelihood_ratio : float
        Share of the worlds in which it happens at all.
    """

    n: float
    low: float
    high: float | None
    likelihood_ratio: float


def band_of(values: Array, level: float = 0.9) -> Band:
    """Summarise one figure over the worlds.

    Parameters
    ----------
    values : ndarray of float, shape (n_sample,)
        The figure in each world.
    level : float
        Share of the worlds inside the band.

    Returns
    -------
    Band
        Median and edges.

    Examples
    --------
    >>> band_of(np.array([1.0, 2.0, 3.0]), 1.0)
    Band(median=2.0, low=1.0, high=3.0)
    """
    edges = np.quantile(values, [0.5, (1 - level) / 2, (1 + level) / 2])
    return Band(*(float(edge) for edge in edges))


def flag_of(places: Array, level: float = 0.9) -> Flag | None:
    """Summarise where something happens, which in some worlds it never does.

    Parameters
    ----------
    places : ndarray of float, shape (n_sample,)
        Logarithm of the place in each world, infinite where it does not happen.
    level : float
        Share of the worlds inside the band.

    Returns
    -------
    Flag or None
        None where it happens in less than half of the worlds.

    Examples
    --------
    >>> flag_of(np.log([8.0, 16.0, 32.0, np.inf])).n, flag_of(np.full(3, np.inf))
    (16.0, None)
    """
    edges = [0.5, (1 - level) / 2, (1 + level) / 2]
    median, low, high = np.quantile(places, edges, method="inverted_cdf")
    if np.isposinf(median):
        return None
    upper = None if np.isposinf(high) else float(np.exp(high))
    share = float(np.mean(~np.isposinf(places)))
    return Flag(round(float(np.exp(median)), 9), float(np.exp(low)), upper, share)


def first_above(place: Array, excess: Array) -> Array:
    """Find where each world first rises above 0.

    Parameters
    ----------
    place : ndarray of float, shape (n_place,)
        Where the excess is known, growing.
    excess : ndarray of float, shape (n_sample, n_place)
        Positive beyond the line.

    Returns
    -------
    ndarray of float, shape (n_sample,)
        Interpolated places; the first where a world begins above, infinite where it never rises.

    Examples
    --------
    >>> first_above(np.array([0.0, 1.0]), np.array([[-1.0, 3.0], [-1.0, -1.0], [1.0, 1.0]]))
    array([0.25,  inf, 0.  ])
    """
    found = np.full(len(excess), np.inf)
    for i, row in enumerate(excess):
        above = np.flatnonzero(row > 0)
        if not len(above):
            continue
        k = int(above[0])
        if k == 0 or not np.isfinite(row[k - 1 : k + 1]).all():
            found[i] = place[k]
            continue
        share = row[k - 1] / (row[k - 1] - row[k])
        found[i] = place[k - 1] + share * (place[k] - place[k - 1])
    return found
