"""Clocks of the ranks: what is taken off their times."""

from dataclasses import dataclass, replace

import numpy as np

from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array

__all__ = ["Clocks", "only", "set_clocks"]


@dataclass(frozen=True, slots=True)
class Clocks:
    """What is taken off the recorded times of each rank.

    A recorded time t becomes t - offset - drift * (t - offset - middle).

    Attributes
    ----------
    rank : (n,) array of int32
        Ranks, ascending.
    offset_ns, drift_ppb : (n,) arrays of int64
        Error of each clock in the middle of the recording, and its growth.
    middle_ns : (n,) array of int64
        The middle of the recording, on the clock that is taken as right.
    part : (n,) array of int64
        Lowest rank index of those whose clocks can be compared with this one.
    is_off : (n,) array of bool
        The error is beyond what the sightings leave open.
    open_ns : (n,) array of int64
        Half of what delays leave open between this clock and the one taken as right, where nothing
        else tells; 0 for that one and those that share it, -1 where nothing at all was seen.
    """

    rank: Int32Array
    offset_ns: Int64Array
    drift_ppb: Int64Array
    middle_ns: Int64Array
    part: Int64Array
    is_off: BoolArray
    open_ns: Int64Array

    @property
    def are_moved(self) -> BoolArray:
        """Which clocks are set."""
        return np.asarray((self.offset_ns != 0) | (self.drift_ppb != 0))


def only(clocks: Clocks, chosen: BoolArray) -> Clocks:
    """Leave all clocks as recorded but some.

    Parameters
    ----------
    clocks : Clocks
        Clocks as estimated.
    chosen : (n,) array of bool
        Which of them to set.

    Returns
    -------
    Clocks
        The same, with nothing to take off the others.
    """
    return replace(
        clocks,
        offset_ns=np.where(chosen, clocks.offset_ns, 0),
        drift_ppb=np.where(chosen, clocks.drift_ppb, 0),
    )


def set_clocks(clocks: Clocks, rank: Int32Array, time_ns: Int64Array) -> Int64Array:
    """Take the errors of clocks off recorded times.

    Parameters
    ----------
    clocks : Clocks
        What to take off.
    rank : (n,) array of int32
        Rank that recorded each time.
    time_ns : (n,) array of int64
        Recorded times, in ns.

    Returns
    -------
    (n,) array of int64
        Times on one clock, in ns; equal orders within a rank.
    """
    index = np.searchsorted(clocks.rank, rank)
    near = time_ns - clocks.offset_ns[index]
    drift = clocks.drift_ppb[index] * 1e-9
    moved: Int64Array = near - np.rint(drift * (near - clocks.middle_ns[index])).astype(np.int64)
    return moved
