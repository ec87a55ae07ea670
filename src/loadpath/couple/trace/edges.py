"""Who waits for whom in a trace: program, stream, launch, cross-stream, wait and step edges."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from loadpath.couple.graph import Coupling, EdgeKind
from loadpath.couple.trace.collectives import Instances
from loadpath.couple.trace.launches import DeviceWork, first_of_call, host_waits, late_first_ops, launch_latency
from loadpath.couple.trace.ops import GraphOps
from loadpath.couple.trace.rows import Int32Array, Int64Array, Rows
from loadpath.couple.trace.streams import cross_stream
from loadpath.couple.trace.threads import Handover
from loadpath.couple.trace.waits import WorkerWaits, first_part

__all__ = ["couple"]


@dataclass(frozen=True, slots=True)
class _Edges:
    source: Any
    target: Any
    kind: EdgeKind


def couple(
    rows: Rows,
    threads: Handover,
    work: DeviceWork,
    waits: WorkerWaits,
    *,
    instances: Instances,
    ops: GraphOps,
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
    instances : Instances
        Communications.
    ops : GraphOps
        Ops of the graph.

    Returns
    -------
    Coupling
        Who waits for whom, by op.
    """
    begun = first_part(threads.segments, rows.rank.size)
    of_call = np.where(begun >= 0, ops.of_segment[begun], -1)
    latency = launch_latency(rows, work)
    launched = np.flatnonzero(first_of_call(work) & (of_call[work.call] >= 0))
    crossing = cross_stream(rows, work, latency)
    device_wait, calls = host_waits(rows, work)
    known = of_call[calls] >= 0
    parts = [
        *_lanes(work, ops),
        _Edges(of_call[work.call[launched]], ops.of_work[launched], EdgeKind.LAUNCH),
        _Edges(ops.of_work[crossing[0]], ops.of_work[crossing[1]], EdgeKind.CROSS_STREAM),
        _Edges(ops.of_work[device_wait[known]], of_call[calls[known]], EdgeKind.HOST_WAIT),
        _Edges(ops.of_work[waits.source], ops.of_segment[waits.segment], EdgeKind.HOST_WAIT),
    ]
    handed = (ops.of_segment[threads.source] >= 0) & (ops.of_segment[threads.target] >= 0)
    parts.append(
        _Edges(
            ops.of_segment[threads.source[handed]],
            ops.of_segment[threads.target[handed]],
            EdgeKind.DATA,
        )
    )
    sound = _coupling_members(instances)
    latency_ns = np.zeros(ops.table.height, np.int64)
    latency_ns[ops.of_work] = latency
    begin, begin_step, end, end_step = _borders(ops)
    release = np.union1d(_first_of_ranks(ops), ops.of_work[late_first_ops(rows, work)]).astype(np.int32)
    return Coupling(
        n_op=ops.table.height,
        edge_source=np.concatenate([part.source for part in parts]).astype(np.int32),
        edge_target=np.concatenate([part.target for part in parts]).astype(np.int32),
        edge_kind=np.concatenate(
            [np.full(part.source.size, part.kind, np.uint8) for part in parts]
        ),
        member_op=ops.of_work[instances.work[sound]],
        member_instance=instances.instance[sound],
        member_contributes=instances.contributes[sound],
        member_waits=instances.waits[sound],
        begin_op=begin,
        begin_step=begin_step,
        end_op=end,
        end_step=end_step,
        release_op=release,
        release_ns=ops.table["start_ns"].to_numpy()[release],
        launch_latency_ns=latency_ns,
    )


def _coupling_members(instances: Instances) -> Int64Array:
    """Members of instances whose times allow that they met; none where clocks are refused."""
    if instances.is_refused:
        return np.empty(0, np.int64)
    return np.flatnonzero(instances.causal[instances.instance])


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


def _borders(ops: GraphOps) -> tuple[Int32Array, Int64Array, Int32Array, Int64Array]:
    """First op of each rank in each step, and last op of each lane in each step."""
    rank, lane = ops.table["rank"].to_numpy(), ops.table["lane"].to_numpy()
    step, start = ops.table["step"].to_numpy(), ops.table["start_ns"].to_numpy()
    end = start + ops.table["duration_ns"].to_numpy()
    by_start = np.lexsort((lane, start, step, rank))
    new = _first_of([rank[by_start], step[by_start]])
    begin = by_start[new].astype(np.int32)
    by_end = np.lexsort((-np.arange(rank.size), -end, step, lane, rank))
    last = by_end[_first_of([rank[by_end], lane[by_end], step[by_end]])].astype(np.int32)
    return begin, step[begin], last, step[last]


def _first_of(columns: list[Int64Array]) -> Int64Array:
    new = np.zeros(columns[0].size, np.bool_)
    new[:1] = True
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def _first_of_ranks(ops: GraphOps) -> Int32Array:
    rank, start = ops.table["rank"].to_numpy(), ops.table["start_ns"].to_numpy()
    order = np.lexsort((start, rank))
    return order[_first_of([rank[order]])].astype(np.int32)
