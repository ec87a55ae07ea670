"""Windows of ranks that began at different places of a job, told to begin and end together.

Whoever opens windows from outside opens them at one time, and each rank is then somewhere else: what is the
tenth communication of one may be the twelfth of another. Which are the same is told by what they do, one after
the other, and by when: nobody leaves a communication before all have come.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from loadpath.couple.trace.alignment import UNDECIDED
from loadpath.couple.trace.clock_hosts import clocks_of_hosts
from loadpath.couple.trace.facts import Facts, are_collective, communication_facts
from loadpath.couple.trace.groups import FALSE_SPLITS, REFUSED_RATIO, TOLERANCE_NS, at_most
from loadpath.couple.trace.launches import DeviceWork, device_work
from loadpath.couple.trace.matching import ONE_WAY, SAME_BYTES
from loadpath.couple.trace.patterns import UInt64Array, mix
from loadpath.couple.trace.roles import POINT_TO_POINT
from loadpath.couple.trace.rows import BoolArray, Int64Array, Rows, rows_of
from loadpath.couple.trace.steps import UNMARKED
from loadpath.tables import Recording, caveat_table

__all__ = ["join_windows"]

LEAST_RATIO = 0.5
"""Windows must share at least this part of the communications of the shorter one."""
BASE = np.uint64(0x9E3779B97F4A7C15)
JOINED = (
    "windows that began or ended at other communications than the others' (up to {most} of them): what ranks "
    "did one after the other and when tells which are the same; what not all recorded is left out"
)
UNDECIDED_TEXT = (
    "windows of ranks ({listed}) fit the others' in several ways, and times do not tell which: conclusions "
    "across ranks are refused; record with step marks, over a backend that numbers communications, or "
    "with clock handshakes"
)


@dataclass(frozen=True, slots=True)
class _Window:
    """Collectives of one rank, in order of their calls.

    Attributes
    ----------
    said : (n,) array of uint64
        Collective, group and payload: equal on all members.
    meets : (n,) array of bool
        No member leaves it before all have come.
    called, start, end : (n,) arrays of int64
        When it was asked for, began and ended, in ns.
    """

    said: UInt64Array
    meets: BoolArray
    called: Int64Array
    start: Int64Array
    end: Int64Array


@dataclass(frozen=True, slots=True)
class _Fit:
    """One way to lay two windows beside each other.

    Attributes
    ----------
    shift : int
        Place in the second window less place in the first.
    first : int
        Place in the first window of the first shared communication.
    apart_ns : (n,) array of float64
        How far the ends of each shared one lie apart; not a number where they need not be near.
    """

    shift: int
    first: int
    apart_ns: np.ndarray


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
    all that both recorded (at least half of the shorter one), and no rank leaves before another comes in at
    least 95 % of them. Ranks of one host are held to one clock, others may differ by any offset. If several
    shifts fit, the one whose ends lie nearest to each other is taken if chance would not have it so
    (sign test against each other one, 0.5 % over all).
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
    found = [
        _shift(windows[ranks[0]], windows[rank], is_one_clock=own == clock[0])
        for rank, own in zip(ranks, clock, strict=True)
    ]
    shifts = {rank: s for rank, (s, _) in zip(ranks, found, strict=True) if s is not None}
    undecided = [rank for rank, (_, is_sure) in zip(ranks, found, strict=True) if not is_sure]
    if len(shifts) < len(ranks):
        return recording
    if undecided:
        listed = ", ".join(map(str, undecided[:8])) + (", ..." if undecided[8:] else "")
        return _said(recording, UNDECIDED, UNDECIDED_TEXT.format(listed=listed), len(undecided))
    return _cut(recording, (rows, work), windows, shifts)


def _windows(rows: Rows, work: DeviceWork, facts: Facts, chosen: BoolArray) -> dict[int, _Window]:
    """List the collectives of each rank."""
    sized = np.where(are_collective(rows, facts, SAME_BYTES), facts.bytes, -1)
    said = mix(np.stack([facts.collective, facts.communicator, sized], axis=1))
    meets = ~are_collective(rows, facts, ONE_WAY)
    called = work.launched[facts.work]
    found = {}
    for rank in np.unique(facts.rank[chosen]).tolist():
        mine = np.flatnonzero(chosen & (facts.rank == rank))
        mine = mine[np.lexsort((facts.start[mine], called[mine]))]
        found[rank] = _Window(
            said[mine], meets[mine], called[mine], facts.start[mine], facts.end[mine]
        )
    return found


def _shift(a: _Window, b: _Window, *, is_one_clock: bool) -> tuple[int | None, bool]:
    """Find how the second window lies beside the first; say whether nothing else fits as well."""
    fits = [
        fit for s in _alike(a.said, b.said) if (fit := _fit(a, b, s, is_one_clock=is_one_clock))
    ]
    if not fits:
        return None, False
    # what began and ended with the same communication needs a reason to be shifted
    whole = [fit for fit in fits if fit.shift == 0 and a.said.size == b.said.size]
    best = min(fits, key=lambda fit: (float(np.nanmedian(fit.apart_ns)), abs(fit.shift)))
    others = [fit for fit in fits if fit.shift != best.shift]
    stride = int(np.gcd.reduce([fit.shift - best.shift for fit in others])) if others else 1
    rivals = [fit for fit in others if not _is_nearer(best, fit, stride, len(others))]
    if not rivals:
        return best.shift, True
    if any(fit.shift == 0 for fit in (best, *rivals)) and whole:
        return 0, True
    return best.shift, False


def _alike(a: UInt64Array, b: UInt64Array) -> list[int]:
    """List the shifts at which two sequences agree in all that both have, and share enough."""
    least = max(1, int(np.ceil(LEAST_RATIO * min(a.size, b.size))))
    n = max(a.size, b.size)
    powers = np.multiply.accumulate(np.concatenate([[np.uint64(1)], np.full(n, BASE)]))
    sums = [np.concatenate([[np.uint64(0)], np.cumsum(s * powers[: s.size])]) for s in (a, b)]
    shift = np.arange(least - a.size, b.size - least + 1)
    low, high = np.maximum(0, -shift), np.minimum(a.size, b.size - shift)
    ours, theirs = sums[0][high] - sums[0][low], sums[1][high + shift] - sums[1][low + shift]
    equal = ours * powers[np.maximum(shift, 0)] == theirs * powers[np.maximum(-shift, 0)]
    # equal sums may be chance; equal sequences are not
    return [
        s
        for s, i, j in zip(*(x[equal].tolist() for x in (shift, low, high)), strict=True)
        if np.array_equal(a[i:j], b[i + s : j + s])
    ]


def _fit(a: _Window, b: _Window, shift: int, *, is_one_clock: bool) -> _Fit | None:
    """Lay two windows beside each other; None if times forbid it."""
    low, high = max(0, -shift), min(a.said.size, b.said.size - shift)
    mine, other = slice(low, high), slice(low + shift, high + shift)
    meets = a.meets[mine]
    if not meets.any():
        return None
    # clock of b less that of a lies between these, in each communication
    least, most = b.start[other] - a.end[mine], b.end[other] - a.start[mine]
    away = (b.end[other] - a.end[mine]).astype(float)
    if is_one_clock:
        wrong = (least > TOLERANCE_NS) | (most < -TOLERANCE_NS)
        is_possible = wrong[meets].mean() <= REFUSED_RATIO
    else:
        tail = REFUSED_RATIO / 2
        bounds = np.quantile(least[meets], 1 - tail), np.quantile(most[meets], tail)
        is_possible = bounds[0] <= bounds[1] + TOLERANCE_NS
        away -= np.median(away[meets])
    if not is_possible:
        return None
    return _Fit(shift, low, np.where(meets, np.abs(away), np.nan))


def _is_nearer(best: _Fit, other: _Fit, stride: int, n_other: int) -> bool:
    """Say whether ends lie nearer to each other than chance would have them."""
    first = max(best.first, other.first)
    last = min(fit.first + fit.apart_ns.size for fit in (best, other))
    ours, theirs = (fit.apart_ns[first - fit.first : last - fit.first] for fit in (best, other))
    # of the communications between two shifts one alone: they are late together
    wins, losses = ((x < y)[::stride].sum() for x, y in ((ours, theirs), (theirs, ours)))
    return at_most(int(losses), int(wins + losses), 0.5) <= FALSE_SPLITS / n_other


def _cut(
    recording: Recording,
    recorded: tuple[Rows, DeviceWork],
    windows: dict[int, _Window],
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


def _said(recording: Recording, code: str, text: str, n: int) -> Recording:
    found = caveat_table([(code, text, n)])
    return replace(recording, caveat=pl.concat([recording.caveat, found]))
