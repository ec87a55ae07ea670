"""Sends and receives of a pipeline: which were launched, and which computation each serves."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loadpath.couple.graph import BoolArray, Int32Array, Int64Array
from loadpath.couple.kernels import group_by_key
from loadpath.couple.pipeline_rows import OP_NAMES, WorkerRows, is_named

__all__ = ["Transfers", "match_transfers"]

EPSILON_NS = 50_000
"""Start and end times closer than this are one moment, when sends and receives that were recorded
but never launched are told from real ones."""
TOWARDS = {"forward-send": 1, "forward-recv": -1, "backward-send": -1, "backward-recv": 1}
"""Neighbour of each point-to-point op, in stages (and in model chunks over all stages)."""
N_NAME = len(OP_NAMES)
NEVER = -(1 << 60)
"""Number of a transfer that was never launched: no computation has it."""


@dataclass(frozen=True, slots=True)
class Transfers:
    """All recorded sends and receives, in the order of the ops.

    Attributes
    ----------
    op : (n,) array of int32
        Ops.
    is_recv, is_forward : (n,) arrays of bool
        What they are.
    before, served : (n,) arrays of int32
        Computation of the same direction before the one it serves, and that one; -1 for none.
    is_real : (n,) array of bool
        Whether a neighbour stands at the other end.
    sender : (n,) array of int32
        Stage that sends.
    missing : (n,) array of int64
        How many of its like were not recorded before it, as the gaps in their numbers tell.
    """

    op: Int32Array
    is_recv: BoolArray
    is_forward: BoolArray
    before: Int32Array
    served: Int32Array
    is_real: BoolArray
    sender: Int32Array
    missing: Int64Array


def match_transfers(rows: WorkerRows, sizes: Mapping[str, int]) -> tuple[Transfers, int]:
    """Say for each send and receive which computation it serves, and which have a partner.

    Parameters
    ----------
    rows : WorkerRows
        Ops.
    sizes : mapping of str to int
        Declared ``pp_size`` and ``vpp_size``.

    Returns
    -------
    transfers : Transfers
        All sends and receives.
    n_uneven : int
        Kinds of transfer of a worker that do not match its computations in number.
    """
    op = np.flatnonzero(is_named(rows, *TOWARDS)).astype(np.int32)
    is_recv = is_named(rows, "forward-recv", "backward-recv")[op]
    is_forward = is_named(rows, "forward-send", "forward-recv")[op]
    way = 2 * rows.worker[op] + is_forward
    bounds = _bounds(rows)
    number, missing, n_uneven = _launched(rows, op, is_recv, way=way, bounds=bounds)
    before, served = (
        _computations(rows, op, is_forward, number - back, of=rows.worker) for back in (1, 0)
    )
    # what it serves may be a computation that is not recorded: other workers tell its chunk
    alike = _computations(rows, op, is_forward, number, of=rows.step)
    chunk = np.maximum(rows.chunk[np.where(served >= 0, served, alike)], 0)
    towards = np.array([TOWARDS.get(name, 0) for name in OP_NAMES], np.int32)[rows.name[op]]
    peer = rows.stage[op] + towards
    transfers = Transfers(
        op=op,
        is_recv=is_recv,
        is_forward=is_forward,
        before=before,
        served=served,
        is_real=(number >= 0) & (number < bounds[2][way]) & _is_within(peer, chunk, sizes),
        sender=np.where(is_recv, peer % sizes["pp_size"], rows.stage[op]),
        missing=missing,
    )
    return transfers, n_uneven


def _is_within(stage: Int32Array, chunk: Int32Array, sizes: Mapping[str, int]) -> BoolArray:
    """Say whether a neighbour stands there: chunk after chunk goes through all stages."""
    reach = chunk * sizes["pp_size"] + stage
    return (reach >= 0) & (reach < sizes["pp_size"] * sizes["vpp_size"])


def _launched(
    rows: WorkerRows,
    op: Int32Array,
    is_recv: BoolArray,
    *,
    way: Int32Array,
    bounds: tuple[Int64Array, Int64Array, Int64Array],
) -> tuple[Int64Array, Int64Array, int]:
    """Give each launched transfer its number among its like, `NEVER` to those never launched.

    Also how many of its like are missing before it.

    A receive posted after the last computation of its direction, or a send that ended before the
    first, was recorded but never launched. Where one receive is missing, it is the first one's, unless
    the numbers as recorded show a gap: then these count.
    """  # noqa: DOC201
    last_start, first_end, n_compute = bounds
    late = rows.start_ns[op] > last_start[way] + EPSILON_NS
    early = rows.end_ns[op] < first_end[way] - EPSILON_NS
    real = np.where(is_recv, ~late, ~early) & (n_compute[way] > 0)
    kind = rows.worker[op] * np.int32(N_NAME) + rows.name[op]
    place, _ = _places(np.ones(op.size, np.bool_), kind, rows.n_worker * N_NAME)
    number, n_real = _places(real, kind, rows.n_worker * N_NAME)
    has_gap = _outreach(rows.sequence[op], kind, rows.n_worker * N_NAME)
    missing = np.where(has_gap, rows.sequence[op] - place, 0)
    short = n_compute[way] - n_real
    uneven = np.unique(kind[(n_real > 0) & (short != 0) & (short != 1)]).size
    number += missing + (is_recv & (short == 1) & ~has_gap)
    return np.where(real, number, NEVER), missing, int(uneven)


def _places(counts: BoolArray, kind: Int32Array, n_kind: int) -> tuple[Int64Array, Int64Array]:
    """Count, of those that count, how many of its kind come before each, and how many there are."""
    start, order = group_by_key(kind, n_kind)
    so_far = np.concatenate([[0], np.cumsum(counts[order])])
    place = np.empty(kind.size, np.int64)
    place[order] = so_far[1:] - so_far[start[kind[order]]] - 1
    return place, (so_far[start[1:]] - so_far[start[:-1]])[kind]


def _outreach(sequence: Int64Array, kind: Int32Array, n_kind: int) -> BoolArray:
    """Say of which ops the kind has numbers that reach further than the ops that there are."""
    highest = np.full(n_kind, -1)
    np.maximum.at(highest, kind, sequence)
    return (highest >= np.bincount(kind, minlength=n_kind))[kind]


def _bounds(rows: WorkerRows) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Latest start, earliest end and number of the computations of each worker and direction.

    The number is one beyond the highest recorded; the end of a first one that is not is unknown.
    """  # noqa: DOC201
    op = np.flatnonzero(is_named(rows, "forward-compute", "backward-compute"))
    way = 2 * rows.worker[op] + is_named(rows, "forward-compute")[op]
    last_start = np.full(2 * rows.n_worker, np.iinfo(np.int64).min // 2)
    first_end = np.full(2 * rows.n_worker, np.iinfo(np.int64).max // 2)
    first, n_compute = first_end.copy(), np.zeros(2 * rows.n_worker, np.int64)
    np.maximum.at(last_start, way, rows.start_ns[op])
    np.minimum.at(first_end, way, rows.end_ns[op])
    np.minimum.at(first, way, rows.sequence[op])
    np.maximum.at(n_compute, way, rows.sequence[op] + 1)
    return last_start, np.where(first > 0, np.iinfo(np.int64).min // 2, first_end), n_compute


def _computations(
    rows: WorkerRows, op: Int32Array, is_forward: BoolArray, number: Int64Array, *, of: Int32Array
) -> Int32Array:
    """Find a computation with this number and direction, of the worker or step of each op; -1 is none."""
    compute = np.flatnonzero(is_named(rows, "forward-compute", "backward-compute"))
    if not compute.size:
        return np.full(op.size, -1, np.int32)
    forward = is_named(rows, "forward-compute")[compute]
    low, high = int(rows.sequence[compute].min()), int(rows.sequence[compute].max())
    span = high - low + 1
    known = (2 * of[compute] + forward) * np.int64(span) + rows.sequence[compute] - low
    order = np.argsort(known, kind="stable")
    wanted = (2 * of[op] + is_forward) * np.int64(span) + number - low
    place = order[np.minimum(np.searchsorted(known[order], wanted), order.size - 1)]
    found = (number >= low) & (number <= high) & (known[place] == wanted)
    return np.where(found, compute[place], -1).astype(np.int32)
