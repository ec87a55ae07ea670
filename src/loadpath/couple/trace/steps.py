"""Steps of a recording without step marks: what ranks repeat, cut at the same communications."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from loadpath.couple.trace.alignment import Timed
from loadpath.couple.trace.patterns import Turns, find_turns, turns_of
from loadpath.couple.trace.rows import Int64Array
from loadpath.tables import STEP, Recording, caveat_table

__all__ = ["UNMARKED", "repeated_steps"]

UNMARKED = "no_step_marks"
"""Caveat of readers that took the whole recording as one step."""


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Step of each turn of each rank, by what ranks share; -1 outside all steps."""

    turns: Mapping[int, Turns]
    step: dict[int, Int64Array]


def repeated_steps(recording: Recording, timed: Timed) -> Recording | None:
    """Cut a recording of one step into the steps that its communications repeat.

    Parameters
    ----------
    recording : Recording
        A trace recording whose one step is the whole of it.
    timed : Timed
        Its ops and communications.

    Returns
    -------
    Recording or None
        The same with steps from 0; None if the ranks repeat nothing, or not alike.

    Notes
    -----
    One rank is cut where its pattern repeats: after an optimiser's step, else where the host waits
    for the device, else at the longest pause. A rank that meets it is cut where it goes on from the
    communications of one step to those of the next, and so on to all ranks. If any communication
    then lies in different steps on two of its members, the pattern is not one of steps.
    """
    turns = turns_of(timed)
    ranks = recording.rank["rank"].to_list()
    if any(rank not in turns for rank in ranks):
        return None
    first = find_turns(turns[ranks[0]])
    if first is None:
        return None
    cuts = _Cuts(turns, {ranks[0]: first})
    if not _spread(cuts) or len(cuts.step) < len(ranks) or not _agree(cuts):
        return None
    borders = {rank: _borders(turns[rank], cuts.step[rank]) for rank in ranks}
    return _cut(recording, timed, borders)


def _spread(cuts: _Cuts) -> bool:
    """Cut the other ranks by the communications that they share with cut ones."""
    of_instance: dict[int, int] = {}
    waiting = list(cuts.step)
    while waiting:
        for rank in waiting:
            shared = cuts.turns[rank].instance
            of_instance |= dict(zip(shared.tolist(), cuts.step[rank].tolist(), strict=True))
        of_instance.pop(-1, None)
        waiting = []
        for rank in sorted(cuts.turns.keys() - cuts.step.keys()):
            known = [of_instance.get(i, -2) for i in cuts.turns[rank].instance.tolist()]
            if max(known, default=-2) < 0:
                continue
            step = _filled(cuts.turns[rank], np.array(known))
            if step is None:
                return False
            cuts.step[rank] = step
            waiting.append(rank)
    return True


def _filled(turns: Turns, known: Int64Array) -> Int64Array | None:
    """Give steps to the turns between those whose step is known (-2: not known)."""
    n_step = int(known.max()) + 1
    shared = [np.flatnonzero(known == k) for k in range(n_step)]
    if any(mine.size == 0 for mine in shared):
        return None
    first = [int(mine[0]) for mine in shared]
    last = [int(mine[-1]) for mine in shared]
    later = np.flatnonzero(known[last[-1] + 1 :] == -1)
    stops = [*first[1:], last[-1] + 1 + int(later[0]) if later.size else known.size]
    ends = [_after_optimiser(turns, end, stop) for end, stop in zip(last, stops, strict=True)]
    # what comes before the first shared turn of a step is the same in each of them
    begins = [first[0] - (first[1] - ends[0]), *ends[:-1]]
    if begins[0] < 0 or any(a > b for a, b in itertools.pairwise([*begins, ends[-1]])):
        return None
    step = np.full(known.size, -1, np.int64)
    for k, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        step[begin + 1 : end + 1] = k
    return step


def _after_optimiser(turns: Turns, last: int, stop: int) -> int:
    """Last optimiser's step between two communications, the first of them if there is none."""
    found = np.flatnonzero(turns.is_optimiser[last + 1 : stop])
    return last + 1 + int(found[-1]) if found.size else last


def _agree(cuts: _Cuts) -> bool:
    """Say whether each communication lies in one step on all its members."""
    instance = np.concatenate([cuts.turns[rank].instance for rank in sorted(cuts.step)])
    step = np.concatenate([cuts.step[rank] for rank in sorted(cuts.step)])
    met = pl.DataFrame({"instance": instance, "step": step}).filter(pl.col("instance") >= 0)
    return bool((met.group_by("instance").agg(pl.col("step").n_unique())["step"] == 1).all())


def _borders(turns: Turns, step: Int64Array) -> Int64Array:
    """List the times at which the steps of a rank begin, and at which the last one ends."""
    n_step = int(step.max()) + 1
    begins = [int(np.flatnonzero(step == k)[0]) for k in range(n_step)]
    last = int(np.flatnonzero(step == n_step - 1)[-1])
    after = np.array([*(i - 1 for i in begins), last])
    settled, end = turns.settled[after], turns.end[after]
    return np.asarray(np.where(settled >= 0, settled, end))


def _cut(recording: Recording, timed: Timed, borders: Mapping[int, Int64Array]) -> Recording:
    """Write steps into ops and the table of steps."""
    rows, work = timed.rows, timed.work
    step = np.full(rows.rank.size, -1, np.int64)
    for rank, at in borders.items():
        mine = np.flatnonzero(rows.rank == rank)
        place = np.searchsorted(at, rows.start[mine], "right") - 1
        step[mine] = np.where(place < at.size - 1, place, -1)
    called = work.call >= 0
    step[work.row[called]] = step[work.call[called]]
    tables = [
        pl.DataFrame(
            {"step": np.arange(at.size - 1), "start_ns": at[:-1], "end_ns": at[1:]}
        ).with_columns(rank=pl.lit(rank, pl.Int32))
        for rank, at in borders.items()
    ]
    n_step = min(at.size for at in borders.values()) - 1
    text = "steps without marks, cut where the communications of the ranks repeat"
    marked = recording.caveat.filter(pl.col("code") != UNMARKED)
    return replace(
        recording,
        op=recording.op.with_columns(step=pl.Series(step)),
        step=STEP.build(pl.concat(tables)),
        caveat=pl.concat([marked, caveat_table([("steps_from_pattern", text, n_step)])]),
    )
