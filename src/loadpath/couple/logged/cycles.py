"""Steps of a log that marks none: the shortest cycle of the communications that all ranks share."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Cycles", "find_cycles", "shortest_cycle"]

Int64Array = NDArray[np.int64]


class Cycles(NamedTuple):
    """When cycles end.

    Attributes
    ----------
    border_ns : (n_cycle + 1,) array of int64
        Ends of cycles, the first border being the begin of the first; empty if there is none.
    length : int
        Communications of a cycle, 0 if there is none.
    group : str
        Group of all ranks whose communications they are; empty if there is none.
    n_left : int
        Communications of that group before the first cycle and after the last.
    """

    border_ns: Int64Array
    length: int
    group: str
    n_left: int


def shortest_cycle(code: NDArray[np.integer]) -> tuple[int, int]:
    """Find the shortest cycle in which a sequence repeats, after some that do not belong to it.

    Parameters
    ----------
    code : (n,) array of int
        What each of n communications is.

    Returns
    -------
    tuple of int
        Length of the cycle, and where the first one begins; (0, 0) if nothing repeats three times
        over at least half of the sequence.

    Examples
    --------
    >>> shortest_cycle(np.array([9, 1, 2, 1, 2, 1, 2, 1, 2]))
    (2, 1)
    >>> shortest_cycle(np.array([1, 2, 3, 4]))
    (0, 0)
    """
    n = code.size
    for length in range(1, n // 3 + 1):
        differs = np.flatnonzero(code[length:] != code[:-length])
        begin = int(differs[-1]) + 1 if differs.size else 0
        if n - begin >= max(3 * length, n / 2):
            return length, begin
    return 0, 0


def find_cycles(call: pl.DataFrame, n_rank: int) -> Cycles:
    """Find when cycles of communications end.

    Parameters
    ----------
    call : polars.DataFrame
        Calls of `Ends`.
    n_rank : int
        Ranks of the job.

    Returns
    -------
    Cycles
        Ends of communications of the group of all ranks that ends a cycle. Of several such groups
        the one with most kinds of communications in a cycle tells, then the one that is used most.
    """
    of_all = call.filter(pl.col("what") == "collective").group_by("instance").agg(
        pl.col("group", "sequence", "collective", "bytes").first(),
        n=pl.col("rank").n_unique(), end=pl.col("end_ns").max(),
    ).filter(pl.col("n") == n_rank)  # fmt: skip
    best = Cycles(np.empty(0, np.int64), 0, "", 0)
    for (group,), told in sorted(of_all.group_by("group"), key=lambda found: str(found[0])):
        row = told.sort("sequence")
        kinds = pl.struct("collective", "bytes").rank("dense")
        length, begin = shortest_cycle(row.select(kinds).to_series().to_numpy().astype(np.int64))
        if length == 0:
            continue
        # one before a cycle begins ends what came before it
        first = max(begin - 1, length - 1)
        end = row["end"].to_numpy()[first::length]
        left = row.height - (end.size - 1) * length
        found = Cycles(end, length, str(group), left)
        if end.size > 2 and (length, end.size) > (best.length, best.border_ns.size):
            best = found
    return best
