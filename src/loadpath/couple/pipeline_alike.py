"""Whether steps of the same ops are coupled alike: each op kept its place among its neighbours.

What an op table does not say is read off its times: the order of computations, of transfers, of
shared streams, which transfers were launched, and with which op a worker begins and ends. Each such
reading is a comparison of two times; steps in which all of them come out the same have one graph.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from loadpath.couple import kernels
from loadpath.couple.graph import BoolArray, Int32Array, Int64Array
from loadpath.couple.pipeline_edges import COMPUTE
from loadpath.couple.pipeline_rows import OP_NAMES, WorkerRows, is_named
from loadpath.couple.pipeline_transfers import EPSILON_NS, Transfers
from loadpath.couple.steps import in_halves
from loadpath.tables import AlikeSteps

__all__ = ["run_alike"]


class _Readings(NamedTuple):
    """Comparisons of times: whether time `later` exceeds time `earlier` by more than `by_ns`.

    Times are numbered: op i starts at time i and ends at time n_op + i.
    """

    later: Int64Array
    earlier: Int64Array
    by_ns: Int64Array


def run_alike(rows: WorkerRows, transfers: Transfers, alike: AlikeSteps) -> bool:
    """Say whether all steps are coupled like the first.

    Parameters
    ----------
    rows : WorkerRows
        Ops of the first step.
    transfers : Transfers
        Sends and receives among them.
    alike : AlikeSteps
        Times of all steps, in the order of `rows`.

    Returns
    -------
    bool
        True if every comparison that the couplings of the first step rest on holds in all steps.
    """
    parts = [*_orders(rows), *_bounds(rows), *_launches(rows, transfers)]
    later, earlier, by_ns = (np.concatenate([part[i] for part in parts]) for i in range(3))
    time = np.concatenate([rows.start_ns, rows.end_ns])
    exceeds = time[later] - time[earlier] > by_ns

    def same(part: slice) -> bool:
        times = (alike.start_ns[part], alike.duration_ns[part])
        return bool(kernels.read_alike(*times, later, earlier, by_ns, exceeds))

    return all(in_halves(same, alike.step.size))


def _readings(later: Int32Array, earlier: Int32Array, by_ns: Int64Array | int) -> _Readings:
    wide = later.astype(np.int64), earlier.astype(np.int64)
    return _Readings(*wide, np.broadcast_to(np.int64(by_ns), later.shape).astype(np.int64))


def _orders(rows: WorkerRows) -> Iterator[_Readings]:
    """Order of computations, of ops of one name, and of what shares the data-parallel stream."""
    shared = ("params-all-gather", "grads-reduce-scatter")
    every = np.arange(rows.worker.size, dtype=np.int32)
    yield _in_order(rows, every, rows.worker * np.int32(len(OP_NAMES)) + rows.name)
    for names in (COMPUTE, shared):
        op = np.flatnonzero(is_named(rows, *names)).astype(np.int32)
        yield _in_order(rows, op, rows.worker[op])


def _in_order(rows: WorkerRows, op: Int32Array, key: Int32Array) -> _Readings:
    """Neighbours of one key start in this order; of one moment, by sequence and name."""
    order = np.argsort(key, kind="stable")
    same = key[order[1:]] == key[order[:-1]]
    before, after = op[order[:-1][same]], op[order[1:][same]]
    tied = (rows.sequence[before] < rows.sequence[after]) | (
        (rows.sequence[before] == rows.sequence[after]) & (rows.name[before] <= rows.name[after])
    )
    return _readings(before, after, np.where(tied, 0, -1))


def _bounds(rows: WorkerRows) -> Iterator[_Readings]:
    """Op with which a worker begins; what ends last, of each name and of computations."""
    n_op = np.int32(rows.worker.size)
    every = np.arange(n_op, dtype=np.int32)
    first = np.searchsorted(rows.worker, rows.worker).astype(np.int32)
    tied = (rows.sequence[first] < rows.sequence) | (
        (rows.sequence[first] == rows.sequence) & (rows.name[first] <= rows.name)
    )
    yield _readings(first, every, np.where(tied, 0, -1))
    groups = [
        (np.ones(n_op, np.bool_), rows.worker * np.int32(len(OP_NAMES)) + rows.name),
        (is_named(rows, *COMPUTE), rows.worker),
        (is_named(rows, "backward-compute"), _by_chunk(rows)),
    ]
    for mine, key in groups:
        yield _extreme(every[mine], key[mine], rows.end_ns[mine], n_op)


def _by_chunk(rows: WorkerRows) -> Int32Array:
    key: Int32Array = rows.worker * (rows.chunk.max(initial=0) + 2) + rows.chunk + 1
    return key


def _extreme(op: Int32Array, key: Int32Array, end_ns: Int64Array, n_op: np.int32) -> _Readings:
    """Every op of a key against the one that ends last, in both directions of a tie."""
    order = np.lexsort((end_ns, key))
    last = np.searchsorted(key[order], key, side="right") - 1
    chosen = op[order[last]]
    below = _readings(op + n_op, chosen + n_op, 0)
    tied = _readings(op + n_op, chosen + n_op, -1)
    return _Readings(*(np.concatenate(pair) for pair in zip(below, tied, strict=True)))


def _launches(rows: WorkerRows, transfers: Transfers) -> Iterator[_Readings]:
    """Tell transfers that were recorded but never launched: they lie outside the computations."""
    n_op = np.int32(rows.worker.size)
    compute = np.flatnonzero(is_named(rows, *COMPUTE)).astype(np.int32)
    way = 2 * rows.worker[compute] + is_named(rows, "forward-compute")[compute]
    earliest = _first_of(way, compute, rows.end_ns[compute], 2 * rows.n_worker)
    latest = _first_of(way, compute, -rows.start_ns[compute], 2 * rows.n_worker)
    known: BoolArray = earliest[way] >= 0
    yield _readings(earliest[way[known]] + n_op, compute[known] + n_op, 0)
    mine = 2 * rows.worker[transfers.op] + transfers.is_forward
    runs = earliest[mine] >= 0
    op, mine = transfers.op[runs], mine[runs]
    yield _readings(op, latest[mine], EPSILON_NS)
    yield _readings(earliest[mine] + n_op, op + n_op, EPSILON_NS)


def _first_of(key: Int32Array, op: Int32Array, value: Int64Array, n_key: int) -> Int32Array:
    """Op of each key with the least value, -1 for none."""
    order = np.lexsort((value, key))[::-1]
    found = np.full(n_key, -1, np.int32)
    found[key[order]] = op[order]
    return found
