"""Groups whose members no record names: which ranks belong together."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array
from loadpath.tables import Recording

__all__ = [
    "FALSE_SPLITS",
    "REFUSED_RATIO",
    "TOLERANCE_NS",
    "Joined",
    "at_most",
    "equal_parts",
    "split_groups",
]

REFUSED_RATIO = 0.05
"""Share of communications whose members end before the last starts, above which they are refused."""
FALSE_SPLITS = 0.005
"""Probability with which a whole group may be split by chance."""
LEAST_FOR_DRIFT = 16
"""Communications of a rank from which on its clock's drift is taken off too."""
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
    Times decide, whatever the clocks: each rank's typical deviation of its ends (a line through the
    medians of both halves of the recording) is taken off, then communications are counted in which
    a member ends before another starts; only kinds that wait for all can. If there are fewer on clocks as
    recorded, those count: threads of a busy rank mark all its ends late. A group that is larger
    than its recorded size is split where fewest are, and of equal ones where members end closest
    together. One of unknown size is split only if more than
    5 % contradict it as a whole, into the largest parts that at most 5 % contradict; and only if
    chance would leave so few with a probability of 0.5 % at most (binomial, all strides counted).
    """
    sizes = np.append(recording.communicator["n_members"].to_numpy(), -1)
    part, n_rank = np.zeros(joined.rank.size, np.int64), np.full(joined.rank.size, -1)
    for label in np.unique(joined.label[joined.label >= 0]):
        here = np.flatnonzero(joined.label == label)
        ranks, place = np.unique(joined.rank[here], return_inverse=True)
        size = int(sizes[joined.communicator[here[0]]])
        if ranks.size > 2 and not (size > 0 and size >= ranks.size):
            part[here] = _best_split(joined, here, place.ravel(), (size, ranks.size))
            n_part = np.unique(part[here]).size
            n_rank[here] = ranks.size // n_part if n_part > 1 else -1
    return part, n_rank


def equal_parts(n: int, size: int) -> list[int]:
    """List the strides by which `n` ranks can form groups of `size`.

    Parameters
    ----------
    n, size : int
        Ranks in all, and of a group.

    Returns
    -------
    list of int
        Distances of neighbours in a group, ascending; none if `size` does not divide `n`.

    Examples
    --------
    >>> equal_parts(8, 2), equal_parts(8, 3)
    ([1, 2, 4], [])
    """
    n_group = n // size if n % size == 0 else 0
    return [stride for stride in range(1, n_group + 1) if n_group % stride == 0]


def _best_split(
    joined: Joined, here: Int64Array, place: Int64Array, counts: tuple[int, int]
) -> Int64Array:
    size, n = counts
    whole = np.zeros(here.size, np.int64)
    n_met = np.unique(joined.instance[here]).size
    against = _contradictions(joined, here, whole).n_least
    if size < 0 and against <= REFUSED_RATIO * n_met:
        return whole
    for length in [size] if size > 0 else range(n - 1, 1, -1):
        splits = [
            place // (length * stride) * stride + place % stride
            for stride in equal_parts(n, length)
        ]
        found = [_contradictions(joined, here, split) for split in splits]
        left = [one.n_least for one in found]
        if splits and (size > 0 or _explains(against, left, n_met, (length - 1) / (n - 1))):
            as_recorded = [one.n_recorded for one in found]
            apart = [one.apart_ns for one in found]
            return np.asarray(splits[int(np.lexsort((apart, as_recorded, left))[0])])
    return whole


def _explains(n_against: int, left: list[int], n_met: int, inside_ratio: float) -> bool:
    """Say whether the best split leaves fewer contradictions than chance would."""
    # in a whole group this share of the contradictions would lie inside a part
    by_chance = at_most(min(left), n_against, inside_ratio) * len(left)
    return min(left) <= REFUSED_RATIO * n_met and by_chance <= FALSE_SPLITS


def at_most(k: int, n: int, probability: float) -> float:
    """Give the probability that a binomial variable is `k` or less.

    Parameters
    ----------
    k, n : int
        Hits, and trials.
    probability : float
        Of a hit.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> round(at_most(1, 2, 0.5), 3)
    0.75
    """
    if k >= n or probability <= 0:
        return 1.0
    if probability >= 1:
        return 0.0
    of_n = math.lgamma(n + 1)
    hit, miss = math.log(probability), math.log1p(-probability)
    logs = (
        of_n - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * hit + (n - i) * miss
        for i in range(k + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


class _Contradictions(NamedTuple):
    """Communications in which a member ends before another starts; how far apart members end."""

    n_recorded: int
    n_moved: int
    apart_ns: float

    @property
    def n_least(self) -> int:
        """On clocks as recorded or set right: threads of a busy rank mark all ends late."""
        return min(self.n_recorded, self.n_moved)


def _contradictions(joined: Joined, here: Int64Array, part: Int64Array) -> _Contradictions:
    """Count contradictions within the parts of a group."""
    known = joined.meets[here]
    here, part = here[known], part[known]
    key = ["part", "instance"]
    member = pl.DataFrame(
        {
            "part": part,
            "instance": joined.instance[here],
            "rank": joined.rank[here],
            "start": joined.start[here],
            "end": joined.end[here],
        }
    ).with_columns(moment=pl.col("end").median().over(key))
    recorded, moved = _met(member.with_columns(off=pl.lit(0))), _met(_with_clocks(member))
    apart = (moved["last_end"] - moved["first_end"]).median()
    return _Contradictions(_n_wrong(recorded), _n_wrong(moved), float(apart or 0.0))  # type: ignore[arg-type]


def _met(member: pl.DataFrame) -> pl.DataFrame:
    """Last start, first and last end of each communication, deviations of clocks taken off."""
    start, end = (pl.col(name) - pl.col("off") for name in ("start", "end"))
    return member.group_by("part", "instance").agg(
        last_start=start.max(), first_end=end.min(), last_end=end.max()
    )


def _n_wrong(met: pl.DataFrame) -> int:
    wrong = met.filter(pl.col("first_end") < pl.col("last_start") - TOLERANCE_NS)
    return wrong["instance"].n_unique()


def _with_clocks(member: pl.DataFrame) -> pl.DataFrame:
    """Add how far each end is off its communication's middle end by the clock of its rank alone."""
    off = (pl.col("end") - pl.col("moment")).cast(pl.Float64)
    half = pl.col("moment") > pl.col("moment").median()
    early, late = (
        (off.filter(side).median(), pl.col("moment").filter(side).median())
        for side in (~half, half)
    )
    drift = pl.when(pl.len() >= LEAST_FOR_DRIFT).then((late[0] - early[0]) / (late[1] - early[1]))
    line = member.group_by("part", "rank").agg(
        level=off.median(), middle=pl.col("moment").median(), drift=drift
    )
    return member.join(line, on=["part", "rank"]).with_columns(
        off=pl.col("level") + pl.col("drift").fill_null(0.0) * (pl.col("moment") - pl.col("middle"))
    )
