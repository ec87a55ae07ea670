"""By how much a world departs from the median: lopsided bands, errors that are smooth over sizes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["NORMAL_95", "shifted", "smooth_normals"]

Array = NDArray[np.float64]
NORMAL_95 = 1.6448536269514722
"""Standard deviations from the median to the edge of a 90 % band."""


def shifted(normals: Array, shifts: Sequence[tuple[float, float]]) -> Array:
    """Turn standard normals into logarithms, by what the edges of a 90 % band do.

    Parameters
    ----------
    normals : ndarray of float, shape (n_sample,)
        Where each world lies in the band.
    shifts : sequence of (float, float)
        Logarithms at the lower and the upper edge, for each size.

    Returns
    -------
    ndarray of float, shape (n_sample, n_size)
        Linear on each side of the median.

    Examples
    --------
    >>> shifted(np.array([-NORMAL_95, 0.0, 2 * NORMAL_95]), [(-0.1, 0.3)])[:, 0].round(9).tolist()
    [-0.1, 0.0, 0.6]
    """
    low, high = np.asarray(shifts, dtype=np.float64).T
    share = normals[:, None] / NORMAL_95
    return np.asarray(np.where(share < 0, -share * low, share * high) + 0.0)


def smooth_normals(n: NDArray[np.int64], rng: np.random.Generator, n_sample: int) -> Array:
    """Draw standard normals that change smoothly with the logarithm of the size.

    Parameters
    ----------
    n : ndarray of int64, shape (n_size,)
        Accelerators, in any order.
    rng : numpy.random.Generator
        Source of randomness.
    n_sample : int
        Worlds.

    Returns
    -------
    ndarray of float, shape (n_sample, n_size)
        Alike at neighbouring sizes, independent at the smallest and the largest.
    """
    place = np.zeros(len(n))
    if n.min() < n.max():
        place = np.log(n / n.min()) / np.log(n.max() / n.min())
    first, last = rng.standard_normal((2, n_sample, 1))
    return np.asarray(first * np.sqrt(1 - place) + last * np.sqrt(place), dtype=np.float64)
