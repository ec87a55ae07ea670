"""Processors that communication threads wait for: whoever blocks hands his on."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.rows import Int32Array, Int64Array, Rows
from loadpath.couple.trace.segments import Segments
from loadpath.couple.trace.waits import WorkerWaits

__all__ = ["Turns", "processor_turns"]

LEAST_DELAY_NS = 50_000
"""What a thread needs to wake and begin; more is a delay."""
FALSE_TURNS = 0.001
"""Probability with which delays that nobody else has to do with are taken for turns."""
MOST_LEFT_RATIO = 0.5
"""Share of the delays that may remain after the turns."""
LEAST_SHARE = 1e-6
"""Shares are told no closer: times have a resolution."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Who began when somebody else on his machine gave up a processor; pairs.

    Attributes
    ----------
    segment : (n,) array of int32
        Segment in which a thread blocks, from its start on; -1 where it is an op that ended.
    ended : (n,) array of int32
        Index into `DeviceWork`: op of a communication thread that ended; -1 where a thread blocks.
    work : (n,) array of int32
        Index into `DeviceWork`: what began then.
    """

    segment: Int32Array
    ended: Int32Array
    work: Int32Array


@dataclass(frozen=True, slots=True)
class _Freed:
    """Moments at which a processor got free, machine by machine in order of time."""

    machine: Int64Array
    time: Int64Array
    segment: Int64Array
    ended: Int64Array


def processor_turns(
    rows: Rows,
    segments: Segments,
    work: DeviceWork,
    waits: WorkerWaits,
    *,
    ready_ns: Int64Array,
    machine: Int64Array,
) -> Turns:
    """Find ops of communication threads that began when another thread gave up its processor.

    Parameters
    ----------
    rows : Rows
        Recorded ops, on one clock.
    segments : Segments
        Parts of host threads.
    work : DeviceWork
        What hosts launched.
    waits : WorkerWaits
        Where threads wait for communication threads.
    ready_ns : (n_work,) array of int64
        When each launched op could have begun: its launch had arrived and its lane was free.
    machine : (n_work,) array of int64
        Machine of each launched op.

    Returns
    -------
    Turns
        Orders of service; none on machines where delays and blocking threads have nothing to do with
        each other.

    Notes
    -----
    Where a machine has fewer processors than threads that want to run, a thread that was handed work
    begins once another one blocks (in a wait for a communication, or at the end of one). Each op that
    began over 50 us late is compared with the last such moment before it. The share of the time in
    which it could have begun that lies as close behind such a moment is uniform if it began at any
    time, so that the sum of its negative logarithms over n ops follows a gamma law of shape n (Fisher).
    Turns are taken if that has a probability of 0.1 % at most, and if they leave less than half of the
    delay.

    References
    ----------
    .. [1] R. A. Fisher, *Statistical Methods for Research Workers*, 1932, section 21.1.
    """
    start = rows.start[work.row]
    queued = rows.on_worker[work.row] & (work.call >= 0) & (rows.correlation[work.row] == -1)
    late = np.flatnonzero(queued & (start > ready_ns + LEAST_DELAY_NS))
    freed = _freed(rows, segments, work, waits, machine=machine)
    place, began = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for one in np.unique(machine[late]):
        mine = late[machine[late] == one]
        low, high = np.searchsorted(freed.machine, [one, one + 1])
        found = _taken(freed.time[low:high], ready_ns[mine], start[mine])
        place.append(low + found[found >= 0])
        began.append(mine[found >= 0])
    at = np.concatenate(place)
    return Turns(
        freed.segment[at].astype(np.int32),
        freed.ended[at].astype(np.int32),
        np.concatenate(began).astype(np.int32),
    )


def _freed(
    rows: Rows, segments: Segments, work: DeviceWork, waits: WorkerWaits, *, machine: Int64Array
) -> _Freed:
    end = rows.end[work.row]
    blocks = end[waits.source] > segments.start[waits.segment]
    source, segment = waits.source[blocks], waits.segment[blocks]
    done = np.flatnonzero(rows.on_worker[work.row])
    where = np.concatenate([machine[source], machine[done]])
    time = np.concatenate([segments.start[segment], end[done]])
    order = np.lexsort((time, where))
    return _Freed(
        where[order],
        time[order],
        np.append(segment, np.full(done.size, -1))[order].astype(np.int64),
        np.append(np.full(segment.size, -1), done)[order].astype(np.int64),
    )


def _taken(freed: Int64Array, since: Int64Array, start: Int64Array) -> Int64Array:
    """Which moment each op of a machine began after, -1 for none, if such moments explain delays."""
    place = np.searchsorted(freed, start, "right") - 1
    close = start - np.append(freed, np.iinfo(np.int64).min // 2)[place]
    left = np.minimum(close, start - since)
    share = [
        _share_as_close(freed, *one) for one in zip(since, start, close, strict=True)
    ]  # a delay that no such moment lies in counts as 1
    too_long = left.sum() > MOST_LEFT_RATIO * (start - since).sum()
    if too_long or _chance(np.array(share)) > FALSE_TURNS:
        return np.full(start.size, -1)
    return np.where(close < start - since, place, -1)


def _share_as_close(freed: Int64Array, since: int, start: int, close: int) -> float:
    """Share of the time from `since` to `start` that lies as close behind a moment as `start`."""
    if close >= start - since:
        return 1.0
    low = max(0, int(np.searchsorted(freed, since, "right")) - 1)
    begin = freed[low : int(np.searchsorted(freed, start, "right"))]
    end = np.minimum(begin + close, np.append(begin[1:], start))
    return float(np.maximum(end - np.maximum(begin, since), 0).sum()) / (start - since)


def _chance(share: NDArray[np.float64]) -> float:
    """Probability that as many uniform shares are as small together."""
    total = -float(np.log(np.maximum(share, LEAST_SHARE)).sum())
    if total <= 0:
        return 1.0
    logs = (k * math.log(total) - total - math.lgamma(k + 1) for k in range(share.size))
    return min(1.0, math.fsum(map(math.exp, logs)))
