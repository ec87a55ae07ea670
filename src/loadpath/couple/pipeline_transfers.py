"""Sends and receives of a pipeline: which were launched, and which computation each serves."""

from dataclasses import dataclass

import numpy as np

from loadpath.couple.graph import BoolArray, EdgeKind, Int32Array, Int64Array
from loadpath.couple.kernels import group_by_key
from loadpath.couple.pipeline_program import Program, crossings, find_computation
from loadpath.couple.pipeline_rows import Edges, WorkerRows, is_named

__all__ = ["Handovers", "Transfers", "hand_over", "match_transfers"]

EPSILON_NS = 50_000
"""Start and end times closer than this are one moment, when sends and receives that were recorded
but never launched are told from real ones."""
RECEIVES, SENDS = ("forward-recv", "backward-recv"), ("forward-send", "backward-send")
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
    row : (n,) array of int64
        Row of the computation in the program, if a neighbour stands at the other end; else -1.
    n_uneven : int
        Kinds of transfer of a worker that do not match its computations in number.
    """

    op: Int32Array
    is_recv: BoolArray
    is_forward: BoolArray
    before: Int32Array
    served: Int32Array
    row: Int64Array
    n_uneven: int


@dataclass(frozen=True, slots=True)
class Handovers:
    """What passes from stage to stage: by a send and a receive, or by a way that lacks one of them.

    Attributes
    ----------
    send, receive : (n_pair,) arrays of int32
        Ops that meet.
    lone : Edges
        Where send or receive is not recorded: from the last that was recorded before the gap, the send
        or else its computation, to the computation that needed it.
    n_lone : int
        Sends and receives without a recorded partner.
    """

    send: Int32Array
    receive: Int32Array
    lone: Edges
    n_lone: int


def match_transfers(rows: WorkerRows, program: Program) -> Transfers:
    """Say for each send and receive which computation it serves, and which have a partner.

    Parameters
    ----------
    rows : WorkerRows
        Ops.
    program : Program
        Computations of the same ops.

    Returns
    -------
    Transfers
        All sends and receives.
    """
    op = np.flatnonzero(is_named(rows, *RECEIVES, *SENDS)).astype(np.int32)
    is_recv = is_named(rows, *RECEIVES)[op]
    is_forward = is_named(rows, "forward-send", "forward-recv")[op]
    way = 2 * rows.worker[op].astype(np.int64) + is_forward
    number, n_uneven = _launched(rows, program, op, is_recv, way=way)
    row = find_computation(program, way, number)
    before = find_computation(program, way, number - 1)
    crosses = (
        np.where(is_recv, program.takes[row], program.gives[row]) if program.op.size else is_recv
    )
    is_real = (row >= 0) & crosses
    return Transfers(
        op=op,
        is_recv=is_recv,
        is_forward=is_forward,
        before=_recorded(program, before),
        served=_recorded(program, row),
        row=np.where(is_real, row, -1),
        n_uneven=n_uneven,
    )


def hand_over(rows: WorkerRows, program: Program, transfers: Transfers, n_stage: int) -> Handovers:
    """Join sends to receives by the computations that they serve.

    Parameters
    ----------
    rows : WorkerRows
        Ops.
    program : Program
        Computations.
    transfers : Transfers
        Sends and receives.
    n_stage : int
        Declared number of stages.

    Returns
    -------
    Handovers
        Pairs in the order of replica, sending stage, direction and computation; and what is left.
    """
    maker, user = crossings(program, rows, n_stage)
    real = transfers.row >= 0
    send, receive = (
        _by_row(program, transfers, real & (transfers.is_recv == takes)) for takes in (False, True)
    )
    both = (send[maker] >= 0) & (receive[user] >= 0)
    source = np.where(send[maker] >= 0, send[maker], program.op[maker])
    lone = ~both & (source >= 0) & (program.op[user] >= 0)
    return Handovers(
        send[maker[both]],
        receive[user[both]],
        Edges(source[lone], program.op[user[lone]], EdgeKind.DATA),
        int(real.sum() - 2 * both.sum()),
    )


def _by_row(program: Program, transfers: Transfers, mine: BoolArray) -> Int32Array:
    """Transfer of each computation of the program; -1 for none."""
    found = np.full(program.op.size, -1, np.int32)
    found[transfers.row[mine]] = transfers.op[mine]
    return found


def _recorded(program: Program, row: Int64Array) -> Int32Array:
    """Find the recorded computation of each row of the program; -1 for none."""
    return np.append(program.op, np.int32(-1))[row]


def _launched(
    rows: WorkerRows, program: Program, op: Int32Array, is_recv: BoolArray, *, way: Int64Array
) -> tuple[Int64Array, int]:
    """Give each launched transfer the number of its computation, `NEVER` to those never launched.

    A receive posted after the last computation of its direction, or a send that ended before the
    first, was recorded but never launched. The others are one for each computation, or one for each
    that has a neighbour. Where one receive is missing, it is the first one's, unless the numbers as
    recorded show a gap: then these count.
    """  # noqa: DOC201
    kind, n_kind = 2 * way + is_recv, 4 * rows.n_worker
    real = _is_real(rows, op, is_recv, way=way) & (program.n_compute[way] > 0)
    number, has_gap, n_like = _counted(rows.sequence[op], real, kind, n_kind)
    begin, crossing = _crossing_numbers(program, n_kind)
    n_crossing = np.diff(begin)[kind]
    short = program.n_compute[way] - n_like
    crosses = ~_is_few(short) & _is_few(n_crossing - n_like)
    number += is_recv & (np.where(crosses, n_crossing - n_like, short) == 1) & ~has_gap
    uneven = np.unique(kind[(n_like > 0) & ~_is_few(short) & ~crosses]).size
    real &= ~crosses | (number < n_crossing)
    place = np.where(crosses & real, begin[kind] + number, crossing.size)
    number = np.where(crosses, np.append(crossing, NEVER)[place], number)
    return np.where(real, number, NEVER), int(uneven)


def _is_real(rows: WorkerRows, op: Int32Array, is_recv: BoolArray, *, way: Int64Array) -> BoolArray:
    """Say which transfers were launched: they lie within the computations of their way."""
    last_start, first_end = _bounds(rows)
    late = rows.start_ns[op] > last_start[way] + EPSILON_NS
    early = rows.end_ns[op] < first_end[way] - EPSILON_NS
    return np.where(is_recv, ~late, ~early)


def _counted(
    sequence: Int64Array, real: BoolArray, kind: Int64Array, n_kind: int
) -> tuple[Int64Array, BoolArray, Int64Array]:
    """Count transfers of each kind, or go by the numbers as recorded where these show a gap.

    Also whether they do, and how many there are of the kind, those that are missing in a gap included.
    """  # noqa: DOC201
    place, _ = _places(np.ones(kind.size, np.bool_), kind, n_kind)
    number, n_real = _places(real, kind, n_kind)
    reach = np.zeros(n_kind, np.int64)
    np.maximum.at(reach, kind, sequence + 1)
    has_gap = (reach > np.bincount(kind, minlength=n_kind))[kind]
    number += np.where(has_gap, sequence - place, 0)
    return number, has_gap, np.where(has_gap, reach[kind], n_real)


def _is_few(short: Int64Array) -> BoolArray:
    """Say where none or one is missing."""
    return np.asarray((short == 0) | (short == 1))


def _crossing_numbers(program: Program, n_kind: int) -> tuple[Int64Array, Int64Array]:
    """Numbers of the computations of each kind of transfer that have a neighbour, and where kinds begin."""
    parts = [(program.gives, 0), (program.takes, 1)]
    kind = np.concatenate([2 * program.way[crosses] + role for crosses, role in parts])
    number = np.concatenate([program.number[crosses] for crosses, _ in parts])
    start, order = group_by_key(kind.astype(np.int32), n_kind)
    return start, number[order]


def _places(counts: BoolArray, kind: Int64Array, n_kind: int) -> tuple[Int64Array, Int64Array]:
    """Count, of those that count, how many of its kind come before each, and how many there are."""
    start, order = group_by_key(kind.astype(np.int32), n_kind)
    so_far = np.concatenate([[0], np.cumsum(counts[order])])
    place = np.empty(kind.size, np.int64)
    place[order] = so_far[1:] - so_far[start[kind[order]]] - 1
    return place, (so_far[start[1:]] - so_far[start[:-1]])[kind]


def _bounds(rows: WorkerRows) -> tuple[Int64Array, Int64Array]:
    """Latest start and earliest end of the computations of each way; of a first one not recorded none."""
    op = np.flatnonzero(is_named(rows, "forward-compute", "backward-compute"))
    way = 2 * rows.worker[op] + is_named(rows, "forward-compute")[op]
    last_start = np.full(2 * rows.n_worker, np.iinfo(np.int64).min // 2)
    first_end = np.full(2 * rows.n_worker, np.iinfo(np.int64).max // 2)
    first = first_end.copy()
    np.maximum.at(last_start, way, rows.start_ns[op])
    np.minimum.at(first_end, way, rows.end_ns[op])
    np.minimum.at(first, way, rows.sequence[op])
    return last_start, np.where(first > 0, np.iinfo(np.int64).min // 2, first_end)
