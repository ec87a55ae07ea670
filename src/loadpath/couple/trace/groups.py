"""Groups whose members no record names: which ranks belong together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array
from loadpath.tables import Recording

__all__ = ["REFUSED_RATIO", "Joined", "equal_parts", "split_groups"]

REFUSED_RATIO = 0.05
"""Share of communications whose members end before the last starts, above which they are refused."""
TOLERANCE_NS = 100_000
"""Ends of one communication differ by this much between ranks with one clock."""


@dataclass(frozen=True, slots=True)
class Joined:
    """Communication ops as they would be joined if every group were whole.

    Attributes
    ----------
    communicator, rank : (n,) arrays of int32
        Process group (-1 unknown) and rank.
    meets : (n,) array of bool
        No member leaves it before all have come.
    label, instance : (n,) arrays of int64
        What may be split (equal for ops of one group, or of one collective where no group is
        known; -1 for what may not), and the communication.
    start, end : (n,) arrays of int64
        Times in ns.
    """

    communicator: Int32Array
    rank: Int32Array
    meets: BoolArray
    label: Int64Array
    instance: Int64Array
    start: Int64Array
    end: Int64Array


def split_groups(recording: Recording, joined: Joined) -> tuple[Int64Array, Int64Array]:
    """Split groups that stand for several sets of ranks.

    Old traces name a group by a pointer, flight recorders by a number of the process, and some
    traces not at all, so that equal groups of different ranks look alike. Ranks of a group are
    equally spaced: neighbours (tensor parallel), or every so many ranks (data parallel).

    Parameters
    ----------
    recording : Recording
        Communicators, with their sizes where they are known.
    joined : Joined
        Communication ops.

    Returns
    -------
    part, size : (n,) arrays of int64
        Number of the part, and its ranks; 0 and -1 where nothing is split.

    Notes
    -----
    Times decide, whatever the clocks: each rank's typical deviation of its ends is taken off, then
    communications are counted in which a member ends before another starts. A group that is larger
    than its recorded size is split where fewest are. One of unknown size is split only if more than
    5 % contradict it as a whole; into the largest parts that at most 5 % contradict. Only kinds
    that wait for all can contradict.
    """
    sizes = np.append(recording.communicator["n_members"].to_numpy(), -1)
    part, n_rank = np.zeros(joined.rank.size, np.int64), np.full(joined.rank.size, -1)
    for label in np.unique(joined.label[joined.label >= 0]):
        here = np.flatnonzero(joined.label == label)
        ranks, place = np.unique(joined.rank[here], return_inverse=True)
        size = int(sizes[joined.communicator[here[0]]])
        if ranks.size > 2 and not (0 < size and size >= ranks.size):  # noqa: PLR2004 - two ranks are one group
            part[here] = _best_split(joined, here, place.ravel(), (size, ranks.size))
            n_part = np.unique(part[here]).size
            n_rank[here] = ranks.size // n_part if n_part > 1 else -1
    return part, n_rank


def equal_parts(n: int, size: int) -> Iterator[int]:
    """List the strides by which `n` ranks can form groups of `size`.

    Parameters
    ----------
    n, size : int
        Ranks in all, and of a group.

    Yields
    ------
    int
        Distance of neighbours in a group, ascending.

    Examples
    --------
    >>> list(equal_parts(8, 2)), list(equal_parts(8, 3))
    ([1, 2, 4], [])
    """
    if n % size == 0:
        yield from (stride for stride in range(1, n // size + 1) if (n // size) % stride == 0)


def _best_split(
    joined: Joined, here: Int64Array, place: Int64Array, counts: tuple[int, int]
) -> Int64Array:
    size, n = counts
    whole = np.zeros(here.size, np.int64)
    if size < 0 and _impossible_ratio(joined, here, whole) <= REFUSED_RATIO:
        return whole
    for length in [size] if size > 0 else range(n - 1, 1, -1):
        splits = [
            place // (length * stride) * stride + place % stride for stride in equal_parts(n, length)
        ]
        wrong = [_impossible_ratio(joined, here, split) for split in splits]
        if splits and (size > 0 or min(wrong) <= REFUSED_RATIO):
            return np.asarray(splits[int(np.argmin(wrong))])
    return whole


def _impossible_ratio(joined: Joined, here: Int64Array, part: Int64Array) -> float:
    """Share of communications in which a member ends before another starts, clocks set right."""
    known = joined.meets[here]
    here, part = here[known], part[known]
    member = pl.DataFrame(
        {
            "part": part,
            "instance": joined.instance[here],
            "rank": joined.rank[here],
            "start": joined.start[here],
            "end": joined.end[here],
        }
    )
    key = ["part", "instance"]
    off = (pl.col("end") - pl.col("end").median().over(key)).median().over("part", "rank")
    met = (
        member.with_columns(off=off)
        .group_by(key)
        .agg(
            last_start=(pl.col("start") - pl.col("off")).max(),
            first_end=(pl.col("end") - pl.col("off")).min(),
        )
    )
    return float((met["first_end"] < met["last_start"] - TOLERANCE_NS).mean() or 0.0)  # type: ignore[arg-type]
