"""What a simulated schedule consists of: several graph ops for each scheduled one."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.job import COUPLED_OP
from loadpath.couple.loggops import LogGOPS
from loadpath.couple.service_order import ServiceOrder
from loadpath.couple.simulated import kernels
from loadpath.couple.simulated.iterations import find_iterations
from loadpath.tables.schedule import CALC, RECV, SEND, Schedule

__all__ = ["SimulatedOps", "coupled_ops", "lane_numbers", "split_ops"]

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

NAMES = (
    "calc",
    "send",
    "pack",
    "gap",
    "inject",
    "transit",
    "arrival",
    "stream",
    "receive",
    "gap",
    "drain",
    "post",
    "release",
    "clear",
)
"""Sorts of graph ops, see docs/formats/goal.md."""
OF_PROCESSOR = ("send", "pack", "receive")
"""What a message takes of a processor."""
KINDS = tuple(
    {"calc": "compute", "post": "host"}.get(name, "host" if name in OF_PROCESSOR else "communicate")
    for name in NAMES
)
MECHANISM = tuple(
    "unknown" if name == "calc" else "overhead" if name in OF_PROCESSOR else "communication"
    for name in NAMES
)
LANES = (
    *("processor",) * 3, "out", "out", "wire", "wire",
    "processor", "processor", "in", "in", "processor", "processor", "out",
)  # fmt: skip
"""Where each sort takes place."""
AT_PEER = (kernels.TRANSIT, kernels.STREAM, kernels.RECEIVE, kernels.GAP_IN, kernels.DRAIN)
"""Sorts that are time of the receiving rank; an arrival stands for its sender."""


GAP_RATIO, SPAN_RATIO = 2, 10
"""Computations of unlike ranks are compared unless they lie this far apart; a stated policy."""


@dataclass(frozen=True, slots=True)
class SimulatedOps:
    """Graph ops of a simulated schedule, sort by sort.

    Attributes
    ----------
    graph_op : (14, n_op) array of int32
        Graph op of each sort of each scheduled op (of the send, for what becomes of its message), -1
        for none.
    sort : (n_graph_op,) array of uint8
        Which sort it is.
    op : (n_graph_op,) array of int32
        Scheduled op that it belongs to.
    begin_ns, end_ns : (n_graph_op,) arrays of int64
        Simulated times; those of receives and releases are completed from who came before.
    waits : (n_op,) array of bool
        Sends that end only when they meet their receive.
    """

    graph_op: Int32Array
    sort: NDArray[np.uint8]
    op: Int32Array
    begin_ns: Int64Array
    end_ns: Int64Array
    waits: NDArray[np.bool_]


def split_ops(schedule: Schedule, served: ServiceOrder, model: LogGOPS) -> SimulatedOps:
    """Split what was served into graph ops, and give them the times of the simulation.

    Parameters
    ----------
    schedule : Schedule
        What was run; all ops ended.
    served : ServiceOrder
        What happened when.
    model : LogGOPS
        Costs of messages.

    Returns
    -------
    SimulatedOps
        The graph ops.
    """
    n_op = schedule.n_op
    sends, waits = schedule.kind == SEND, np.zeros(n_op, np.bool_)
    waits[sends] = schedule.size[sends] > model.costs[5]
    several = bool(schedule.cpu.any() or schedule.nic.any())
    gaps_in = sends & (several or model.costs[2] > model.costs[1])
    own, wire = byte_times(schedule, model)
    packs = sends & ((own > 0) | bool(served.late_ns.any()))
    there = (
        schedule.kind == CALC, sends, packs, sends, sends & (wire > 0), *(sends,) * 4,
        gaps_in, gaps_in & (wire > 0), schedule.kind == RECV, waits, waits,
    )  # fmt: skip
    graph_op = np.full((len(NAMES), n_op), -1, np.int32)
    mask = np.stack(there)
    graph_op[mask] = np.arange(int(mask.sum()), dtype=np.int32)
    sort, op = np.nonzero(mask)
    begin, end = (side[sort, op] for side in _spans(schedule, served, model))
    end = np.maximum(begin, end)
    return SimulatedOps(graph_op, sort.astype(np.uint8), op.astype(np.int32), begin, end, waits)


def byte_times(schedule: Schedule, model: LogGOPS) -> tuple[Int64Array, Int64Array]:
    """Give the time that the bytes of each message take on a processor, and on an interface.

    Parameters
    ----------
    schedule : Schedule
        Ops of all ranks.
    model : LogGOPS
        Costs of messages.

    Returns
    -------
    own, wire : (n_op,) arrays of int64
        b O and b G of each send, in whole ns; 0 of other ops.
    """
    b = np.where(schedule.kind == SEND, np.maximum(schedule.size - 1, 0), 0)
    return b * model.costs[4] // 1000, b * model.costs[3] // 1000


def _spans(  # noqa: PLR0914 - all spans in one table read best
    schedule: Schedule, served: ServiceOrder, model: LogGOPS
) -> tuple[Int64Array, Int64Array]:
    """Begin and end of each sort of each op, shape (14, n_op); without meaning where it is not there."""
    latency, overhead, gap, *_ = model.costs
    n_op = schedule.n_op
    t, late = served.start_ns[:n_op], served.late_ns[:n_op]
    met, met_late = served.start_ns[n_op:], served.late_ns[n_op:]
    own, wire = byte_times(schedule, model)
    left, there = t + overhead, t + overhead + latency
    # the larger of the two times per byte is what a receive takes
    streamed = met + np.where(wire >= own, wire, 0)
    taken = streamed + overhead + met_late + np.where(wire >= own, 0, own)
    zero = np.zeros(n_op, np.int64)
    spans = (
        (t, t + schedule.size + late),
        (t, left),
        (left, left + own + late),
        (t, t + gap),
        (t + gap, t + gap + wire),
        (left, there),
        (there, there),
        (zero, streamed),
        (streamed, taken),
        (met, met + gap),
        (met + gap, met + gap + wire),
        (t, t),
        (zero, zero),
        (zero, zero),
    )
    begin, end = (np.stack(side) for side in zip(*spans, strict=True))
    return begin, end


def lane_numbers(schedule: Schedule) -> dict[str, int]:
    """Give the first lane of each kind of a rank: processors, interfaces out and in, the wire.

    Parameters
    ----------
    schedule : Schedule
        Ops of all ranks.

    Returns
    -------
    dict of str to int
        First lane of each kind, and `end`.
    """
    n_cpu, n_nic = int(schedule.cpu.max(initial=0)) + 1, int(schedule.nic.max(initial=0)) + 1
    return {"processor": 0, "out": n_cpu, "in": n_cpu + n_nic, "wire": n_cpu + 2 * n_nic,
            "end": n_cpu + 2 * n_nic + 1}  # fmt: skip


def coupled_ops(schedule: Schedule, ops: SimulatedOps, match: Int32Array) -> pl.DataFrame:
    """Lay the graph ops out as a table.

    Parameters
    ----------
    schedule : Schedule
        What was run.
    ops : SimulatedOps
        Its graph ops, with complete times.
    match : (n_op,) array of int32
        Send whose message each receive took, -1 where none.

    Returns
    -------
    polars.DataFrame
        Table `COUPLED_OP`; an op at the receiver is in the step of the receive.
    """
    sort, op = ops.sort, ops.op
    talks = sort != kernels.COMPUTE
    at_peer = np.isin(sort, AT_PEER)
    own, peer = schedule.rank[op], schedule.peer[op]
    rank = np.where(at_peer, peer, own)
    collectives = pl.Series(["", "send"], dtype=pl.Categorical)
    iteration = find_iterations(schedule)
    taken = iteration.copy()
    taken[match[match >= 0]] = iteration[match >= 0]
    op_class, position = _classes(schedule, ops, iteration)
    return COUPLED_OP.build(
        {
            "rank": rank,
            "lane": _lanes(schedule, ops),
            "step": np.where(at_peer, taken[op], iteration[op]),
            "kind": pl.Series(KINDS, dtype=COUPLED_OP.schema["kind"]).gather(sort),
            "name": pl.Series(NAMES, dtype=pl.Categorical).gather(sort),
            "start_ns": ops.begin_ns,
            "duration_ns": ops.end_ns - ops.begin_ns,
            "communicator": np.where(talks, 0, -1),
            "collective": collectives.gather(talks.astype(np.uint32)),
            "peer": np.where(talks, np.where(at_peer, own, peer), -1),
            "bytes": np.where(talks, schedule.size[op], -1),
            "op_class": op_class,
            "position": position,
            "mechanism": pl.Series(MECHANISM, dtype=COUPLED_OP.schema["mechanism"]).gather(sort),
            "stage": np.zeros(op.size, np.int32),
            "replica": np.zeros(op.size, np.int32),
        }
    )


def _lanes(schedule: Schedule, ops: SimulatedOps) -> Int32Array:
    """Lane of each graph op: that of its processor or interface, or the wire."""
    first = lane_numbers(schedule)
    number = dict(zip(("processor", "out", "in", "wire"), range(4), strict=True))
    where = np.array([number[lane] for lane in LANES])[ops.sort]
    further = np.choose(where, [schedule.cpu[ops.op], *(schedule.nic[ops.op],) * 2, 0])
    port = np.array([first[lane] for lane in number], np.int32)[where]
    return np.asarray(port + further, np.int32)


def _classes(
    schedule: Schedule, ops: SimulatedOps, iteration: Int64Array
) -> tuple[pl.Series, Int32Array]:
    """Name the class of each graph op, and its place.

    Where all ranks compute equally often, the k-th computations of all ranks (in an iteration) are
    peers; else those of like lengths. What messages cost is compared among messages of one size.
    """  # noqa: DOC201
    calc = ops.op[ops.sort == kernels.COMPUTE]
    group = schedule.rank[calc].astype(np.int64) * (iteration.max(initial=0) + 1) + iteration[calc]
    count = np.bincount(schedule.rank[calc], minlength=schedule.n_rank)
    detail = schedule.size[ops.op].copy()
    position = np.zeros(ops.op.size, np.int32)
    if bool((count == count[:1]).all()):
        begins = np.flatnonzero(np.diff(group, prepend=-1))
        size = np.diff(np.append(begins, calc.size))
        position[ops.sort == kernels.COMPUTE] = np.arange(calc.size) - np.repeat(begins, size)
        detail[ops.sort == kernels.COMPUTE] = -1
    else:
        detail[ops.sort == kernels.COMPUTE] = _like_lengths(schedule.size[calc])
    key, number = np.unique(detail * len(NAMES) + ops.sort.astype(np.int64), return_inverse=True)
    labels = [_label(NAMES[int(k) % len(NAMES)], int(k) // len(NAMES)) for k in key]
    return pl.Series(labels, dtype=pl.Categorical).gather(number.astype(np.uint32)), position


def _like_lengths(size: Int64Array) -> Int64Array:
    """Shortest of the lengths like each: a group ends where the next is over twice as long, or spans a decade."""
    lengths = np.unique(size)
    lowest = np.empty_like(lengths)
    begin = before = -1
    for place, length in enumerate(lengths.tolist()):
        if before < 0 or length > GAP_RATIO * max(before, 1) or length > SPAN_RATIO * max(begin, 1):
            begin = length
        lowest[place] = begin
        before = length
    return lowest[np.searchsorted(lengths, size)]


def _label(name: str, detail: int) -> str:
    if name == "calc":
        return name if detail < 0 else f"calc from {detail} ns"
    return f"{name} {detail} B"
