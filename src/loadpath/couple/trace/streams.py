"""Couplings between streams, inferred from which orders are never broken."""

from dataclasses import dataclass

import numpy as np

from loadpath.couple.trace import kernels
from loadpath.couple.trace.launches import RESOLUTION_NS, TOLERATED_RATIO, DeviceWork
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows

__all__ = ["cross_stream"]

BINDING_NS = 50_000
"""An op that starts within this time after another's end may have waited for it."""


def cross_stream(  # noqa: PLR0914 - what is known of each pair of ops reads best in one place
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
    when the other ended, although its own stream was free and its launch had arrived before.

    Two conventions of PyTorch's process groups widen the pools. A communication kernel always
    waits for the stream it was called from, so a pool of computations before it needs no binding
    example. And a wait for a communication is a stream-wait call outside any communication call,
    before anything else is launched: pairs behind such a call are one pool for any target and
    distance.
    """
    if not work.row.size:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    source, target = _candidates(rows, work)
    row = work.row
    end = rows.end[row[source]]
    broken = rows.start[row[target]] < end - RESOLUTION_NS
    ready = np.maximum(_lane_free(rows, work), work.launched + latency_ns)[target]
    is_last = (end > ready + RESOLUTION_NS) & (rows.start[row[target]] - end <= BINDING_NS)
    talks = rows.kind[row] == KIND["communicate"]
    asks = _WaitCalls.of(rows)
    pair = rows.stream[row[target]].astype(np.int64) << 16 | rows.stream[row[source]]
    lanes = pair << 2 | np.clip(_calls_before(rows, work, asks.row), 0, 3)[target]
    distance = np.minimum(target - source, 1 << 16)
    binds = ~broken & is_last
    pool = _groups(lanes << 20 | distance, label[target] << 32 | label[source])
    keep = _accepted(pool, broken, binds)
    called_from = talks[target] & ~talks[source]
    keep |= called_from & _accepted(
        _groups(lanes, label[target] << 1 | called_from), broken, called_from
    )
    waited = _asked_behind(rows, work, asks)[source] & talks[source] & ~talks[target]
    keep |= waited & _accepted(_groups(pair, label[source] << 1 | waited), broken, binds)
    return _without_implied(source[keep].astype(np.int32), target[keep].astype(np.int32), work)


def _without_implied(
    source: Int32Array, target: Int32Array, work: DeviceWork
) -> tuple[Int32Array, Int32Array]:
    """Leave out waits that the op before on the target's stream has as well."""
    pair = source.astype(np.int64) * work.row.size + target
    before = work.previous[target]
    first = (before < 0) | ~np.isin(source.astype(np.int64) * work.row.size + before, pair)
    return source[first], target[first]


@dataclass(frozen=True, slots=True)
class _WaitCalls:
    """Rows of calls by which a stream is told to wait, and the communication call around each."""

    row: Int32Array
    inside: Int32Array

    @classmethod
    def of(cls, rows: Rows) -> "_WaitCalls":
        asks = np.array(["StreamWaitEvent" in name for name in rows.names], np.bool_)[rows.name]
        row = np.flatnonzero(asks & rows.on_host).astype(np.int32)
        return cls(row, _communication_around(rows, row))


def _communication_around(rows: Rows, row: Int32Array) -> Int32Array:
    talks = rows.on_host & (rows.collective != rows.collectives.index(""))
    return np.asarray(kernels.innermost_said(rows.parent, talks, row), np.int32)


def _asked_behind(rows: Rows, work: DeviceWork, asks: _WaitCalls) -> BoolArray:
    """Ops behind whose launch, and before the next one, a stream was told to wait."""
    free = asks.row[asks.inside < 0]
    before = _calls_before(rows, work, free)
    follows = rows.rank[work.row][1:] == rows.rank[work.row][:-1]
    behind = np.zeros(work.row.size, np.bool_)
    behind[:-1] = follows & (before[1:] > 0)
    return behind


def _candidates(rows: Rows, work: DeviceWork) -> tuple[Int64Array, Int64Array]:
    """Pairs of a device op and the last device op launched before it on each other stream."""
    latest = kernels.last_before(rows.rank[work.row], work.stream, int(work.stream.max()) + 1)
    target, stream = np.nonzero(latest >= 0)
    source = latest[target, stream].astype(np.int64)
    both = rows.on_device[work.row[target]] & rows.on_device[work.row[source]]
    return source[both], target[both]


def _calls_before(rows: Rows, work: DeviceWork, call: Int32Array) -> Int64Array:
    """Count calls of the rank between the launch of the op before and each op's own."""
    count = np.zeros(work.row.size, np.int64)
    for rank in np.unique(rows.rank[work.row]):
        here = np.flatnonzero(rows.rank[work.row] == rank)
        start = np.sort(rows.start[call[rows.rank[call] == rank]])
        count[here] = np.diff(np.searchsorted(start, work.launched[here]), prepend=0)
    return count


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
