"""Ranks on one clock: communications timed, clocks set by them, and what cannot be set."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple.trace.clock_estimate import estimate_clocks
from loadpath.couple.trace.clock_faults import clock_faults, clock_residuals, end_deviations
from loadpath.couple.trace.clock_hosts import (
    SharedClocks,
    clocks_of_hosts,
    middle_shifts,
    shared_clocks,
)
from loadpath.couple.trace.clocks import Clocks, only, set_clocks
from loadpath.couple.trace.collectives import (
    Facts,
    Instances,
    communication_facts,
    find_instances,
)
from loadpath.couple.trace.handshakes import handshake_sightings, usable_handshakes
from loadpath.couple.trace.launches import DeviceWork, device_work
from loadpath.couple.trace.passages import completed_ends
from loadpath.couple.trace.rows import Rows
from loadpath.couple.trace.segments import cut_threads
from loadpath.couple.trace.sightings import (
    join_sightings,
    meeting_members,
    sightings,
)
from loadpath.couple.trace.threads import Handover, hand_over
from loadpath.couple.trace.waits import WorkerWaits, worker_waits
from loadpath.tables import Recording

__all__ = [
    "UNDECIDED",
    "UNMARKED",
    "Aligned",
    "Timed",
    "Told",
    "align_ranks",
    "is_cut_off",
    "match_ranks",
]

UNDECIDED = "windows_undecided"
"""Caveat where several ways to lay windows beside each other fit equally."""
UNMARKED = "no_step_marks"
"""Caveat of readers that took the whole recording as one step."""


@dataclass(frozen=True, slots=True)
class Timed:
    """Ops of all ranks as they are timed, and where they meet.

    Attributes
    ----------
    rows : Rows
        Recorded ops.
    threads : Handover
        Parts of host threads.
    work : DeviceWork
        What hosts launched.
    waits : WorkerWaits
        Where threads wait for communication threads.
    n_late : int
        Ops of communication threads that were recorded to end too late.
    facts : Facts
        What is known of communication ops.
    instances : Instances
        Communications.
    """

    rows: Rows
    threads: Handover
    work: DeviceWork
    waits: WorkerWaits
    n_late: int
    facts: Facts
    instances: Instances


@dataclass(frozen=True, slots=True)
class Told:
    """What told the clocks of the ranks.

    Attributes
    ----------
    by : tuple of str
        Kinds of records, in words.
    shared : SharedClocks
        Ranks that read one clock.
    """

    by: tuple[str, ...]
    shared: SharedClocks


@dataclass(frozen=True, slots=True)
class Aligned:
    """Ops of all ranks on one clock.

    Attributes
    ----------
    timed : Timed
        The ops, and where they meet.
    clocks : Clocks
        What was taken off the recorded times.
    residual_ns : dict of int to int
        By rank: what its clock still disagrees by.
    unsure_ns : dict of int to int
        By rank: how far it ends from those that its host's name gives the same clock.
    faults : tuple of str
        Clocks that cannot be set right.
    told : Told
        What told the clocks.
    member : polars.DataFrame
        Members of communications on that clock, as `meeting_members` lists them.
    """

    timed: Timed
    clocks: Clocks
    residual_ns: dict[int, int]
    unsure_ns: dict[int, int]
    faults: tuple[str, ...]
    told: Told
    member: pl.DataFrame


def align_ranks(recording: Recording, rows: Rows, steps: list[int]) -> Aligned:
    """Match communications, and set the clocks of the ranks by them.

    Parameters
    ----------
    recording : Recording
        A trace recording.
    rows : Rows
        Its ops.
    steps : list of int
        Steps to keep.

    Returns
    -------
    Aligned
        Ops on one clock.

    Notes
    -----
    Clocks that are off are set, the others stay as recorded: a repair does not touch what is fine.
    If communications remain impossible (a member ends before another starts), all clocks as
    recorded, and all of them set, are tried as well; what leaves fewest is taken.
    """
    timed, clocks, told = _on_one_clock(recording, rows, steps)
    member = _members(timed)
    reads = dict(zip(clocks.rank.tolist(), clocks.rank[told.shared.clock].tolist(), strict=True))
    away = end_deviations(member, reads)
    faults = clock_faults(recording, member, away, clocks)
    if faults:
        refused = dataclasses.replace(timed.instances, is_refused=True)
        timed = dataclasses.replace(timed, instances=refused)
    residual, unsure = clock_residuals(away, clocks), middle_shifts(member, reads)
    residual |= {rank: max(ns, residual.get(rank, 0)) for rank, ns in unsure.items()}
    return Aligned(
        timed=_completed(timed, residual),
        clocks=clocks,
        residual_ns=residual,
        unsure_ns=unsure,
        faults=tuple(faults),
        told=told,
        member=member,
    )


def is_cut_off(recording: Recording) -> bool:
    """Say whether a trace lacks its end.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    bool
        True if so: its events are not ordered by time, so communications of any step may be
        missing, and the others cannot be matched by order.
    """
    return bool((recording.caveat["code"] == "truncated").any())


def _on_one_clock(recording: Recording, rows: Rows, steps: list[int]) -> tuple[Timed, Clocks, Told]:
    """Set the clocks in the way that makes fewest communications impossible; say what told them."""
    recorded = match_ranks(recording, rows, steps)
    rank, member = recording.rank["rank"].to_numpy(), _members(recorded)
    kinds = {
        "the ends of communications": sightings(member),
        "handshakes": handshake_sightings(usable_handshakes(recording)),
    }
    seen = join_sightings(*kinds.values())
    shared = shared_clocks(recording.rank, member, seen)
    told = Told(tuple(name for name, part in kinds.items() if part.low.size), shared)
    clocks = estimate_clocks(rank, seen, shared.clock)
    timed, setting = _least_impossible(recording, rows, steps, recorded=recorded, clocks=clocks)
    if timed.instances.is_refused and shared.parted:
        # clocks explain nothing, so what was matched wrongly does not part the ranks of a host
        whole = clocks_of_hosts(recording.rank)
        told = Told(told.by, SharedClocks(whole, ()))
        setting = only(estimate_clocks(rank, seen, whole), np.zeros(rank.size, np.bool_))
        timed = recorded
    return timed, setting, told


def _least_impossible(
    recording: Recording, rows: Rows, steps: list[int], *, recorded: Timed, clocks: Clocks
) -> tuple[Timed, Clocks]:
    """Try those clocks that are off, none and all; take what leaves fewest impossible meetings."""
    nobody, all_ranks = np.zeros_like(clocks.is_off), np.ones_like(clocks.is_off)
    # what a cut trace lacks shifts what was matched by order: its ends tell no clock
    choices = [nobody] if is_cut_off(recording) else [clocks.is_off, nobody, all_ranks]
    tried: list[tuple[Timed, Clocks]] = []
    for chosen in choices:
        setting, moved = only(clocks, chosen), recorded
        if setting.are_moved.any():
            start, end = (set_clocks(setting, rows.rank, time) for time in (rows.start, rows.end))
            moved = match_ranks(recording, dataclasses.replace(rows, start=start, end=end), steps)
        tried.append((moved, setting))
        if moved.instances.causal.all():
            break
    return min(tried, key=lambda one: int((~one[0].instances.causal).sum()))


def match_ranks(recording: Recording, rows: Rows, steps: list[int]) -> Timed:
    """Match communications of ops as they are timed.

    Parameters
    ----------
    recording : Recording
        A trace recording.
    rows : Rows
        Its ops.
    steps : list of int
        Steps to keep.

    Returns
    -------
    Timed
        Ops, and where ranks meet.
    """
    threads = hand_over(cut_threads(rows, steps))
    work = device_work(rows, steps)
    if is_cut_off(recording):
        # ops of communication threads meet their calls by order, which the lacking ones upset
        work = dataclasses.replace(work, call=np.where(rows.on_worker[work.row], -1, work.call))
    waits = worker_waits(rows, threads.segments, work)
    # in one long step each place of waiting has few occurrences: a chance one must not cut ends
    are_told = not (recording.caveat["code"] == UNMARKED).any()
    n_late = int((waits.end < rows.end).sum()) if are_told else 0
    rows = dataclasses.replace(rows, end=waits.end if are_told else rows.end)
    facts = communication_facts(rows, work)
    instances = find_instances(recording, rows, facts)
    if is_cut_off(recording) or (recording.caveat["code"] == UNDECIDED).any():
        instances = dataclasses.replace(instances, is_refused=True)
    return Timed(rows, threads, work, waits, n_late, facts, instances)


def _completed(timed: Timed, residual_ns: dict[int, int]) -> Timed:
    """End posted communications when they were complete, not when a thread came to mark it."""
    facts, rows = timed.facts, timed.rows
    done = completed_ends(facts, timed.instances, max(residual_ns.values(), default=0))
    late = np.flatnonzero(done < facts.end)
    end = rows.end.copy()
    end[timed.work.row[facts.work[late]]] = done[late]
    return dataclasses.replace(
        timed,
        rows=dataclasses.replace(rows, end=end),
        facts=dataclasses.replace(facts, end=done),
        n_late=timed.n_late + late.size,
    )


def _members(timed: Timed) -> pl.DataFrame:
    return meeting_members(timed.rows, timed.facts, timed.instances)
