"""Exposed communication: waits and transfers that no other work of the rank hides."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.couple import CoupledJob, CouplingGraph
from loadpath.couple.kernels import group_by_key
from loadpath.diagnose import kernels
from loadpath.diagnose.places import COMPUTE, TRANSFER, WAIT, Places, find_places
from loadpath.replay import Timeline, last_predecessor, op_end_ns, op_ready_ns

__all__ = ["Exposure", "Occupancy", "computation", "exposed"]

Int64Array = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Int8Array = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What each rank does at each moment, as segments that do not overlap.

    Steps that are not coupled to each other have clocks of their own, so segments are grouped by
    rank and clock: group ``r * n_clock + c`` holds rank r on clock c.

    Attributes
    ----------
    n_clock : int
        Number of clocks.
    group_segment : (n_rank * n_clock + 1,) array of int64
        Where the segments of each group begin.
    start_ns, end_ns : (n_segment,) arrays of int64
        Segments, ascending within a group, in ns.
    part : (n_segment,) array of int8
        `COMPUTE`, `OVERHEAD`, `TRANSFER`, `WAIT` or `HOST`; gaps between segments are idle.
    op : (n_segment,) array of int32
        Op that the segment belongs to.
    places : Places
        Where ops run.
    """

    n_clock: int
    group_segment: Int64Array
    start_ns: Int64Array
    end_ns: Int64Array
    part: Int8Array
    op: Int32Array
    places: Places


@dataclass(frozen=True, slots=True)
class Exposure:
    """Waiting and transfer of each op that no work of its rank hides.

    Attributes
    ----------
    wait_ns, transfer_ns : (n_op,) arrays of int64
        Exposed part of each op's wait and transfer, in ns; at one moment a rank is exposed to one
        op only.
    occupancy : Occupancy
        Where they were read from.
    """

    wait_ns: Int64Array
    transfer_ns: Int64Array
    occupancy: Occupancy


@dataclass(frozen=True, slots=True)
class _Intervals:
    start: Int64Array
    end: Int64Array
    part: Int8Array
    second: Int8Array
    op: Int32Array


def exposed(
    job: CoupledJob, timeline: Timeline, work_ns: ArrayLike, *, places: Places | None = None
) -> Exposure:
    """Measure which waits and transfers of a replayed job are exposed.

    Each moment of a rank has one place, by precedence: computation, what messages take of a processor,
    transfer, wait, host work.
    Computation is what runs on a device, or on any lane of a rank without devices. Of several waits
    at one moment the one that the rank's next work (or the end of its step) depends on counts,
    then the one that is over first.

    Parameters
    ----------
    job : CoupledJob
        Job that was replayed.
    timeline : Timeline
        Its times.
    work_ns : (n_op,) array
        Work it was replayed with, in ns.
    places : Places, optional
        Result of `find_places`, where it is at hand.

    Returns
    -------
    Exposure
        Exposed wait and transfer per op, and what each rank does when.

    Raises
    ------
    UsageError
        If `work_ns` does not have shape ``(n_op,)``.
    """
    places = find_places(job) if places is None else places
    occupancy = _occupy(job, _intervals(job, timeline, work_ns, places), places)
    wait, transfer = (_sum_by_op(occupancy, part, job.n_op) for part in (WAIT, TRANSFER))
    return Exposure(wait, transfer, occupancy)


def computation(
    job: CoupledJob,
    timeline: Timeline,
    work_ns: ArrayLike,
    *,
    places: Places | None = None,
    among: NDArray[np.bool_] | None = None,
) -> Occupancy:
    """Say when each rank computes: what `exposed` finds of computation, without looking at waits.

    Parameters
    ----------
    job : CoupledJob
        Job that was replayed.
    timeline : Timeline
        Its times.
    work_ns : (n_op,) array
        Work it was replayed with, in ns.
    places : Places, optional
        Result of `find_places`, where it is at hand.
    among : (n_op,) array of bool, optional
        Ops that are looked at; all of them if left out.

    Returns
    -------
    Occupancy
        Segments of `COMPUTE` alone.
    """
    places = find_places(job) if places is None else places
    computes = places.part == COMPUTE
    op = np.flatnonzero(computes if among is None else computes & among).astype(np.int32)
    last = timeline.time_ns[1:][job.graph.end_node[op]]
    ready, end = _whole(last - np.asarray(work_ns)[op]), _whole(last)
    takes = end > ready
    ready, end, op = ready[takes], end[takes], op[takes]
    same = np.zeros(op.size, np.int8)
    return _occupy(job, _Intervals(ready, end, same + COMPUTE, same, op), places)


def _occupy(job: CoupledJob, intervals: _Intervals, places: Places) -> Occupancy:
    """Give each moment of each rank to one interval."""
    n_clock = int(places.clock.max(initial=0)) + 1
    group_start, order = group_by_key(places.group[intervals.op], job.rank.height * n_clock)
    group_segment, start, end, interval = _sweep(intervals, group_start, order)
    part, op = intervals.part[interval], intervals.op[interval]
    return Occupancy(n_clock, group_segment, start, end, part, op, places)


def _intervals(
    job: CoupledJob, timeline: Timeline, work_ns: ArrayLike, places: Places
) -> _Intervals:
    """List what each op claims of its rank's time: wait, then work."""
    start, ready, end = _times(job, timeline, work_ns)
    later = 1 - _blocking(job, timeline, places, end > ready)
    works = np.flatnonzero((end > ready) & (places.part >= 0))
    waits = np.flatnonzero(ready > start)
    op = np.concatenate([works, waits])
    return _Intervals(
        np.concatenate([ready[works], start[waits]]),
        np.concatenate([end[works], ready[waits]]),
        np.concatenate([places.part[works], np.full(waits.size, WAIT, np.int8)]),
        later[op],
        op.astype(np.int32),
    )


def _times(
    job: CoupledJob, timeline: Timeline, work_ns: ArrayLike
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Start, end of the wait, and end of each op, in whole ns."""
    graph = job.graph
    end, ready = op_end_ns(graph, timeline), op_ready_ns(graph, timeline, work_ns)
    start = np.where(
        graph.start_node == graph.end_node, ready, timeline.time_ns[1:][graph.start_node]
    )
    return _whole(start), _whole(ready), _whole(end)


def _whole(time: NDArray[Any]) -> Int64Array:
    return time if time.dtype == np.int64 else np.rint(time).astype(np.int64)


def _blocking(
    job: CoupledJob, timeline: Timeline, places: Places, works: NDArray[np.bool_]
) -> Int8Array:
    """1 where later work of the rank, or the end of its step, follows from the op's end at once."""
    graph = job.graph
    marked = np.zeros(graph.n_node, np.bool_)
    marked[graph.start_node[(places.part == COMPUTE) & works]] = True
    marked[_last_of_rank(graph, timeline, places.node_rank)] = True
    kernels.mark_blocking(
        last_predecessor(graph, timeline), graph.start_node, graph.op, places.node_rank, marked
    )
    return marked[graph.end_node].astype(np.int8)


def _last_of_rank(
    graph: CouplingGraph, timeline: Timeline, node_rank: Int32Array
) -> NDArray[np.int32]:
    """Node with which each rank ends each step: the latest, of equals the lowest."""
    node = graph.end_step_node
    place = node_rank[node].astype(np.int64) * graph.step.size + graph.end_step
    order = np.lexsort((node, -timeline.time_ns[node + 1], place))
    first = np.flatnonzero(np.diff(place[order], prepend=-1))
    return node[order[first]]


def _sweep(
    intervals: _Intervals, group_start: Int64Array, order: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array, Int64Array]:
    """Group starts, starts, ends and intervals of the segments."""
    group_segment = np.empty_like(group_start)
    room = [np.empty(2 * order.size, np.int64) for _ in range(3)]
    n = kernels.sweep_intervals(
        group_start,
        order,
        intervals.start,
        intervals.end,
        intervals.part,
        intervals.second,
        intervals.op,
        group_segment,
        *room,
    )
    return group_segment, room[0][:n].copy(), room[1][:n].copy(), room[2][:n].copy()


def _sum_by_op(occupancy: Occupancy, part: int, n_op: int) -> Int64Array:
    mine = np.flatnonzero(occupancy.part == part)
    total = np.zeros(n_op, np.int64)
    np.add.at(total, occupancy.op[mine], occupancy.end_ns[mine] - occupancy.start_ns[mine])
    return total
