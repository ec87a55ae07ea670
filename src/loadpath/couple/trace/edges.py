"""Who waits for whom in a trace: program, stream, launch, cross-stream, wait and step edges."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from loadpath.couple.graph import Coupling, EdgeKind
from loadpath.couple.trace import kernels
from loadpath.couple.trace.collectives import Instances
from loadpath.couple.trace.launches import (
    DeviceWork,
    first_of_call,
    late_first_ops,
    launch_latency,
)
from loadpath.couple.trace.ops import GraphOps
from loadpath.couple.trace.recorded_waits import RecordedWaits
from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array, Rows
from loadpath.couple.trace.streams import cross_stream
from loadpath.couple.trace.synchronise import host_waits
from loadpath.couple.trace.threads import Handover
from loadpath.couple.trace.turns import processor_turns
from loadpath.couple.trace.waits import WorkerWaits, first_part

__all__ = ["couple", "known_crossings"]


@dataclass(frozen=True, slots=True)
class _Edges:
    source: Any
    target: Any
    kind: EdgeKind


def couple(  # noqa: PLR0913 - every argument is one kind of coupling
    rows: Rows,
    threads: Handover,
    work: DeviceWork,
    waits: WorkerWaits,
    *,
    recorded: RecordedWaits,
    instances: Instances,
    ops: GraphOps,
    machine: Int64Array,
    handed: tuple[Int32Array, Int32Array],
) -> Coupling:
    """Collect the couplings of a trace.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    threads : Handover
        Parts of host threads, and what threads hand to each other.
    work : DeviceWork
        What hosts launched.
    waits : WorkerWaits
        Where threads wait for communication threads.
    recorded : RecordedWaits
        Waits for device ops that the profiler recorded.
    instances : Instances
        Communications.
    ops : GraphOps
        Ops of the graph.
    machine : (n_work,) array of int64
        Machine of each launched op.
    handed : tuple of (n,) arrays of int32
        Further device ops that wait for one on another stream.

    Returns
    -------
    Coupling
        Who waits for whom, by op.
    """
    latency = launch_latency(rows, work)
    known = known_crossings(rows, work, recorded, ops.label)
    crossing = np.concatenate([known[0], handed[0]]), np.concatenate([known[1], handed[1]])
    parts = [
        *_lanes(work, ops),
        _turns(rows, threads, work, waits, ops=ops, machine=machine, latency_ns=latency),
        *_calls(rows, threads, work, waits=host_waits(rows, work, recorded), ops=ops),
        _indexed(crossing, ops.of_work, ops.of_work, EdgeKind.CROSS_STREAM),
        _indexed((waits.source, waits.segment), ops.of_work, ops.of_segment, EdgeKind.HOST_WAIT),
        _indexed((threads.source, threads.target), ops.of_segment, ops.of_segment, EdgeKind.DATA),
    ]
    members = _coupling_members(instances)
    latency_ns = np.zeros(ops.table.height, np.int64)
    latency_ns[ops.of_work] = latency
    late = late_first_ops(rows, work)
    late = late[~np.isin(late, crossing[1])]
    release = np.union1d(_first_of_ranks(ops), ops.of_work[late])
    begin_op, end_op = _borders(ops)
    step = ops.table["step"].to_numpy()
    return Coupling(
        n_op=ops.table.height,
        edge_source=np.concatenate([part.source for part in parts]).astype(np.int32),
        edge_target=np.concatenate([part.target for part in parts]).astype(np.int32),
        edge_kind=np.concatenate(
            [np.full(part.source.size, part.kind, np.uint8) for part in parts]
        ),
        member_op=ops.of_work[instances.work[members.member]],
        member_instance=members.instance,
        member_contributes=members.contributes,
        member_waits=members.waits,
        begin_op=begin_op,
        begin_step=step[begin_op],
        end_op=end_op,
        end_step=step[end_op],
        release_op=release.astype(np.int32),
        release_ns=ops.table["start_ns"].to_numpy()[release],
        launch_latency_ns=latency_ns,
    )


def _indexed(pairs: tuple[Any, Any], of_source: Any, of_target: Any, kind: EdgeKind) -> _Edges:
    """Edges between ops; pairs with an end that is no op are left out."""
    source, target = of_source[pairs[0]], of_target[pairs[1]]
    known = (source >= 0) & (target >= 0)
    return _Edges(source[known], target[known], kind)


def known_crossings(
    rows: Rows, work: DeviceWork, recorded: RecordedWaits, label: Int64Array
) -> tuple[Int32Array, Int32Array]:
    """Take recorded waits between streams, and inferred ones of ranks that recorded none.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.
    recorded : RecordedWaits
        Waits for device ops that the profiler recorded.
    label : (n_work,) array of int64
        What each launched op is.

    Returns
    -------
    tuple of (n,) arrays of int32
        Sources and targets, as indices into `work`.
    """
    if recorded.is_known.all():
        return recorded.source, recorded.target
    source, target = cross_stream(rows, work, launch_latency(rows, work), label)
    guessed = ~recorded.is_known[target]
    return (
        np.concatenate([recorded.source, source[guessed]]),
        np.concatenate([recorded.target, target[guessed]]),
    )


def _calls(
    rows: Rows, threads: Handover, work: DeviceWork, *, waits: Any, ops: GraphOps
) -> list[_Edges]:
    """Couple calls with the device ops that they launch or wait for."""
    begun = first_part(threads.segments, rows.rank.size)
    of_call = np.append(ops.of_segment, np.int32(-1))[begun]  # -1 where no call began
    launched = np.flatnonzero(first_of_call(work))
    return [
        _indexed((work.call[launched], launched), of_call, ops.of_work, EdgeKind.LAUNCH),
        _indexed(waits, ops.of_work, of_call, EdgeKind.HOST_WAIT),
    ]


def _turns(  # noqa: PLR0913 - as `couple`
    rows: Rows,
    threads: Handover,
    work: DeviceWork,
    waits: WorkerWaits,
    *,
    ops: GraphOps,
    machine: Int64Array,
    latency_ns: Int64Array,
) -> _Edges:
    """Couple ops of communication threads with those who gave up the processor that they got."""
    free = np.where(work.previous >= 0, rows.end[work.row][work.previous], 0)
    ready = np.maximum(work.launched + latency_ns, free)
    turns = processor_turns(rows, threads.segments, work, waits, ready_ns=ready, machine=machine)
    blocked = np.append(_op_before(ops)[ops.of_segment], -1)[turns.segment]
    source = np.where(turns.ended >= 0, ops.of_work[turns.ended], blocked)
    known = source >= 0
    return _Edges(source[known], ops.of_work[turns.work[known]], EdgeKind.INCIDENTAL)


def _op_before(ops: GraphOps) -> Int64Array:
    """Op before each on its lane, -1 for the first (and, as the last entry, for no op)."""
    rank, lane = ops.table["rank"].to_numpy(), ops.table["lane"].to_numpy()
    before = np.arange(-1, rank.size)
    before[0] = before[-1] = -1
    before[1:-1][(rank[1:] != rank[:-1]) | (lane[1:] != lane[:-1])] = -1
    return before


class _Members(NamedTuple):
    """Members of communications as the graph couples them, numbered from 0."""

    member: Int64Array
    instance: Int32Array
    contributes: BoolArray
    waits: BoolArray


def _coupling_members(instances: Instances) -> _Members:
    """Members of instances whose times allow that they met; none where clocks are refused."""
    # who answers takes part in a second meeting, in the opposite direction
    sound = instances.causal[instances.instance] & (not instances.is_refused)
    sound &= instances.contributes | instances.waits
    forth, back = np.flatnonzero(sound), np.flatnonzero(sound & instances.answers)
    return _Members(
        np.append(forth, back),
        np.append(instances.instance[forth], instances.instance[back] + instances.n_instance),
        np.append(instances.contributes[forth], instances.waits[back]),
        np.append(instances.waits[forth], instances.contributes[back]),
    )


def _lanes(work: DeviceWork, ops: GraphOps) -> list[_Edges]:
    """Each op follows the one before it on its lane."""
    rank, lane = ops.table["rank"].to_numpy(), ops.table["lane"].to_numpy()
    step = ops.table["step"].to_numpy()
    is_launched = np.zeros(rank.size, np.bool_)
    is_launched[ops.of_work] = True
    same = (rank[1:] == rank[:-1]) & (lane[1:] == lane[:-1]) & ~is_launched[1:]
    follows = np.flatnonzero(work.previous >= 0)
    source = np.concatenate([np.flatnonzero(same), ops.of_work[work.previous[follows]]])
    target = np.concatenate([np.flatnonzero(same) + 1, ops.of_work[follows]])
    crosses = step[source] != step[target]
    parts = []
    for kind, chosen in (
        (EdgeKind.STEP, crosses),
        (EdgeKind.STREAM, ~crosses & is_launched[target]),
        (EdgeKind.PROGRAM, ~crosses & ~is_launched[target]),
    ):
        parts.append(_Edges(source[chosen], target[chosen], kind))
    return parts


def _borders(ops: GraphOps) -> tuple[Int32Array, Int32Array]:
    """First op of each rank in each step, and last op of each lane in each step."""
    rank, lane = ops.table["rank"].to_numpy(), ops.table["lane"].to_numpy()
    start = ops.table["start_ns"].to_numpy()
    found = np.unique(ops.table["step"].to_numpy())
    step = np.searchsorted(found, ops.table["step"].to_numpy())
    of_rank, of_lane = (
        _groups_in_order([rank, *more]) * found.size + step for more in ([], [lane])
    )
    end = start + ops.table["duration_ns"].to_numpy()
    return kernels.first_least(of_rank, start), kernels.last_largest(of_lane, end)


def _groups_in_order(columns: list[Int64Array]) -> Int64Array:
    """Give each row the number of its group; rows of a group follow each other."""
    new = np.zeros(columns[0].size, np.int64)
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.cumsum(new)


def _first_of_ranks(ops: GraphOps) -> Int32Array:
    rank, start = ops.table["rank"].to_numpy(), ops.table["start_ns"].to_numpy()
    return np.asarray(kernels.first_least(_groups_in_order([rank]), start))
