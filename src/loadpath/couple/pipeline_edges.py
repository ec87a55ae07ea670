"""Edges within a worker: program order, streams, and what sends, receives and gradients need."""

import numpy as np

from loadpath.couple.graph import EdgeKind, Int32Array
from loadpath.couple.kernels import group_by_key
from loadpath.couple.pipeline_rows import (
    OP_NAMES,
    Edges,
    WorkerRows,
    first_by_key,
    is_named,
    last_by_key,
)
from loadpath.couple.pipeline_transfers import Transfers

__all__ = ["worker_edges"]

COMPUTE = ("forward-compute", "backward-compute")
TAIL = {
    "gc": 0,
    "layernorm-grads-all-reduce": 1,
    "embedding-grads-all-reduce": 2,
    "grads-reduce-scatter": 3,
    "separate-grads-all-reduce": 4,
    "optimizer-clip-main-grad": 5,
    "optimizer": 6,
}
"""Order of what follows the last computation of a worker."""
PHASE = np.array([TAIL.get(name, -1) for name in OP_NAMES])


def worker_edges(rows: WorkerRows, transfers: Transfers, *, uses_dp: bool) -> list[Edges]:
    """List all edges between ops of the same worker.

    Parameters
    ----------
    rows : WorkerRows
        Ops.
    transfers : Transfers
        Sends and receives among them.
    uses_dp : bool
        Whether parameters and gradients are shared with other replicas.

    Returns
    -------
    list of Edges
        Edges by reason.
    """
    return [
        *_program(rows, transfers),
        *_transfer_edges(transfers),
        *_data_parallel_stream(rows),
        *_tail(rows, uses_dp=uses_dp),
    ]


def _ops(rows: WorkerRows, *names: str) -> Int32Array:
    return np.flatnonzero(is_named(rows, *names)).astype(np.int32)


def _chain(op: Int32Array, key: Int32Array, n_key: int, kind: EdgeKind) -> Edges:
    """Edges between neighbours of one key, in the order of `op`."""
    order = group_by_key(key, n_key)[1]
    same = key[order[1:]] == key[order[:-1]]
    return Edges(op[order[:-1][same]], op[order[1:][same]], kind)


def _pairs(source: Int32Array, target: Int32Array, kind: EdgeKind) -> Edges:
    """Edges from source to target wherever there are both."""
    both = (source >= 0) & (target >= 0)
    return Edges(source[both], target[both], kind)


def _program(rows: WorkerRows, transfers: Transfers) -> list[Edges]:
    """Program order of computations, and of each point-to-point stream."""
    compute = _ops(rows, *COMPUTE)
    worker = rows.worker[compute]
    backward = _ops(rows, "backward-compute")
    first_backward = first_by_key(rows.worker[backward], backward, rows.n_worker)
    begin = np.searchsorted(worker, np.arange(rows.n_worker))
    before = np.searchsorted(compute, first_backward) - 2
    has_two = (first_backward >= 0) & (before >= begin)
    two_before = np.full(rows.n_worker, -1, np.int32)
    two_before[has_two] = compute[before[has_two]]
    is_backward = is_named(rows, "backward-recv", "backward-send")
    first_transfer = np.flatnonzero(is_backward & (rows.sequence == 0)).astype(np.int32)
    stream = rows.worker[transfers.op] * np.int32(len(OP_NAMES)) + rows.name[transfers.op]
    return [
        _chain(compute, worker, rows.n_worker, EdgeKind.PROGRAM),
        _chain(transfers.op, stream, rows.n_worker * len(OP_NAMES), EdgeKind.STREAM),
        _pairs(two_before[rows.worker[first_transfer]], first_transfer, EdgeKind.DATA),
    ]


def _transfer_edges(transfers: Transfers) -> list[Edges]:
    """Join computation to send, receive to computation, and the computation before to receive."""
    serves = transfers.served >= 0
    send, recv = serves & ~transfers.is_recv, serves & transfers.is_recv
    return [
        Edges(transfers.served[send], transfers.op[send], EdgeKind.DATA),
        Edges(transfers.op[recv], transfers.served[recv], EdgeKind.DATA),
        _pairs(transfers.before[recv], transfers.op[recv], EdgeKind.DATA),
    ]


def _by_chunk(rows: WorkerRows, op: Int32Array) -> Int32Array:
    n_chunk = rows.chunk.max(initial=0) + 2
    key: Int32Array = rows.worker[op] * n_chunk + rows.chunk[op] + 1
    return key


def _in_sequence(rows: WorkerRows, op: Int32Array) -> Int32Array:
    ordered: Int32Array = op[np.lexsort((rows.sequence[op], rows.worker[op]))]
    return ordered


def _data_parallel_stream(rows: WorkerRows) -> list[Edges]:
    """All-gathers and reduce-scatters share a stream; a chunk's parameters precede its forward."""
    stream = _ops(rows, "params-all-gather", "grads-reduce-scatter")
    gather = _in_sequence(rows, _ops(rows, "params-all-gather"))
    forward = _ops(rows, "forward-compute")
    n_key = rows.n_worker * (int(rows.chunk.max(initial=0)) + 2)
    return [
        _chain(stream, rows.worker[stream], rows.n_worker, EdgeKind.STREAM),
        _pairs(
            last_by_key(_by_chunk(rows, gather), gather, n_key),
            first_by_key(_by_chunk(rows, forward), forward, n_key),
            EdgeKind.DATA,
        ),
    ]


def _tail(rows: WorkerRows, *, uses_dp: bool) -> list[Edges]:
    """Chain what follows the last computation; reduce-scatters may overlap with it."""
    overlaps = uses_dp and bool(is_named(rows, "separate-grads-all-reduce").any())
    left_out = {"grads-reduce-scatter"} if overlaps else set()
    tail = _ops(rows, *(set(TAIL) - left_out))
    phase = PHASE[rows.name[tail]]
    tail = tail[np.lexsort((rows.sequence[tail], phase, rows.worker[tail]))]
    worker = rows.worker[tail]
    compute = _ops(rows, *COMPUTE)
    edges = [
        _chain(tail, worker, rows.n_worker, EdgeKind.PROGRAM),
        _pairs(
            _last_to_end(rows, compute, rows.worker[compute], rows.n_worker),
            first_by_key(worker, tail, rows.n_worker),
            EdgeKind.PROGRAM,
        ),
    ]
    return [*edges, *_overlapped(rows, tail)] if overlaps else edges


def _last_to_end(rows: WorkerRows, op: Int32Array, key: Int32Array, n_key: int) -> Int32Array:
    """Op of each key that ends last, of equals the first; -1 for none."""
    latest = np.full(n_key, np.iinfo(np.int64).min)
    np.maximum.at(latest, key, rows.end_ns[op])
    is_last = rows.end_ns[op] == latest[key]
    return first_by_key(key[is_last], op[is_last], n_key)


def _overlapped(rows: WorkerRows, tail: Int32Array) -> list[Edges]:
    """Put a chunk's first reduce-scatter after its last backward, the last one before the tail."""
    n_key = rows.n_worker * (int(rows.chunk.max(initial=0)) + 2)
    scatter = _in_sequence(rows, _ops(rows, "grads-reduce-scatter"))
    backward = _ops(rows, "backward-compute")
    after_gc = tail[rows.name[tail] != OP_NAMES.index("gc")]
    return [
        _pairs(
            _last_to_end(rows, backward, _by_chunk(rows, backward), n_key),
            first_by_key(_by_chunk(rows, scatter), scatter, n_key),
            EdgeKind.DATA,
        ),
        _pairs(
            last_by_key(rows.worker[scatter], scatter, rows.n_worker),
            first_by_key(rows.worker[after_gc], after_gc, rows.n_worker),
            EdgeKind.DATA,
        ),
    ]
