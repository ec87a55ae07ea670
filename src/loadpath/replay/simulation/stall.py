"""Why a schedule stalls: which op waits for which, until it begins again or nothing is left."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from loadpath.couple.kernels import group_by_key
from loadpath.couple.service_order import ServiceOrder
from loadpath.tables.schedule import ANY, CALC, RECV, SEND, Schedule

__all__ = ["describe_scheduled", "stalled_chain"]

MOST_NAMED = 12
NAMES = {SEND: "send", RECV: "recv", CALC: "calc"}


def stalled_chain(schedule: Schedule, served: ServiceOrder) -> list[str]:
    """Follow the first op that never ended to what it waits for, and so on.

    Parameters
    ----------
    schedule : Schedule
        What was to run.
    served : ServiceOrder
        What ran.

    Returns
    -------
    list of str
        One sentence per op: a deadlock's begins and ends with the same op; empty if all ops ended.
    """
    unended = np.flatnonzero(~served.done)
    if not unended.size:
        return []
    chain = list(_walk(schedule, served, int(unended[0])))
    last = chain[-1]
    if last in chain[:-1]:
        chain = chain[chain.index(last) :]
    names = [describe_scheduled(schedule, v) for v in chain]
    shown = [f"{a} waits for {b}" for a, b in pairwise(names)]
    if last not in chain[:-1]:
        shown.append(f"{names[-1]} waits for {_lacking(schedule, last)}")
    left_out = len(shown) - MOST_NAMED
    return shown if left_out <= 0 else [*shown[: MOST_NAMED - 1], f"... {left_out} more", shown[-1]]


def describe_scheduled(schedule: Schedule, op: int) -> str:
    """Name an op of a schedule for people.

    Parameters
    ----------
    schedule : Schedule
        Ops of all ranks.
    op : int
        Its number.

    Returns
    -------
    str
        What it does, its rank, and its line or number.
    """
    rank = int(np.searchsorted(schedule.rank_start, op, "right")) - 1
    line = int(schedule.line[op])
    place = f"line {line}" if line else f"op {op - int(schedule.rank_start[rank])}"
    kind, size = int(schedule.kind[op]), int(schedule.size[op])
    if kind == CALC:
        return f"calc {size} (rank {rank}, {place})"
    way = "to" if kind == SEND else "from"
    peer, tag = (
        "any" if value == ANY else str(value)
        for value in (int(schedule.peer[op]), int(schedule.tag[op]))
    )
    return f"{NAMES[kind]} {size}b {way} {peer} tag {tag} (rank {rank}, {place})"


def _walk(schedule: Schedule, served: ServiceOrder, op: int) -> Iterator[int]:
    """Ops from `op` on, each waiting for the next; ends with one that was there, or lacks a partner."""
    first, edges = group_by_key(schedule.edge_target, schedule.n_op)
    partners = _unstarted(schedule, served)
    seen: set[int] = set()
    here: int | None = op
    while here is not None:
        yield here
        if here in seen:
            return
        seen.add(here)
        if served.start_ns[here] >= 0:
            here = _partner(schedule, partners, here)
            continue
        required = edges[first[here] : first[here + 1]]
        source = schedule.edge_source[required]
        lacks = np.where(
            schedule.edge_on_start[required], served.start_ns[source] < 0, ~served.done[source]
        )
        here = int(source[np.argmax(lacks)])


def _unstarted(schedule: Schedule, served: ServiceOrder) -> dict[tuple[int, int], list[int]]:
    """List sends and receives that never started, by kind and receiving rank."""
    found = defaultdict(list)
    open_op = np.flatnonzero((served.start_ns[: schedule.n_op] < 0) & (schedule.kind != CALC))
    rank = schedule.rank[open_op]
    for op, own in zip(open_op.tolist(), rank.tolist(), strict=True):
        kind = int(schedule.kind[op])
        found[kind, int(schedule.peer[op]) if kind == SEND else own].append(op)
    return found


def _partner(schedule: Schedule, partners: dict[tuple[int, int], list[int]], op: int) -> int | None:
    """Find an op that never started and would end this one; None if there is none."""
    rank = int(np.searchsorted(schedule.rank_start, op, "right")) - 1
    sends = schedule.kind[op] == SEND
    listed = partners.get((RECV, int(schedule.peer[op])) if sends else (SEND, rank), [])
    for other in listed:
        host = int(np.searchsorted(schedule.rank_start, other, "right")) - 1
        send, recv, source = (op, other, rank) if sends else (other, op, host)
        if schedule.peer[recv] in {ANY, source} and schedule.tag[recv] in {ANY, schedule.tag[send]}:
            return other
    return None


def _lacking(schedule: Schedule, op: int) -> str:
    return "a send that no rank has" if schedule.kind[op] == RECV else "a receive that no rank has"
