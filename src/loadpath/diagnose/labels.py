"""Labels as small numbers: grouping by one whole number is many times faster than by text."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.kernels import group_by_key

__all__ = ["compact", "first_of", "joint_code", "numbered", "place_in_group", "sum_by"]

ROOM = 4
"""Codes are numbered by a table, not by sorting, where it has at most this many entries a row."""


def compact(code: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Give each entry the number of its value among the different ones, in their order.

    Parameters
    ----------
    code : (n,) array of integers
        Values; fast where they lie close together.

    Returns
    -------
    values : (n_value,) array of int64
        Different values, ascending.
    number : (n,) array of int32
        Place of each entry's value in `values`.

    Examples
    --------
    >>> values, number = compact(np.array([7, 3, 7]))
    >>> values.tolist(), number.tolist()
    ([3, 7], [1, 0, 1])
    """
    low, high = (int(code.min()), int(code.max())) if code.size else (0, -1)
    if high - low >= ROOM * max(code.size, 64):
        values, number = np.unique(code, return_inverse=True)
        return values.astype(np.int64), number.astype(np.int32)
    off = code - low if low else code
    seen = np.zeros(high - low + 1, np.bool_)
    seen[off] = True
    place = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(seen) + low, place[off]


def first_of(number: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Find the first entry of each number.

    Parameters
    ----------
    number : (n_entry,) array of integers
        Numbers from 0; each occurs.
    n : int
        How many different ones there are.

    Returns
    -------
    (n,) array of int64
        Places.

    Examples
    --------
    >>> first_of(np.array([1, 0, 1]), 2).tolist()
    [1, 0]
    """
    first = np.empty(n, np.int64)
    first[number[::-1]] = np.arange(number.size - 1, -1, -1)  # the last one that is written stays
    return first


def numbered(column: pl.Series) -> tuple[NDArray[np.int32], list[str]]:
    """Give each row the number of its value.

    Parameters
    ----------
    column : polars.Series
        Names (text, Categorical or Enum) or whole numbers, without empty values.

    Returns
    -------
    number : (n,) array of int32
        Place of each row's value in `values`.
    values : list of str
        Different values in their order, as text.

    Examples
    --------
    >>> number, values = numbered(pl.Series(["send", "recv", "send"], dtype=pl.Categorical))
    >>> number.tolist(), values
    ([1, 0, 1], ['recv', 'send'])
    """
    named = column.cast(pl.Categorical) if column.dtype == pl.String else column
    found, number = compact(named.to_physical().to_numpy())
    values = column.gather(first_of(number, found.size)).to_list()
    place = np.empty(len(values), np.int32)
    place[sorted(range(len(values)), key=values.__getitem__)] = np.arange(len(values))
    return place[number], [str(value) for value in sorted(values)]


def joint_code(*columns: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give rows that agree in all columns the same number, ascending with the columns.

    Parameters
    ----------
    *columns : (n,) arrays of integers or bools
        Columns; the product of their ranges must stay below 2**63.

    Returns
    -------
    (n,) array of int64
        Codes.

    Examples
    --------
    >>> joint_code(np.array([4, 4, 5]), np.array([0, 2, 0])).tolist()
    [0, 2, 3]
    """  # numpydoc ignore=PR01,PR02
    code = np.zeros(columns[0].size, np.int64)
    for column in columns:
        low, high = (int(column.min()), int(column.max())) if column.size else (0, 0)
        code *= high - low + 1
        code += column.astype(np.int64, copy=False)
        code -= low
    return code


def place_in_group(group: NDArray[np.int64], start: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each entry its place among those of its group.

    Parameters
    ----------
    group : (n,) array of int64
        Group of each entry.
    start : (n,) array of int64
        What they are ordered by; of equals the first entry comes first.

    Returns
    -------
    (n,) array of int64
        From 0 in each group.

    Examples
    --------
    >>> place_in_group(np.array([5, 7, 5]), np.array([9, 1, 4])).tolist()
    [1, 0, 0]
    """
    # starts come nearly in order; groups are then counted out, which keeps that order
    by_start = np.argsort(start, kind="stable")
    found, number = compact(group)
    first, order = group_by_key(number[by_start], found.size)
    place = np.empty(group.size, np.int64)
    place[by_start[order]] = np.arange(group.size) - np.repeat(first[:-1], np.diff(first))
    return place


def sum_by(
    code: NDArray[np.integer], value: NDArray[np.float64] | NDArray[np.bool_], n: int
) -> NDArray[np.float64]:
    """Sum values by the number of their group.

    Parameters
    ----------
    code : (n_value,) array of integers
        Group of each value, from 0.
    value : (n_value,) array of float64 or bool
        Values.
    n : int
        Number of groups, more than the largest of `code`.

    Returns
    -------
    (n,) array of float64
        Sums; 0 for groups without values.

    Examples
    --------
    >>> sum_by(np.array([0, 2, 0]), np.array([1.0, 2.0, 3.0]), 3).tolist()
    [4.0, 0.0, 2.0]
    """
    return np.bincount(code, value, n).astype(np.float64, copy=False)
