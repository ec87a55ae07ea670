"""Couplings between streams, inferred from which orders are never broken."""

import numpy as np

from loadpath.couple.trace import kernels
from loadpath.couple.trace.launches import RESOLUTION_NS, TOLERATED_RATIO, DeviceWork
from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array, Rows

__all__ = ["cross_stream"]

BINDING_NS = 50_000
"""An op that starts within this time after another's end may have waited for it."""


def cross_stream(
    rows: Rows, work: DeviceWork, latency_ns: Int64Array
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

    Returns
    -------
    source, target : (n_edge,) arrays of int32
        Indices into `work`.

    Notes
    -----
    Candidates are pairs of an op and the last op launched before it on each other stream. They
    are pooled over ranks and steps by names, streams and launch distance. A pool is accepted if at
    most 0.5 % of its pairs overlap and at least one op was bound by the other alone: it started
    when the other ended, although its own stream was free and its launch had arrived before. A
    communication kernel needs no binding example: its backend always makes it wait for the stream
    it was called from.
    """
    if not work.row.size:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    n_stream = int(work.stream.max()) + 1
    latest = kernels.last_before(rows.rank[work.row], work.stream, n_stream)
    target, stream = np.nonzero(latest >= 0)
    source = latest[target, stream]
    both = rows.on_device[work.row[target]] & rows.on_device[work.row[source]]
    source, target, stream = source[both], target[both], stream[both]
    start, end = rows.start[work.row[target]], rows.end[work.row[source]]
    broken = start < end - RESOLUTION_NS
    ready = np.maximum(_lane_free(rows, work), work.launched + latency_ns)[target]
    binds = ~broken & (end > ready + RESOLUTION_NS) & (start - end <= BINDING_NS)
    talks = (rows.kind[work.row] == "communicate")[target]
    name = rows.name[work.row].astype(np.int64)
    lanes = (work.stream[target].astype(np.int64) * n_stream + stream) << 40
    pool = _groups(lanes | np.minimum(target - source, 1 << 16), name[target] << 32 | name[source])
    wide = _groups(lanes, name[target])
    keep = _accepted(pool, broken, binds) | (talks & _accepted(wide, broken, talks))
    return source[keep].astype(np.int32), target[keep].astype(np.int32)


def _lane_free(rows: Rows, work: DeviceWork) -> Int64Array:
    end = rows.end[work.row]
    return np.where(work.previous >= 0, end[work.previous], np.iinfo(np.int64).min)


def _groups(one: Int64Array, other: Int64Array) -> Int64Array:
    _, a = np.unique(one, return_inverse=True)
    _, b = np.unique(other, return_inverse=True)
    _, group = np.unique(a.astype(np.int64) * (int(b.max(initial=0)) + 1) + b, return_inverse=True)
    return group.astype(np.int64)


def _accepted(group: Int64Array, broken: BoolArray, binds: BoolArray) -> BoolArray:
    total = np.bincount(group)
    wrong = np.bincount(group, weights=broken)
    bound = np.bincount(group, weights=binds)
    accepted: BoolArray = ((wrong <= TOLERATED_RATIO * total) & (bound > 0))[group]
    return accepted
