"""What a simulation did: which events it served, in which order, and when."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ServiceOrder"]


@dataclass(frozen=True, slots=True)
class ServiceOrder:
    """One run of a schedule.

    Events are ops, 0 to n_op - 1, and messages: ``n_op + v`` is the message of send v.

    Attributes
    ----------
    order : (n_served,) array of int32
        Events in the order in which processors and interfaces served them.
    start_ns : (2 * n_op,) array of int64
        When each event was served, -1 where it was not.
    late_ns : (2 * n_op,) array of int64
        Noise that each event met, in ns.
    match : (n_op,) array of int32
        Send whose message each receive took, -1 where none.
    done : (n_op,) array of bool
        Whether the op ended.
    """

    order: NDArray[np.int32]
    start_ns: NDArray[np.int64]
    late_ns: NDArray[np.int64]
    match: NDArray[np.int32]
    done: NDArray[np.bool_]
