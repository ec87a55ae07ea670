"""Steps of a log that marks none: the shortest cycle of the communications that all ranks share."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Cycles", "calls_of_all", "find_cycles", "shortest_cycle"]

Int64Array = NDArray[np.int64]


class Cycles(NamedTuple):
    """When cycles end.

    Attributes
    ----------
    border_ns : (n_cycle + 1,) array of int64
        Ends of cycles, the first border being the begin of the first; empty if there is none.
    length : int
        Communications of all ranks in a cycle, 0 if there is none.
    n_left : int
        Such communications before the first cycle and after the last.
    """

    border_ns: Int64Array
    length: int
    n_left: int


def calls_of_all(call: pl.DataFrame, n_rank: int) -> pl.DataFrame:
    """List the communications in which all ranks take part, in the order they were asked for.

    Parameters
    ----------
    call : polars.DataFrame
        Calls of `Ends`.
    n_rank : int
        Ranks of the job.

    Returns
    -------
    polars.DataFrame
        ``instance, group, collective, bytes, end_ns``, and what it took the middle rank
        (``middle_ns``).
    """
    of = call.sort("rank", maintain_order=True).group_by("instance", maintain_order=True).agg(
        pl.col("group", "collective", "bytes", "created_ns").first(), pl.col("end_ns").max(),
        n=pl.col("rank").n_unique(), middle_ns=(pl.col("end_ns") - pl.col("start_ns")).median(),
    )  # fmt: skip
    # one rank's own order: its clock alone is read
    return of.filter(pl.col("n") == n_rank).sort("created_ns", "end_ns", "instance")


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


def find_cycles(of_all: pl.DataFrame) -> Cycles:
    """Find when cycles of communications end.

    Parameters
    ----------
    of_all : polars.DataFrame
        What `calls_of_all` returned.

    Returns
    -------
    Cycles
        The shortest cycles of what all ranks take part in.
    """
    kinds = of_all.select(pl.struct("group", "collective", "bytes").rank("dense")).to_series()
    length, begin = shortest_cycle(kinds.to_numpy().astype(np.int64))
    if length == 0:
        return Cycles(np.empty(0, np.int64), 0, 0)
    # the one before a cycle begins ends what came before it
    border = of_all["end_ns"].to_numpy()[max(begin - 1, length - 1) :: length]
    if border.size < 2:
        return Cycles(border[:0], 0, 0)
    return Cycles(border, length, of_all.height - (border.size - 1) * length)
