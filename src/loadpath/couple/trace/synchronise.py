"""Host calls that complete only after device ops ended."""

import numpy as np

from loadpath.couple.trace import kernels
from loadpath.couple.trace.launches import RESOLUTION_NS, TOLERATED_RATIO, DeviceWork
from loadpath.couple.trace.recorded_waits import RecordedWaits
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows

__all__ = ["host_waits"]


def host_waits(
    rows: Rows, work: DeviceWork, recorded: RecordedWaits
) -> tuple[Int32Array, Int32Array]:
    """Find which calls complete only after device ops ended.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.
    recorded : RecordedWaits
        Waits that the profiler recorded: what a call waits for need not be inferred then.

    Returns
    -------
    source, target : (n_wait,) arrays of int32
        Index into `work`, and row of the waiting call.

    Notes
    -----
    A synchronising call waits for the last op launched before it on each stream, as far as its
    calls never end before such an op does. A copy call waits for its own copy where it never ends
    before it and the call is not asynchronous or the memory is pageable.
    """
    source, target = _synchronised(rows, work)
    inferred = ~np.isin(target, recorded.host_call)
    is_copy = (rows.kind[work.row] == KIND["copy"]) & (work.call >= 0) & rows.on_device[work.row]
    waits = np.array([_may_block(name) for name in rows.names], np.bool_)
    copies = np.flatnonzero(is_copy)
    copies = copies[waits[rows.name[work.row[copies]]] | waits[rows.name[work.call[copies]]]]
    ended = rows.end[work.row[copies]] <= rows.end[work.call[copies]] + RESOLUTION_NS
    keep = _sound(rows.name[work.row[copies]].astype(np.int64), ended)
    return (
        np.concatenate([recorded.host_source, source[inferred], copies[keep]]).astype(np.int32),
        np.concatenate([recorded.host_call, target[inferred], work.call[copies[keep]]]).astype(
            np.int32
        ),
    )


def _may_block(name: str) -> bool:
    is_call = name.startswith(("cudaMemcpy", "hipMemcpy", "cuMemcpy"))
    return "Pageable" in name or (is_call and "Async" not in name)


def _synchronised(rows: Rows, work: DeviceWork) -> tuple[Int32Array, Int32Array]:
    call = np.flatnonzero(rows.synchronises)
    n_stream = int(work.stream.max(initial=-1)) + 1
    rank = np.concatenate([rows.rank[work.row], rows.rank[call]])
    time = np.concatenate([work.launched, rows.start[call]])
    stream = np.concatenate([work.stream, np.full(call.size, n_stream, np.int32)])
    order = np.lexsort((stream == n_stream, time, rank))
    latest = kernels.last_before(rank[order], stream[order], n_stream + 1)
    place = np.flatnonzero(stream[order] == n_stream)
    pair_call, pair_stream = np.nonzero(latest[place][:, :n_stream] >= 0)
    source = order[latest[place][pair_call, pair_stream]]
    target = order[place[pair_call]] - work.row.size
    on_device = rows.on_device[work.row[source]]
    source, target, pair_stream = source[on_device], target[on_device], pair_stream[on_device]
    ended = rows.end[work.row[source]] <= rows.end[call[target]] + RESOLUTION_NS
    keep = _sound((rows.name[call[target]].astype(np.int64) << 16) | pair_stream, ended)
    return source[keep].astype(np.int32), call[target[keep]].astype(np.int32)


def _sound(key: Int64Array, holds: BoolArray) -> BoolArray:
    """Which pairs belong to a key whose claim is contradicted almost nowhere."""
    _, group = np.unique(key, return_inverse=True)
    total = np.bincount(group)
    wrong = np.bincount(group, weights=~holds)
    return (wrong <= TOLERATED_RATIO * total)[group] if key.size else np.zeros(0, np.bool_)
