"""Couplings between streams, inferred from which orders are never broken."""

import numpy as np

from loadpath.couple.trace import kernels
from loadpath.couple.trace.launches import RESOLUTION_NS, TOLERATED_RATIO, DeviceWork
from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array, Rows

__all__ = ["cross_stream"]

BINDING_NS = 50_000
"""An op that starts within this time after another's end may have waited for it."""


def cross_stream(
    rows: Rows, work: DeviceWork, latency_ns: Int64Array, label: Int64Array
) -> tuple[Int32Array, Int32Array]:
    """Find ops that wait for an op of another stream of their rank.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.
    latency_ns : (n,) array of int64
        Launch latency of each op.
    label : (n,) array of int64
        What an op is: its name and collective.

    Returns
    -------
    source, target : (n_edge,) arrays of int32
        Indices into `work`.

    Notes
    -----
    Candidates are pairs of an op and the last op launched before it on each other stream. They
    are pooled over ranks and steps by labels, streams, launch distance, and the number of
    stream-wait calls just before the launch. A pool is accepted if at
    most 0.5 % of its pairs overlap and at least one op was bound by the other alone: it started
    when the other ended, although its own stream was free and its launch had arrived before. A
    communication kernel needs no binding example: its backend always makes it wait for the stream
    it was called from.
    """
    if not work.row.size:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    source, target = _candidates(rows, work)
    row = work.row
    end = rows.end[row[source]]
    broken = rows.start[row[target]] < end - RESOLUTION_NS
    ready = np.maximum(_lane_free(rows, work), work.launched + latency_ns)[target]
    is_last = (end > ready + RESOLUTION_NS) & (rows.start[row[target]] - end <= BINDING_NS)
    talks = (rows.kind[row] == "communicate")[target]
    lanes = _lane_pair(rows, work, source, target)
    distance = np.minimum(target - source, 1 << 16)
    pool = _groups(lanes << 20 | distance, label[target] << 32 | label[source])
    keep = _accepted(pool, broken, ~broken & is_last)
    keep |= talks & _accepted(_groups(lanes, label[target]), broken, talks)
    return source[keep].astype(np.int32), target[keep].astype(np.int32)


def _candidates(rows: Rows, work: DeviceWork) -> tuple[Int64Array, Int64Array]:
    """Pairs of a device op and the last device op launched before it on each other stream."""
    latest = kernels.last_before(rows.rank[work.row], work.stream, int(work.stream.max()) + 1)
    target, stream = np.nonzero(latest >= 0)
    source = latest[target, stream].astype(np.int64)
    both = rows.on_device[work.row[target]] & rows.on_device[work.row[source]]
    return source[both], target[both]


def _lane_pair(rows: Rows, work: DeviceWork, source: Int64Array, target: Int64Array) -> Int64Array:
    """Code of both streams, and of how many stream-wait calls precede the target's launch."""
    asks = np.array(["StreamWaitEvent" in name for name in rows.names], np.bool_)[rows.name]
    call = np.flatnonzero(asks & rows.on_host)
    n_wait = np.zeros(work.row.size, np.int64)
    for rank in np.unique(rows.rank[work.row]):
        here = np.flatnonzero(rows.rank[work.row] == rank)
        start = np.sort(rows.start[call[rows.rank[call] == rank]])
        n_wait[here] = np.diff(np.searchsorted(start, work.launched[here]), prepend=0)
    pair = rows.stream[work.row[target]].astype(np.int64) << 16 | rows.stream[work.row[source]]
    return pair << 2 | np.clip(n_wait[target], 0, 3)


def _lane_free(rows: Rows, work: DeviceWork) -> Int64Array:
    free: Int64Array = rows.end[work.row][work.previous]
    free[work.previous < 0] = np.iinfo(np.int64).min
    return free


def _groups(one: Int64Array, other: Int64Array) -> Int64Array:
    _, a = np.unique(one, return_inverse=True)
    _, b = np.unique(other, return_inverse=True)
    _, group = np.unique(a.astype(np.int64) * (int(b.max(initial=0)) + 1) + b, return_inverse=True)
    return np.asarray(group, np.int64)


def _accepted(group: Int64Array, broken: BoolArray, binds: BoolArray) -> BoolArray:
    total = np.bincount(group)
    wrong = np.bincount(group, weights=broken)
    bound = np.bincount(group, weights=binds)
    accepted: BoolArray = ((wrong <= TOLERATED_RATIO * total) & (bound > 0))[group]
    return accepted
