"""Whether ranks that look missing have been silent for longer than before, as far as dumps tell."""

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import NamedTuple

import polars as pl

__all__ = ["Silence", "ordinary_silence"]


class Silence(NamedTuple):
    """How long a rank had asked for nothing when its dump was written.

    Attributes
    ----------
    rank : int
        The rank of those that look missing that had been silent longest.
    silent_ns : int
        From its last call to the time at which its file was written: no less than its silence.
    usual_ns : int
        Its longest time between two calls before.
    """

    rank: int
    silent_ns: int
    usual_ns: int


def ordinary_silence(
    flight: pl.DataFrame, missing: Collection[int], written_ns: Mapping[int, int]
) -> Silence | None:
    """Tell a job that was dumped while it ran from one that stands still.

    A dump does not say when it was made, but not after its file was last written. So a rank had asked for
    nothing for at most the time between its last call and then. Where that is no longer than it went
    without a call before, nothing tells that it had stopped.

    Parameters
    ----------
    flight : polars.DataFrame
        Table `FLIGHT` of all dumps.
    missing : collection of int
        Ranks that never asked for what their peers wait for.
    written_ns : mapping of int to int
        When the file of each rank was last written, ns of the epoch.

    Returns
    -------
    Silence or None
        None where one of these ranks was silent for longer than ever before, or that is not known: it
        left no dump or fewer than three calls, or its file was copied later.

    Examples
    --------
    Rank 2 asked at 10, 40 and 50 ns; its dump was written at 65 ns:

    >>> asked = pl.DataFrame({"rank": [2, 2, 2], "created_ns": [10, 40, 50]})
    >>> ordinary_silence(asked, [2], {2: 65})
    Silence(rank=2, silent_ns=15, usual_ns=30)
    >>> ordinary_silence(asked, [2], {2: 95})
    """
    found = []
    for rank in missing:
        calls = flight.filter(pl.col("rank") == rank)["created_ns"].sort().to_list()
        if rank not in written_ns or len(calls) < 3:
            return None
        usual = max(after - before for before, after in pairwise(calls))
        silent = written_ns[rank] - calls[-1]
        # a file that was written before the last call in it is on another clock
        if not 0 <= silent <= usual:
            return None
        found.append(Silence(rank, silent, usual))
    return max(found, key=lambda one: one.silent_ns, default=None)
