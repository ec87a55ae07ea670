"""Medians, quantiles, sums and extremes of many groups at once.

Values may come in rows, one for each run of a graph; groups are groups of columns. What is *pooled*
looks at all rows together, everything else at each row by itself.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.kernels import group_by_key
from loadpath.diagnose import group_kernels

__all__ = ["medians", "medians_by_run", "quantiles", "reduced"]

FloatArray = NDArray[np.float64]
Numbers = NDArray[np.integer]
Values = NDArray[np.float64 | np.int64]


def medians(
    number: Numbers,
    value: Values,
    n_group: int,
    *,
    lower: bool = False,
    column: NDArray[np.intp] | None = None,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Take the pooled median of each group.

    Parameters
    ----------
    number : (n,) array of int32
        Group of each column, from 0.
    value : (n,) or (n_run, n) array of float64 or int64
        Values, none of them NaN.
    n_group : int
        Number of groups.
    lower : bool
        Of an even number take the lower of the two middle values, not their mean.
    column : (n,) array of int, optional
        Columns of `value` that `number` is of; all of them if left out.

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
    rows = np.atleast_2d(value)
    size = len(rows) * np.bincount(number, minlength=n_group)
    out = np.empty((1, n_group))
    return _of_groups((number, column), rows, size, out, lower=lower)[0], size


def medians_by_run(number: Numbers, value: FloatArray, n_group: int) -> FloatArray:
    """Take the median of each group in each row.

    Parameters
    ----------
    number : (n,) array of int32
        Group of each column, from 0.
    value : (n,) or (n_run, n) array of float64
        Values, none of them NaN.
    n_group : int
        Number of groups.

    Returns
    -------
    (n_group,) or (n_run, n_group) array of float64
        NaN for a group without values.
    """
    rows = np.atleast_2d(value)
    size = np.bincount(number, minlength=n_group)
    found = _of_groups((number, None), rows, size, np.empty((len(rows), n_group)))
    return found if value.ndim > 1 else found[0]


def quantiles(number: Numbers, value: Values, n_group: int, share: float) -> FloatArray:
    """Take a pooled quantile of each group, between two values in proportion.

    Parameters
    ----------
    number : (n,) array of int32
        Group of each column, from 0.
    value : (n,) or (n_run, n) array of float64 or int64
        Values, none of them NaN.
    n_group : int
        Number of groups.
    share : float
        Which quantile, in [0, 1].

    Returns
    -------
    (n_group,) array of float64
        NaN for a group without values.

    Examples
    --------
    >>> quantiles(np.array([0, 0, 0]), np.array([4.0, 1, 2]), 1, 0.1).tolist()
    [1.2]
    """
    rows = np.atleast_2d(value)
    size = len(rows) * np.bincount(number, minlength=n_group)
    return np.asarray(
        _of_groups((number, None), rows, size, np.empty((1, n_group)), share=share)[0]
    )


def _of_groups(
    of_columns: tuple[Numbers, NDArray[np.intp] | None],
    value: Values,
    size: NDArray[np.int64],
    out: FloatArray,
    *,
    share: float = 0.5,
    lower: bool = False,
) -> FloatArray:
    """Fill `out` (n_row, n_group), each row of it from as many rows of `value`."""
    number, column = of_columns
    column = np.arange(number.size) if column is None else column
    rows = np.ascontiguousarray(value)
    room = np.empty(int(size.sum()))  # NumPy asks for large pages, which compiled code does not
    group_kernels.group_quantiles(
        number.astype(np.int32, copy=False), column, rows, size, share, lower, room, out
    )
    return out


def reduced(function: np.ufunc, number: Numbers, value: Any, n_group: int) -> Any:
    """Add up, or take the extreme of, each group in each row.

    Parameters
    ----------
    function : numpy.ufunc
        Such as ``np.add`` or ``np.maximum``.
    number : (n,) array of integers
        Group of each column, from 0; no group is empty.
    value : (n,) or (n_run, n) array
        Values.
    n_group : int
        Number of groups.

    Returns
    -------
    (n_group,) or (n_run, n_group) array
        One value for each group.

    Examples
    --------
    >>> reduced(np.maximum, np.array([1, 0, 1]), np.array([[4, 1, 9], [3, 2, 0]]), 2).tolist()
    [[1, 9], [2, 3]]
    """
    if not n_group:
        return np.zeros((*value.shape[:-1], 0), value.dtype)
    first, order = group_by_key(number, n_group)
    ordered = np.take(value, order, axis=-1)
    return ordered if n_group == number.size else function.reduceat(ordered, first[:-1], axis=-1)
