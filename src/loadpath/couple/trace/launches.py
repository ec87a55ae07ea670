"""Launches: which call began which device op, how long that takes, and which calls wait."""

from dataclasses import dataclass

import numpy as np

from loadpath.couple.trace.posted import are_ends, are_posts
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows
from loadpath.couple.trace.segments import occurrences

__all__ = [
    "DeviceWork",
    "device_work",
    "first_of_call",
    "launch_latency",
    "match_workers",
]

TOLERATED_RATIO = 0.005
"""Share of contradictions that a coupling may show: clocks have a resolution."""
RESOLUTION_NS = 2_000
"""Device and host times of whole-us traces are off by up to 1 us each."""

LONGEST_LATENCY_NS = 1_000_000
"""No launch takes longer; what starts later waited for something."""


@dataclass(frozen=True, slots=True)
class DeviceWork:
    """Ops that a host launched, in order of rank and launch.

    Attributes
    ----------
    row : (n,) array of int32
        Recorded rows: device ops, then ops of communication threads merged by launch.
    call : (n,) array of int32
        Rows of the calls that launched them, -1 unknown.
    launched : (n,) array of int64
        Start of the call, or of the op where the call is unknown, in ns.
    stream : (n,) array of int32
        Number of the op's lane among the lanes of its rank that run such ops.
    previous : (n,) array of int32
        Index of the op before it on its lane, -1 for the first.
    """

    row: Int32Array
    call: Int32Array
    launched: Int64Array
    stream: Int32Array
    previous: Int32Array


def match_workers(rows: Rows) -> Int32Array:
    """Join ops of communication threads to the calls that queued them.

    The k-th call of a collective on the other threads of a rank queued the k-th execution of it
    on its communication threads, not counting those that were queued before the recording began: nothing
    is executed before it is called, so those are as many as the executions before any call exceed the
    calls before it. Backends run some collectives as others (gloo a reduce-scatter
    as an all-reduce): those whose numbers differ on a rank are one kind there if their sums agree.
    Groups have threads of their own, which may overtake each other: payloads keep them apart, where
    calls and executions tell the same ones, if not all as often (a recording begins and ends in between).

    Parameters
    ----------
    rows : Rows
        Recorded ops.

    Returns
    -------
    (n,) array of int32
        Row of the call of each worker op, -1 elsewhere and where the numbers differ. A posted
        communication was begun by the call that posted it; its end by the wait for it.
    """
    call = _posting_calls(rows)
    talks = rows.collective != rows.collectives.index("")
    is_call = rows.on_host & (rows.kind == KIND["host"]) & talks
    is_call &= np.array([name.startswith("c10d::") for name in rows.names], np.bool_)[rows.name]
    asked, done = (
        np.flatnonzero(is_call),
        np.flatnonzero(rows.on_worker & talks & (rows.correlation == -1)),
    )
    if not done.size or not asked.size:
        return call
    kind = _executed_kinds(rows, asked, done)
    start = rows.start[np.concatenate([asked, done])]
    sides = slice(0, asked.size), slice(asked.size, None)
    place = [occurrences([kind[i]], start[i]) for i in sides]
    place[1] -= _queued_before(*(kind[i] for i in sides), *(start[i] for i in sides))
    keys = [kind[i] << 32 | at for i, at in zip(sides, place, strict=True)]
    order = np.argsort(keys[0])
    found = np.minimum(np.searchsorted(keys[0][order], keys[1]), asked.size - 1)
    same = keys[0][order][found] == keys[1]
    call[done[same]] = asked[order][found[same]]
    late = done[same]
    call[late[rows.start[late] < rows.start[call[late]] - RESOLUTION_NS]] = -1
    return call


def _queued_before(
    asked: Int64Array, done: Int64Array, called: Int64Array, began: Int64Array
) -> Int64Array:
    """Count, for each execution, those of its kind whose calls were not recorded."""
    n = np.zeros(done.size, np.int64)
    for kind in np.unique(asked):
        here = done == kind
        calls = np.sort(called[asked == kind])
        before = np.searchsorted(np.sort(began[here]), calls - RESOLUTION_NS)
        n[here] = max(0, int((before - np.arange(calls.size)).max()))
    return n


def _posting_calls(rows: Rows) -> Int32Array:
    call = np.full(rows.rank.size, -1, np.int32)
    post = np.flatnonzero(rows.on_worker & are_posts(rows.correlation))
    call[post] = rows.parent[post]
    end = np.flatnonzero(are_ends(rows.correlation))
    end = end[np.lexsort((rows.on_host[end], rows.correlation[end]))]  # each end, then its wait
    call[end[::2]] = end[1::2]
    return call


def _executed_kinds(rows: Rows, asked: Int64Array, done: Int64Array) -> Int64Array:
    """Code of what each call asked for, then of what each execution ran: equal where they agree."""
    row = np.concatenate([asked, done])
    sign = np.where(np.arange(row.size) < asked.size, 1, -1)
    rank, collective = rows.rank[row].astype(np.int64), rows.collective[row]
    kind = rank * len(rows.collectives) + collective
    paired = np.isin(np.array(rows.collectives, object)[collective], ("send", "recv"))
    differs = (_sums(kind, sign) != 0) & ~paired
    mixed = differs & (_sums(rank * 2 + differs, sign) == 0)
    kind[mixed] = -1 - rank[mixed]
    sized = np.unique(np.stack([kind, rows.bytes[row]]), axis=1, return_inverse=True)[1].ravel()
    told = [_sums(sized, sign == side) > 0 for side in (1, -1)]
    uneven = _sums(kind, told[0] != told[1]) != 0
    return (
        np.unique(np.stack([kind, np.where(uneven, -1, sized)]), axis=1, return_inverse=True)[1]
        .ravel()
        .astype(np.int64)
    )


def _sums(key: Int64Array, value: Int64Array) -> Int64Array:
    """Sum of the values of equal keys, for each."""
    _, group = np.unique(key, return_inverse=True)
    total = np.zeros(int(group.max(initial=-1)) + 1, np.int64)
    np.add.at(total, group, value)
    return total[group]


def device_work(rows: Rows, steps: list[int]) -> DeviceWork:
    """Order what hosts launched.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    steps : list of int
        Steps to keep.

    Returns
    -------
    DeviceWork
        Device ops and ops of communication threads.
    """
    row = np.flatnonzero((rows.on_device | rows.on_worker) & np.isin(rows.step, steps))
    call = np.where(rows.on_device, rows.call, match_workers(rows))[row]
    call[(call >= 0) & ~np.isin(rows.step[call], steps)] = -1
    launched = np.where(call >= 0, rows.start[call], rows.start[row])
    order = np.lexsort((rows.start[row], launched, rows.rank[row]))
    launch_order = row[order].astype(np.int32)
    return DeviceWork(
        row=launch_order,
        call=call[order].astype(np.int32),
        launched=launched[order],
        stream=_streams(rows, launch_order),
        previous=_previous(rows, launch_order),
    )


def _streams(rows: Rows, row: Int32Array) -> Int32Array:
    width = int(rows.lane.max(initial=0)) + 1
    used = np.unique(rows.rank[row].astype(np.int64) * width + rows.lane[row])
    first = np.searchsorted(used, rows.rank[row].astype(np.int64) * width)
    place = np.searchsorted(used, rows.rank[row].astype(np.int64) * width + rows.lane[row])
    return (place - first).astype(np.int32)


def _previous(rows: Rows, row: Int32Array) -> Int32Array:
    """Op before each on its lane; on lanes whose ops overlap, the last one that had ended."""
    start, end, rank, lane = (x[row] for x in (rows.start, rows.end, rows.rank, rows.lane))
    pair = rows.correlation[row]  # posted communications (below -1) follow their posts only
    order = np.lexsort((end, start, lane, rank))
    slot = rank[order].astype(np.int64) * (int(rows.lane.max(initial=0)) + 1) + lane[order]
    previous = np.full(row.size, -1, np.int32)
    low = 0
    for high in [*(np.flatnonzero(slot[1:] != slot[:-1]) + 1).tolist(), slot.size]:
        here = order[low:high]
        place = np.arange(here.size) - 1
        overlaps = end[here[:-1]] > start[here[1:]] + RESOLUTION_NS
        if here.size > 1 and overlaps.mean() > TOLERATED_RATIO:
            by_end = np.argsort(end[here], kind="stable")
            place = np.searchsorted(end[here][by_end], start[here], "right") - 1
            place = np.where(place >= 0, by_end[place], -1)
            place[place >= np.arange(here.size)] = -1
        known = (place >= 0) & (pair[here] >= -1)
        previous[here[known]] = here[place[known]]
        low = high
    return previous


def launch_latency(rows: Rows, work: DeviceWork) -> Int64Array:
    """Estimate one launch latency per kind of lane.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.

    Returns
    -------
    (n,) array of int64
        Time between the start of the call and the start of the op, in ns; one value for all ops
        of computing streams, of communication streams, and of communication threads: the median
        where nothing launched before was still running; else the lowest tenth where only the
        op's own stream was empty, but no more than the other streams' value.
    """
    delay = rows.start[work.row] - work.launched
    first = first_of_call(work)
    end = rows.end[work.row]
    free = np.where(work.previous >= 0, end[work.previous], np.iinfo(np.int64).min)
    idle = first & (_busy_until(rows, work) <= work.launched)
    empty = first & (free <= work.launched)
    group = _lane_class(rows, work)
    latency = np.zeros(work.row.size, np.int64)
    known = LONGEST_LATENCY_NS
    for value in np.unique(group):
        here = group == value
        for sample, share in ((idle & here, 0.5), (empty & here, 0.1), (first & here, 0.05)):
            if sample.any():
                typical = int(np.quantile(delay[sample], share))
                latency[here] = min(max(0, typical), known if share < 0.5 else LONGEST_LATENCY_NS)
                known = min(known, int(latency[here][0]))
                break
    return latency


def late_first_ops(rows: Rows, work: DeviceWork) -> Int32Array:
    """Find first ops of streams that waited for work from before the recording.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.

    Returns
    -------
    (n,) array of int32
        Indices into `work`: nothing recorded ran before on their stream, and yet they started
        long after their call had returned.
    """
    first = (work.previous < 0) & (work.call >= 0) & rows.on_device[work.row]
    waited = rows.start[work.row] - rows.end[work.call] > LONGEST_LATENCY_NS
    return np.flatnonzero(first & waited).astype(np.int32)


def first_of_call(work: DeviceWork) -> BoolArray:
    """Tell which ops are the first that their call launched on their stream.

    Parameters
    ----------
    work : DeviceWork
        What hosts launched; one call may launch a whole graph.

    Returns
    -------
    (n,) array of bool
        False too where no call is known.
    """
    key = (work.call.astype(np.int64) << 16) | work.stream
    _, first = np.unique(key, return_index=True)
    out = np.zeros(work.row.size, np.bool_)
    out[first] = True
    return out & (work.call >= 0)


def _lane_class(rows: Rows, work: DeviceWork) -> Int64Array:
    talks = rows.kind[work.row] == KIND["communicate"]
    worker = np.where(rows.correlation[work.row] < -1, 3, 2)
    return np.where(rows.on_worker[work.row], worker, talks.astype(np.int64))


def _busy_until(rows: Rows, work: DeviceWork) -> Int64Array:
    """Latest end of all ops of the rank launched before."""
    end = rows.end[work.row]
    rank = rows.rank[work.row]
    out = np.full(end.size, np.iinfo(np.int64).min)
    for value in np.unique(rank):
        here = np.flatnonzero(rank == value)
        out[here[1:]] = np.maximum.accumulate(end[here])[:-1]
    return out
