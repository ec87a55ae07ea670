"""What a rank repeats: its communications and what it computes between them, turn by turn."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.trace.alignment import Timed
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows

__all__ = ["Turns", "UInt64Array", "find_turns", "mix", "turns_of"]

UInt64Array = NDArray[np.uint64]

LEAST_PERIODS = 2
"""What is repeated must occur twice from begin to end."""
LEAST_RATIO = 0.5
"""And the repetition must take at least this share of all that the rank says."""
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Turns:
    """Communications and optimiser's steps of one rank, in order of their calls.

    Attributes
    ----------
    row : (n,) array of int32
        Recorded row of the call.
    signature : (n,) array of uint64
        What it does, with whom and how much, and the names of what was computed since the turn
        before.
    start, end : (n,) arrays of int64
        Times of the call, in ns; where a thread of its own communicates, the end of that.
    instance : (n,) array of int32
        Communication, -1 if none was matched.
    is_optimiser : (n,) array of bool
        An optimiser's step, no communication.
    settled : (n,) array of int64
        When the first call after it that waited for the device returned, -1 if none did before the
        next turn.
    takes_input : (n,) array of bool
        Since the turn before, data was loaded, copied to the device, or the host waited for it.
    """

    row: Int32Array
    signature: UInt64Array
    start: Int64Array
    end: Int64Array
    instance: Int32Array
    is_optimiser: BoolArray
    settled: Int64Array
    takes_input: BoolArray


def turns_of(timed: Timed) -> dict[int, Turns]:
    """List the turns of every rank.

    Parameters
    ----------
    timed : Timed
        Ops and communications of all ranks.

    Returns
    -------
    dict of int to Turns
        By rank; ranks without communications are left out.
    """
    every, of_rank = _all_turns(timed)
    rows = timed.rows
    order = np.lexsort((every.start, of_rank))
    of_turn, of_row = of_rank[order], np.argsort(rows.rank, kind="stable")
    found = {}
    for rank in np.unique(timed.facts.rank).tolist():
        mine = order[of_turn == rank]
        turns = Turns(*(getattr(every, name)[mine] for name in Turns.__slots__))
        low, high = np.searchsorted(rows.rank[of_row], (rank, rank + 1))
        found[rank] = _with_work(rows, of_row[low:high], turns)
    return found


def _all_turns(timed: Timed) -> tuple[Turns, Int32Array]:
    """List the turns of all ranks, and whose they are."""
    rows, work, facts = timed.rows, timed.work, timed.facts
    instance = np.full(facts.work.size, -1, np.int32)
    instance[timed.instances.fact] = timed.instances.instance
    call = np.where(work.call[facts.work] >= 0, work.call[facts.work], work.row[facts.work])
    said = np.stack([facts.collective, facts.communicator, facts.peer, facts.bytes], axis=1)
    optimises = _optimisers(rows)
    row = np.concatenate([call, optimises])
    end = rows.end[row]
    end[: call.size] = np.where(
        facts.is_threaded, np.maximum(end[: call.size], facts.end), rows.end[call]
    )
    every = Turns(
        row=row,
        signature=np.concatenate([mix(said), mix(rows.name[optimises][:, None])]),
        start=rows.start[row],
        end=end,
        instance=np.append(instance, np.full(optimises.size, -1, np.int32)),
        is_optimiser=np.arange(row.size) >= call.size,
        settled=np.full(row.size, -1),
        takes_input=np.zeros(row.size, np.bool_),
    )
    return every, rows.rank[row]


def _with_work(rows: Rows, mine: NDArray[np.intp], turns: Turns) -> Turns:
    """Add what one rank did between its turns."""
    began = rows.start[np.where(rows.call[mine] >= 0, rows.call[mine], mine)]
    turn = np.searchsorted(turns.start, began, "right")
    to_device = np.array(
        ["HtoD" in name or "HostToDevice" in name for name in rows.names], np.bool_
    )
    is_input = (rows.kind[mine] == KIND["input"]) | (
        (rows.kind[mine] == KIND["copy"]) & to_device[rows.name[mine]]
    )
    settles = mine[rows.synchronises[mine]]
    first = np.searchsorted(rows.start[settles], turns.end)
    until = np.append(turns.start[1:], np.iinfo(np.int64).max)
    ends = np.append(rows.end[settles], np.iinfo(np.int64).max)[first]
    takes = np.bincount(turn[is_input | rows.synchronises[mine]], minlength=turns.start.size + 1)
    return replace(
        turns,
        signature=turns.signature ^ _computed(rows, mine, turn, turns.start.size),
        settled=np.where(ends <= until, np.where(first < settles.size, ends, -1), -1),
        takes_input=takes[:-1] > 0,
    )


def find_turns(turns: Turns) -> Int64Array | None:
    """Find what a rank repeats.

    Parameters
    ----------
    turns : Turns
        Its turns.

    Returns
    -------
    (n,) array of int64 or None
        Number of the repetition that each turn belongs to, -1 for incomplete ones at begin and
        end; None if nothing is repeated.

    Notes
    -----
    The shortest period is taken with which the turns repeat exactly over most of the recording. It
    holds an optimiser's step if any are recorded, else input or a wait for the device: layers and
    microbatches repeat as well, and take no input.
    """
    s, n = turns.signature, turns.signature.size
    closes = turns.is_optimiser if turns.is_optimiser.any() else turns.takes_input
    for period in _periods(s):
        low, high = _longest_run(s[period:] == s[:-period])
        high += period
        if high - low < max(LEAST_PERIODS * period, LEAST_RATIO * n):
            continue
        periods = np.arange(low, high - (high - low) % period).reshape(-1, period)
        if closes[periods].any(axis=1).all():
            return _numbered(turns, max(low, 1), high, period)
    return None


def _periods(s: UInt64Array) -> Iterator[int]:
    """List periods that may hold over most of a recording, from the shortest on.

    What takes half of it covers its middle, and repeats without a gap over a quarter of it.
    """  # noqa: DOC402
    n = s.size
    found = [np.abs(np.flatnonzero(s == s[m]) - m) for m in {(n - 1) // 2, n // 2} if n]
    block = max(1, n // 16)
    near = np.arange(min(block, 32))
    for period in np.unique(np.concatenate([np.empty(0, np.int64), *found])).tolist():
        if 0 < period <= n // LEAST_PERIODS:
            at = np.arange(0, max(n - period - near.size + 1, 1), block)[:, None] + near
            at = np.minimum(at, n - period - 1)
            if (s[at] == s[at + period]).all(axis=1).any():
                yield period


def _numbered(turns: Turns, low: int, high: int, period: int) -> Int64Array | None:
    """Give whole repetitions a number; `low` follows another turn, which ends the one before."""
    n = turns.signature.size
    at = np.arange(low, min(low + (high - low) // period * period, high)).reshape(-1, period)
    pause = np.median(turns.start[at] - turns.end[at - 1], axis=0)
    settles = (turns.settled[at - 1] >= 0).mean(axis=0) > 0.5
    order = np.lexsort((pause, settles, turns.is_optimiser[at[0] - 1]))
    begin = low + int(order[-1])
    number = (np.arange(n) - begin) // period
    whole = (number >= 0) & (begin + (number + 1) * period <= high)
    if number[whole].max(initial=-1) + 1 < LEAST_PERIODS:
        return None
    return np.where(whole, number, -1)


def _longest_run(holds: BoolArray) -> tuple[int, int]:
    """Begin and end of the longest run of true values."""
    edges = np.diff(np.concatenate([[0], holds.astype(np.int8), [0]]))
    begin, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not begin.size:
        return 0, 0
    longest = int(np.argmax(end - begin))
    return int(begin[longest]), int(end[longest])


def _optimisers(rows: Rows) -> Int64Array:
    """Rows of optimiser's steps that lie in no other one, of what is looked at at all."""
    named = np.array([name.startswith("Optimizer.step") for name in rows.names], np.bool_)
    optimises = (rows.kind == KIND["optimise"]) & named[rows.name]
    within = (rows.parent >= 0) & optimises[rows.parent]
    return np.flatnonzero(optimises & ~within & (rows.step >= 0))


def _computed(
    rows: Rows, mine: NDArray[np.intp], turn: NDArray[np.intp], n_turn: int
) -> UInt64Array:
    """Mix the names of what was called since the turn before, whatever their order and number."""
    chosen = rows.on_device[mine] & (rows.kind[mine] == KIND["compute"])
    if not chosen.any():  # no device: operators say what is computed
        operator = np.array([name.startswith("aten::") for name in rows.names], np.bool_)
        chosen = rows.on_host[mine] & operator[rows.name[mine]]
    pair = np.unique(np.stack([turn[chosen], rows.name[mine[chosen]]], axis=1), axis=0)
    pair = pair[pair[:, 0] < n_turn]
    mixed = np.zeros(n_turn, np.uint64)
    np.add.at(mixed, pair[:, 0], mix(pair[:, 1:]))
    return mixed


def mix(columns: NDArray[np.integer]) -> UInt64Array:
    """Mix each row of numbers into one.

    Parameters
    ----------
    columns : (n, k) array of integers
        Rows.

    Returns
    -------
    (n,) array of uint64
        Equal for equal rows, and hardly ever for others.
    """
    mixed = np.zeros(columns.shape[0], np.uint64)
    for column in columns.T:
        mixed = (mixed ^ column.astype(np.int64).view(np.uint64)) * GOLDEN
        mixed ^= mixed >> np.uint64(29)
    return mixed
