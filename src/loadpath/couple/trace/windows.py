"""Windows of ranks that began at different places of a job, told to begin and end together.

Whoever opens windows from outside opens them at one time, and each rank is then somewhere else: what is the
tenth communication of one may be the twelfth of another. Which are the same is told by what they do, one after
the other, and by when: nobody leaves a communication before all have come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from loadpath.couple.trace.alignment import UNDECIDED, UNMARKED
from loadpath.couple.trace.clock_hosts import clocks_of_hosts
from loadpath.couple.trace.facts import Facts, are_collective, communication_facts
from loadpath.couple.trace.launches import DeviceWork, device_work
from loadpath.couple.trace.matching import ONE_WAY, SAME_BYTES
from loadpath.couple.trace.patterns import mix
from loadpath.couple.trace.roles import POINT_TO_POINT
from loadpath.couple.trace.rows import BoolArray, Rows, rows_of
from loadpath.couple.trace.window_fits import Window, lay_beside
from loadpath.tables import Recording, caveat_table

__all__ = ["cut_windows", "join_windows", "said_undecided"]

JOINED = (
    "windows that began or ended at other communications than the others' (up to {most} of them): what ranks "
    "did one after the other and when tells which are the same; what not all recorded is left out"
)
UNDECIDED_TEXT = (
    "windows of ranks ({listed}) fit the others' in several ways, and times do not tell which: conclusions "
    "across ranks are refused; record with step marks, over a backend that numbers communications, or "
    "with clock handshakes"
)


def join_windows(recording: Recording) -> Recording:
    """Let ranks begin and end with the same communications, where neither marks nor numbers tell.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    Recording
        The same where there are step marks or numbers, where ranks have the same communications already,
        and where no shift fits. Elsewhere what not all ranks recorded lies in no step; or, where several
        shifts fit and none of them better than the others, a caveat says so.

    Notes
    -----
    A window fits another one, shifted by some communications, if they do the same, one after the other, in
    all that both recorded (at least half of the shorter one), and no rank leaves before the other comes in
    at least 95 % of some kind of them (collective, group, payload). Ranks of one host are held to one clock,
    others may differ by any offset. If several shifts fit, the one whose ends lie nearest to each other is
    taken if chance would not have it so (sign test against each other one, 0.5 % over all). Ranks that share
    no group are told by those between them: pairs whose distance divides the number of ranks are tried,
    and those whose ends lie nearest to each other are tied first (a minimum spanning tree).
    """
    unmarked = recording.caveat.filter(pl.col("code") == UNMARKED)["n"].sum()
    if recording.rank.height < 2 or unmarked < recording.rank.height:
        return recording
    rows = rows_of(recording)
    work = device_work(rows, [0])
    facts = communication_facts(rows, work)
    chosen = ~are_collective(rows, facts, POINT_TO_POINT) & ~facts.is_end & ~facts.is_post
    told = (facts.comms_id != 0) | ((facts.sequence >= 0) & (facts.communicator >= 0))
    if told.any() or not chosen.any():
        return recording
    windows = _windows(rows, work, facts, chosen)
    ranks = recording.rank["rank"].to_list()
    if any(rank not in windows for rank in ranks):
        return recording
    clock = clocks_of_hosts(recording.rank).tolist()
    shift, is_sure = _shifts([windows[rank] for rank in ranks], clock)
    shifts = {rank: s for rank, s in zip(ranks, shift, strict=True) if s is not None}
    undecided = [rank for rank, sure in zip(ranks, is_sure, strict=True) if not sure]
    if len(shifts) < len(ranks):
        return recording
    if undecided:
        return said_undecided(recording, undecided)
    return _cut(recording, (rows, work), windows, shifts)


def _windows(rows: Rows, work: DeviceWork, facts: Facts, chosen: BoolArray) -> dict[int, Window]:
    """List the collectives of each rank."""
    sized = np.where(are_collective(rows, facts, SAME_BYTES), facts.bytes, -1)
    said = mix(np.stack([facts.collective, facts.communicator, sized], axis=1))
    meets = ~are_collective(rows, facts, ONE_WAY)
    called = work.launched[facts.work]
    found = {}
    for rank in np.unique(facts.rank[chosen]).tolist():
        mine = np.flatnonzero(chosen & (facts.rank == rank))
        mine = mine[np.lexsort((facts.start[mine], called[mine]))]
        found[rank] = Window(
            said[mine], meets[mine], called[mine], facts.start[mine], facts.end[mine]
        )
    return found


def _pairs(n: int) -> list[tuple[int, int]]:
    """List the pairs of ranks that may share a group: ranks of a group are equally spaced."""
    strides = [stride for stride in range(1, n) if n % stride == 0]
    return sorted({(i, i + stride) for stride in strides for i in range(n - stride)})


def _shifts(windows: list[Window], clock: list[int]) -> tuple[list[int | None], list[bool]]:
    """Find how each window lies beside the first, and whether nothing else fits as well."""
    found = {
        (i, j): laid
        for i, j in _pairs(len(windows))
        if (laid := lay_beside(windows[i], windows[j], is_one_clock=clock[i] == clock[j]))
    }
    # the nearest pairs tell: those that share communications end them together
    order = sorted(found, key=lambda p: (not found[p].is_sure, found[p].apart_ns, p))
    shift: list[int | None] = [0, *[None] * (len(windows) - 1)]
    is_sure = [True] * len(windows)
    while tied := [p for p in order if (shift[p[0]] is None) != (shift[p[1]] is None)]:
        i, j = tied[0]
        known, new, sign = (i, j, 1) if shift[j] is None else (j, i, -1)
        shift[new] = (shift[known] or 0) + sign * found[i, j].shift
        is_sure[new] = is_sure[known] and found[i, j].is_sure
    return shift, is_sure


def _cut(
    recording: Recording,
    recorded: tuple[Rows, DeviceWork],
    windows: dict[int, Window],
    shifts: dict[int, int],
) -> Recording:
    """Put what comes before the first shared communication or after the last one into no step."""
    first = max(-shift for shift in shifts.values())
    last = min(windows[rank].said.size - shift for rank, shift in shifts.items())
    lost = [
        max(first + shift, windows[rank].said.size - (last + shift))
        for rank, shift in shifts.items()
    ]
    if last <= first or not any(lost):
        return recording
    begin = {r: int(windows[r].called[first + shift]) for r, shift in shifts.items()}
    end = {r: int(windows[r].end[: last + shift].max()) for r, shift in shifts.items()}
    return cut_windows(recording, recorded, begin, end, lost=lost)


def cut_windows(
    recording: Recording,
    recorded: tuple[Rows, DeviceWork],
    begin: Mapping[int, int],
    end: Mapping[int, int],
    *,
    lost: Sequence[int],
) -> Recording:
    """Put what a rank recorded outside two times into no step.

    Parameters
    ----------
    recording : Recording
        A trace recording whose one step is the whole of it.
    recorded : tuple of Rows and DeviceWork
        Its ops, and what hosts launched.
    begin, end : mapping of int to int
        By rank: the times, in ns.
    lost : sequence of int
        Communications or steps that each rank loses by it.

    Returns
    -------
    Recording
        With a caveat.
    """
    rows, work = recorded
    since = rows.start.copy()
    since[work.row] = work.launched
    began, ended = (pl.col("rank").replace_strict(of, return_dtype=pl.Int64) for of in (begin, end))
    asked = pl.Series(since)
    inside = pl.when((asked >= began) & (asked < ended)).then("step").otherwise(-1)
    joined = replace(
        recording,
        op=recording.op.with_columns(step=inside),
        step=recording.step.with_columns(start_ns=began, end_ns=ended),
    )
    return _said(joined, "windows_joined", JOINED.format(most=max(lost)), sum(map(bool, lost)))


def said_undecided(recording: Recording, ranks: Sequence[int]) -> Recording:
    """Say that windows fit the others' in several ways.

    Parameters
    ----------
    recording : Recording
        A trace recording.
    ranks : sequence of int
        Whose windows.

    Returns
    -------
    Recording
        With a caveat, by which conclusions across ranks are refused.
    """
    listed = ", ".join(map(str, ranks[:8])) + (", ..." if ranks[8:] else "")
    return _said(recording, UNDECIDED, UNDECIDED_TEXT.format(listed=listed), len(ranks))


def _said(recording: Recording, code: str, text: str, n: int) -> Recording:
    found = caveat_table([(code, text, n)])
    return replace(recording, caveat=pl.concat([recording.caveat, found]))
