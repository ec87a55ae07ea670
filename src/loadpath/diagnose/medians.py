"""Medians of many groups at once."""

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose import kernels

__all__ = ["medians"]

FloatArray = NDArray[np.float64]


def medians(
    number: NDArray[np.int32], value: FloatArray, n_group: int, *, lower: bool = False
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Take the median of each group.

    Parameters
    ----------
    number : (n,) array of int32
        Group of each value, from 0.
    value : (n,) array of float64
        Values, none of them NaN.
    n_group : int
        Number of groups.
    lower : bool
        Of an even number take the lower of the two middle values, not their mean.

    Returns
    -------
    median : (n_group,) array of float64
        NaN for a group without values.
    size : (n_group,) array of int64
        Values of each group.

    Examples
    --------
    >>> median, size = medians(np.array([0, 1, 0, 1, 1]), np.array([4.0, 1, 2, 9, 3]), 2)
    >>> median.tolist(), size.tolist()
    ([3.0, 3.0], [2, 3])
    """
    size = np.bincount(number, minlength=n_group)
    median = np.empty(n_group)
    kernels.group_medians(number, np.ascontiguousarray(value), size, lower, median)
    return median, size
