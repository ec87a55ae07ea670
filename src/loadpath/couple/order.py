"""Order of ops by rank, lane and start: recordings hold most of it already."""

from typing import Any

import numpy as np

from loadpath.couple.graph import Int32Array, Int64Array
from loadpath.couple.kernels import group_by_key

__all__ = ["lane_order"]


def lane_order(rank: Int32Array, lane: Int32Array, *keys: Int64Array) -> Int64Array:
    """Order entries by rank, lane and further keys; of equal ones the first comes first.

    Parameters
    ----------
    rank, lane : (n,) arrays of int32
        Where; not negative.
    *keys : (n,) arrays of int64
        Such as starts, the most important first. Lanes that are in this order are not sorted.

    Returns
    -------
    (n,) array of int64
        Entries in order.

    Examples
    --------
    >>> lane_order(np.array([1, 0, 1]), np.array([0, 0, 0]), np.array([5, 7, 3])).tolist()
    [1, 2, 0]
    """  # numpydoc ignore=PR01,PR02
    width = int(lane.max(initial=0)) + 1
    slot = rank.astype(np.int64) * width + lane
    first, order = group_by_key(slot, int(slot.max(initial=-1)) + 1)
    order = np.asarray(order, np.int64)
    for k in np.flatnonzero(np.diff(first) > 1).tolist():
        here = order[first[k] : first[k + 1]]
        values = [key[here] for key in keys]
        if not _ascends(values):
            order[first[k] : first[k + 1]] = here[np.lexsort(values[::-1])]
    return order


def _ascends(values: list[Any]) -> bool:
    """Whether rows of values follow each other, the first value the most important."""
    tied = np.ones(values[0].size - 1, np.bool_)
    for value in values:
        if (tied & (value[1:] < value[:-1])).any():
            return False
        tied &= value[1:] == value[:-1]
        if not tied.any():
            return True
    return True
