"""Windows of a pipeline that began at different places of a job, told to begin and end with the same steps.

Sends and receives name their peers, but not the step. Each rank repeats its own; which repetition of one belongs
to which of another is told by causality: no message arrives before it is sent, there or back.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple.trace.alignment import Timed
from loadpath.couple.trace.clock_hosts import clocks_of_hosts
from loadpath.couple.trace.facts import Facts, are_collective
from loadpath.couple.trace.groups import REFUSED_RATIO, TOLERANCE_NS
from loadpath.couple.trace.patterns import Turns, find_turns, turns_of
from loadpath.couple.trace.roles import POINT_TO_POINT
from loadpath.couple.trace.rows import BoolArray, Int64Array
from loadpath.couple.trace.window_fits import LEAST_RATIO
from loadpath.couple.trace.windows import cut_windows, said_undecided
from loadpath.tables import Recording

__all__ = ["join_steps", "passes_only"]

Channel = tuple[int, int, int]
"""Sender, receiver and tag."""
Times = Mapping[Channel, Int64Array]


@dataclass(frozen=True, slots=True)
class _Repeated:
    """What one rank repeats.

    Attributes
    ----------
    begin, end : (n_step,) arrays of int64
        First call and last end of each repetition, in ns.
    sent, arrived : mapping of channel to (n_step, n_message) array of int64
        When messages were asked to be sent, and when received ones were there, in ns.
    """

    begin: Int64Array
    end: Int64Array
    sent: Times
    arrived: Times


def passes_only(recording: Recording) -> bool:
    """Say whether ranks meet in nothing but sends and receives whose peers are known.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    bool
        False of one rank, and where there are collectives.
    """
    said = recording.op.filter(pl.col("collective").cast(pl.String) != "")
    kinds = set(said["collective"].cast(pl.String).unique().to_list())
    known = said.filter(pl.col("peer") >= 0)["rank"].n_unique() == recording.rank.height
    return recording.rank.height > 1 and known and kinds <= set(POINT_TO_POINT)


def join_steps(recording: Recording, timed: Timed) -> Recording:
    """Let the ranks of a pipeline begin and end with the same steps, where nothing numbers them.

    Parameters
    ----------
    recording : Recording
        A trace recording without step marks, of sends and receives (`passes_only`).
    timed : Timed
        Its ops and communications, as recorded.

    Returns
    -------
    Recording
        The same where numbers tell, or where ranks began and ended alike. Elsewhere what not all recorded lies in no step; or, where not exactly
        one way of laying ranks beside each other is possible, a caveat says so.

    Notes
    -----
    A shift by whole repetitions is possible if of the messages of each channel at most 5 % arrive before they
    are sent, and both ranks repeat as many of them. Messages one way bound it on one side, those back on the
    other. Times of hosts whose clocks may differ by anything prove nothing.
    """
    facts = timed.facts
    paired = are_collective(timed.rows, facts, POINT_TO_POINT) & (facts.peer >= 0)
    told = (facts.comms_id != 0) | ((facts.sequence >= 0) & (facts.communicator >= 0))
    ranks = recording.rank["rank"].to_list()
    if told.any():
        return recording
    repeated = _repeated(timed, paired)
    if repeated is None:
        return said_undecided(recording, ranks)
    clock = dict(zip(ranks, clocks_of_hosts(recording.rank).tolist(), strict=True))
    shift = _shifts(repeated, clock)
    if undecided := [rank for rank in ranks if rank not in shift]:
        return said_undecided(recording, undecided)
    first = max(-s for s in shift.values())
    last = min(repeated[rank].begin.size - s for rank, s in shift.items())
    begin = {rank: int(repeated[rank].begin[first + s]) for rank, s in shift.items()}
    end = {rank: int(repeated[rank].end[last + s - 1]) for rank, s in shift.items()}
    lost = [_outside(facts, rank, begin[rank], end[rank]) for rank in shift]
    return (
        recording
        if not any(lost)
        else cut_windows(recording, (timed.rows, timed.work), begin, end, lost=lost)
    )


def _outside(facts: Facts, rank: int, begin: int, end: int) -> int:
    """Count the communications of a rank that were asked for before or after two times."""
    asked = facts.start[(facts.rank == rank) & ~facts.is_end]
    return int(((asked < begin) | (asked >= end)).sum())


def _repeated(timed: Timed, paired: BoolArray) -> dict[int, _Repeated] | None:
    """List what each rank repeats; None if one repeats nothing."""
    found = {}
    for rank, turns in turns_of(timed).items():
        number = find_turns(turns)
        if number is None:
            return None
        mine = np.flatnonzero(paired & (timed.facts.rank == rank))
        held = _messages(timed, mine, turns, number)
        if held is None:
            return None
        found[rank] = held
    return found


def _messages(timed: Timed, mine: Int64Array, turns: Turns, number: Int64Array) -> _Repeated | None:
    """Give the messages of one rank by repetition; None if repetitions differ in them."""
    facts = timed.facts
    at = [np.flatnonzero(number == k) for k in range(int(number.max()) + 1)]
    begin, last = (np.array([turns.start[k[end]] for k in at]) for end in (0, -1))
    held: tuple[dict[Channel, Int64Array], ...] = ({}, {})
    sends = are_collective(timed.rows, facts, ("send",))
    key = np.stack([~sends[mine], facts.rank[mine], facts.peer[mine], facts.tag[mine]], axis=1)
    for is_received, rank, peer, tag in np.unique(key, axis=0).tolist():
        row = mine[(key == (is_received, rank, peer, tag)).all(axis=1)]
        times = _by_step(facts, row, begin, last)
        if times is None:
            return None
        held[is_received][(peer, rank, tag) if is_received else (rank, peer, tag)] = times[
            is_received
        ]
    return _Repeated(begin, np.array([turns.end[k].max() for k in at]), *held)


def _by_step(
    facts: Facts, row: Int64Array, begin: Int64Array, last: Int64Array
) -> tuple[Int64Array, Int64Array] | None:
    """When messages of a channel were asked for, and were done, by repetition; None if these differ."""
    asked = np.sort(facts.start[row[~facts.is_end[row]]])
    done = np.sort(facts.end[row[~facts.is_post[row]]])
    step = np.searchsorted(begin, asked, "right") - 1
    inside = (step >= 0) & (asked <= last[np.maximum(step, 0)])
    each = np.bincount(step[inside], minlength=begin.size)
    if (each != each[0]).any() or asked.size != done.size:
        return None
    return asked[inside].reshape(begin.size, -1), done[inside].reshape(begin.size, -1)


def _shifts(repeated: Mapping[int, _Repeated], clock: Mapping[int, int]) -> dict[int, int]:
    """Shift of each rank against the first, of those for which exactly one is possible."""
    ranks = sorted(repeated)
    possible = {
        (i, j): ways
        for i in ranks
        for j in ranks
        if i < j and clock[i] == clock[j] and (ways := _ways(repeated[i], repeated[j])) is not None
    }
    shift = {ranks[0]: 0}
    while tied := [
        pair
        for pair, ways in possible.items()
        if len(ways) == 1 and (pair[0] in shift) != (pair[1] in shift)
    ]:
        i, j = tied[0]
        (way,) = possible[i, j]
        if i in shift:
            shift[j] = shift[i] + way
        else:
            shift[i] = shift[j] - way
    wrong = {
        rank
        for (i, j), ways in possible.items()
        if i in shift and j in shift and shift[j] - shift[i] not in ways
        for rank in (i, j)
    }
    return {rank: s for rank, s in shift.items() if rank not in wrong}


def _ways(a: _Repeated, b: _Repeated) -> list[int] | None:
    """List the shifts that messages between two ranks allow; None if they exchange none."""
    pairs = [(a.sent[c], b.arrived[c], 1) for c in sorted(a.sent.keys() & b.arrived.keys())]
    pairs += [(b.sent[c], a.arrived[c], -1) for c in sorted(b.sent.keys() & a.arrived.keys())]
    if not pairs:
        return None
    n_a, n_b = a.begin.size, b.begin.size
    least = max(1, int(np.ceil(LEAST_RATIO * min(n_a, n_b))))
    return [
        shift
        for shift in range(least - n_a, n_b - least + 1)
        if all(_is_possible(sent, arrived, sign * shift) for sent, arrived, sign in pairs)
    ]


def _is_possible(sent: Int64Array, arrived: Int64Array, shift: int) -> bool:
    """Say whether messages of a repetition may arrive in one that is so many later."""
    if sent.shape[1] != arrived.shape[1]:
        return False
    low, high = max(0, -shift), min(sent.shape[0], arrived.shape[0] - shift)
    early = arrived[low + shift : high + shift] < sent[low:high] - TOLERANCE_NS
    return bool(early.mean() <= REFUSED_RATIO)
