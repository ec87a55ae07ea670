"""Steps of a recording without step marks: what ranks repeat, cut at the same communications."""

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from loadpath.couple.trace.alignment import UNMARKED, Timed
from loadpath.couple.trace.patterns import Turns, find_turns, turns_of
from loadpath.couple.trace.rows import Int64Array
from loadpath.tables import OP, STEP, Recording, caveat_table

__all__ = ["agree", "repeated_steps", "repeated_turns", "steps_of_peers"]


@dataclass(frozen=True, slots=True)
class _Cuts:
    """Step of each turn of each rank, by what ranks share; -1 outside all steps.

    Where `from_start` holds, the first step may be the first that a rank recorded.
    """

    turns: Mapping[int, Turns]
    step: dict[int, Int64Array]
    from_start: bool = False


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
    """
    turns = turns_of(timed)
    ranks = recording.rank["rank"].to_list()
    if any(rank not in turns for rank in ranks):
        return None
    step = repeated_turns({rank: turns[rank] for rank in ranks})
    if step is None:
        return None
    borders = {rank: _borders(turns[rank], step[rank]) for rank in ranks}
    n_step = min(at.size for at in borders.values()) - 1
    text = "steps without marks, cut where the communications of the ranks repeat"
    said = recording.caveat.filter(pl.col("code") != UNMARKED)
    found = caveat_table([("steps_from_pattern", text, n_step)])
    cut = _cut(recording, timed, borders, np.arange(n_step))
    return replace(cut, caveat=pl.concat([said, found]))


def repeated_turns(turns: Mapping[int, Turns]) -> dict[int, Int64Array] | None:
    """Cut the turns of all ranks where those of the first rank repeat.

    Parameters
    ----------
    turns : mapping of int to Turns
        Turns of each rank.

    Returns
    -------
    dict of int to (n,) array of int64, or None
        Step of each turn of each rank, -1 outside all steps; None if the first rank repeats nothing, or
        the others do not repeat it.

    Notes
    -----
    One rank is cut where its pattern repeats: after an optimiser's step, else where the host waits
    for the device, else at the longest pause. A rank that meets it is cut where it goes on from the
    communications of one step to those of the next, and so on to all ranks. If any communication
    then lies in different steps on two of its members, the pattern is not one of steps.
    """
    first = min(turns)
    found = find_turns(turns[first])
    if found is None:
        return None
    return _agreed(turns, first, found)


def steps_of_peers(
    recording: Recording, timed: Timed, marked: Collection[int], common: Int64Array
) -> Recording | None:
    """Cut the ranks without steps by the communications that they share with the others.

    Parameters
    ----------
    recording : Recording
        A trace recording; some of its ranks have steps.
    timed : Timed
        Its ops and communications, matched without steps.
    marked : collection of int
        Ranks that have steps.
    common : (n_step,) array of int64
        Steps that all of these have.

    Returns
    -------
    Recording or None
        The same with these steps on all ranks; None if communications do not tell them.
    """
    turns = turns_of(timed)
    ranks = recording.rank["rank"].to_list()
    if not common.size or any(rank not in turns for rank in ranks):
        return None
    step = recording.op["step"].to_numpy()
    known = {rank: _index(common, step[turns[rank].row]) for rank in sorted(marked)}
    cuts = _Cuts(turns, known, from_start=True)
    if not _spread(cuts) or len(cuts.step) < len(ranks) or not agree(turns, cuts.step):
        return None
    borders = {rank: _borders(turns[rank], cuts.step[rank]) for rank in ranks if rank not in marked}
    return _marked(_cut(recording, timed, borders, common), sorted(borders))


def _marked(recording: Recording, ranks: list[int]) -> Recording:
    """Mark the steps of ranks as the profiler does: peers' time between calls lies in a mark."""
    threads = recording.lane.filter(pl.col("kind").cast(pl.String) == "host")
    main = threads.group_by("rank").agg(pl.col("lane").min())
    marks = recording.step.filter(pl.col("rank").is_in(ranks)).join(main, on="rank")
    marks = marks.sort("rank", "step").select(
        "rank",
        "lane",
        "step",
        "start_ns",
        kind=pl.lit("marker"),
        name=pl.format("ProfilerStep#{}", "step"),
        duration_ns=pl.col("end_ns") - pl.col("start_ns"),
    )
    return replace(recording, op=pl.concat([recording.op, OP.build(marks)]))


def _agreed(
    turns: Mapping[int, Turns], rank: int, found: Int64Array
) -> dict[int, Int64Array] | None:
    """Cut all ranks as one of them is cut; without its first step, where others began within that."""
    for n_left_out in range(2):
        own = np.where(found >= n_left_out, found - n_left_out, -1)
        cuts = _Cuts(turns, {rank: own})
        is_cut = own.max() > 0 and _spread(cuts) and len(cuts.step) == len(turns)
        if is_cut and agree(turns, cuts.step):
            return cuts.step
    return None


def _index(common: Int64Array, step: Int64Array) -> Int64Array:
    place = np.minimum(np.searchsorted(common, step), common.size - 1)
    return np.where(common[place] == step, place, -1)


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
            step = _filled(cuts.turns[rank], np.array(known), from_start=cuts.from_start)
            if step is None:
                return False
            cuts.step[rank] = step
            waiting.append(rank)
    return True


def _filled(turns: Turns, known: Int64Array, *, from_start: bool) -> Int64Array | None:
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
    before = first[0] - (first[1] - ends[0]) if n_step > 1 else -1
    begins = [max(before, -1) if from_start else before, *ends[:-1]]
    if begins[0] < -int(from_start) or any(
        a > b for a, b in itertools.pairwise([*begins, ends[-1]])
    ):
        return None
    step = np.full(known.size, -1, np.int64)
    for k, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        step[begin + 1 : end + 1] = k
    return step


def _after_optimiser(turns: Turns, last: int, stop: int) -> int:
    """Last optimiser's step between two communications, the first of them if there is none."""
    found = np.flatnonzero(turns.is_optimiser[last + 1 : stop])
    return last + 1 + int(found[-1]) if found.size else last


def agree(turns: Mapping[int, Turns], step: Mapping[int, Int64Array]) -> bool:
    """Say whether each communication lies in one step on all its members.

    Parameters
    ----------
    turns : mapping of int to Turns
        Turns of each rank.
    step : mapping of int to (n,) array of int64
        Step of each turn of each rank.

    Returns
    -------
    bool
        Whether it does.
    """
    instance = np.concatenate([turns[rank].instance for rank in sorted(step)])
    of_turn = np.concatenate([step[rank] for rank in sorted(step)])
    met = pl.DataFrame({"instance": instance, "step": of_turn}).filter(pl.col("instance") >= 0)
    return bool((met.group_by("instance").agg(pl.col("step").n_unique())["step"] == 1).all())


def _borders(turns: Turns, step: Int64Array) -> Int64Array:
    """List the times at which the steps of a rank begin, and at which the last one ends."""
    n_step = int(step.max()) + 1
    begins = [int(np.flatnonzero(step == k)[0]) for k in range(n_step)]
    last = int(np.flatnonzero(step == n_step - 1)[-1])
    after = np.array([*(i - 1 for i in begins), last])
    settled, end = turns.settled[after], turns.end[after]
    border = np.where(settled >= 0, settled, end)
    if begins[0] == 0:
        border[0] = np.iinfo(
            np.int64
        ).min  # nothing before: all that was recorded before it is of it
    return np.asarray(border)


def _cut(
    recording: Recording, timed: Timed, borders: Mapping[int, Int64Array], number: Int64Array
) -> Recording:
    """Write steps into ops and the table of steps, for the ranks that have borders."""
    rows, work = timed.rows, timed.work
    own = np.isin(rows.rank, list(borders))
    step = np.where(own, -1, recording.op["step"].to_numpy())
    tables = [recording.step.filter(~pl.col("rank").is_in(list(borders)))]
    for rank, at in borders.items():
        mine = np.flatnonzero(rows.rank == rank)
        at = np.maximum(at[: number.size + 1], rows.start[mine].min())  # noqa: PLW2901
        place = np.searchsorted(at, rows.start[mine], "right") - 1
        inside = (place >= 0) & (place < at.size - 1)
        step[mine] = np.where(inside, number[np.minimum(place, number.size - 1)], -1)
        spans = {"step": number, "start_ns": at[:-1], "end_ns": at[1:]}
        tables.append(STEP.build(pl.DataFrame(spans).with_columns(rank=pl.lit(rank, pl.Int32))))
    called = (work.call >= 0) & own[work.row]
    step[work.row[called]] = step[work.call[called]]
    return replace(
        recording,
        op=recording.op.with_columns(step=pl.Series(step)),
        step=pl.concat(tables),
    )
