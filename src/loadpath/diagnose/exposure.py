"""Exposed communication: waits and transfers that no other work of the rank hides."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.couple import CoupledJob, CouplingGraph, NodeRole
from loadpath.couple.kernels import group_by_key
from loadpath.diagnose import kernels
from loadpath.replay import Timeline, last_predecessor, op_end_ns, op_ready_ns, op_start_ns

__all__ = [
    "COMPUTE",
    "HOST",
    "N_PART",
    "TRANSFER",
    "WAIT",
    "Exposure",
    "Occupancy",
    "clock_of_step",
    "exposed",
    "group_of_op",
    "rank_index",
]

COMPUTE, TRANSFER, WAIT, HOST = range(4)
"""Parts of a rank's time, in the order in which they take a moment that several claim."""

N_PART = 4
"""Number of those parts."""

Int64Array = NDArray[np.int64]
Int32Array = NDArray[np.int32]


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
    part : (n_segment,) array of int64
        `COMPUTE`, `TRANSFER`, `WAIT` or `HOST`; gaps between segments are idle.
    op : (n_segment,) array of int32
        Op that the segment belongs to.
    """

    n_clock: int
    group_segment: Int64Array
    start_ns: Int64Array
    end_ns: Int64Array
    part: Int64Array
    op: Int32Array


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
    part: Int64Array
    second: Int64Array
    op: Int32Array


def exposed(job: CoupledJob, timeline: Timeline, work_ns: ArrayLike) -> Exposure:
    """Measure which waits and transfers of a replayed job are exposed.

    Each moment of a rank has one place, by precedence: computation, transfer, wait, host work.
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

    Returns
    -------
    Exposure
        Exposed wait and transfer per op, and what each rank does when.

    Raises
    ------
    UsageError
        If `work_ns` does not have shape ``(n_op,)``.
    """
    intervals = _intervals(job, timeline, work_ns)
    n_clock = int(clock_of_step(job).max(initial=0)) + 1
    group_start, order = group_by_key(group_of_op(job)[intervals.op], job.rank.height * n_clock)
    found = _sweep(intervals, group_start, order)
    length = found[2] - found[1]
    occupancy = Occupancy(
        n_clock, found[0], found[1], found[2], intervals.part[found[3]], intervals.op[found[3]]
    )
    wait, transfer = (
        _sum_by_op(occupancy.op, np.where(occupancy.part == part, length, 0), job.n_op)
        for part in (WAIT, TRANSFER)
    )
    return Exposure(wait, transfer, occupancy)


def rank_index(job: CoupledJob) -> Int64Array:
    """Say for each op which row of the rank table its rank is.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of int64
        Rows of ``job.rank``.
    """
    rank = job.rank["rank"].to_numpy()
    row = np.full(int(rank.max(initial=0)) + 1, -1, np.int64)
    row[rank] = np.arange(rank.size)
    index: Int64Array = row[job.op["rank"].to_numpy()]
    return index


def group_of_op(job: CoupledJob) -> Int64Array:
    """Say to which group of an `Occupancy` each op belongs.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of int64
        ``r * n_clock + c`` for rank r and clock c.
    """
    clock = clock_of_step(job)
    group: Int64Array = rank_index(job) * (int(clock.max(initial=0)) + 1) + clock[_step_index(job)]
    return group


def clock_of_step(job: CoupledJob) -> Int64Array:
    """Give each step its clock: steps that are coupled to each other share one.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_step + 1,) array of int64
        Clock of each entry of ``job.graph.step``, and of ops outside all steps at the end.
    """
    graph = job.graph
    outside = graph.step.size
    sync = graph.role == NodeRole.SYNC
    step = np.full(graph.n_node, outside, np.int64)
    step[~sync] = _step_index(job)[graph.op[~sync]]
    step[sync] = step[np.maximum(graph.first[sync], 1) - 1]
    clock = np.arange(outside + 1)
    for shifted in (graph.first, graph.second):
        before = step[np.maximum(shifted, 1) - 1]
        crosses = (shifted > 0) & (before != step)
        for one, other in np.unique(np.stack([before[crosses], step[crosses]], 1), axis=0):
            clock[clock == clock[other]] = clock[one]
    return np.unique(clock, return_inverse=True)[1].astype(np.int64)


def _step_index(job: CoupledJob) -> Int64Array:
    """Entry of ``graph.step`` of each op; the number of steps for ops outside all."""
    step = job.op["step"].to_numpy()
    known = job.graph.step
    at = np.searchsorted(known, step)
    inside = np.concatenate([known, [step.min(initial=0) - 1]])[at] == step
    return np.where(inside, at, known.size)


def _intervals(job: CoupledJob, timeline: Timeline, work_ns: ArrayLike) -> _Intervals:
    """List what each op claims of its rank's time: wait, then work."""
    graph = job.graph
    start, ready, end = (
        np.rint(time).astype(np.int64)
        for time in (
            op_start_ns(graph, timeline, work_ns),
            op_ready_ns(graph, timeline, work_ns),
            op_end_ns(graph, timeline),
        )
    )
    part = _part_of_work(job)
    later = 1 - _blocking(job, timeline, part, end > ready)
    pieces = (
        (np.flatnonzero((end > ready) & (part >= 0)), ready, end, part),
        (np.flatnonzero(ready > start), start, ready, np.full(job.n_op, WAIT)),
    )
    op = np.concatenate([piece[0] for piece in pieces])
    return _Intervals(
        np.concatenate([piece[1][piece[0]] for piece in pieces]),
        np.concatenate([piece[2][piece[0]] for piece in pieces]),
        np.concatenate([piece[3][piece[0]] for piece in pieces]),
        later[op],
        op.astype(np.int32),
    )


def _part_of_work(job: CoupledJob) -> Int64Array:
    """Say what an op's work is to its rank; -1 for markers."""
    kind = job.op["kind"]
    on_host = _on_host_of_device(job)
    part = np.where(on_host, HOST, COMPUTE)
    part[(kind == "communicate").to_numpy()] = TRANSFER
    part[(kind == "marker").to_numpy()] = -1
    return part


def _on_host_of_device(job: CoupledJob) -> NDArray[np.bool_]:
    """Ops on host lanes of ranks that have device lanes: such a host runs ahead of its device."""
    devices = job.lane.filter(pl.col("kind") == "device")["rank"].unique()
    hosts = job.lane.filter((pl.col("kind") == "host") & pl.col("rank").is_in(devices.implode()))
    if hosts.is_empty():
        return np.zeros(job.n_op, np.bool_)
    lane = job.op.select("rank", "lane").join(
        hosts.select("rank", "lane", pl.lit(value=True).alias("host")),
        on=["rank", "lane"],
        how="left",
        maintain_order="left",
    )
    return lane["host"].fill_null(value=False).to_numpy()


def _blocking(
    job: CoupledJob, timeline: Timeline, part: Int64Array, works: NDArray[np.bool_]
) -> Int64Array:
    """1 where later work of the rank, or the end of its step, follows from the op's end at once."""
    graph = job.graph
    sync = graph.role == NodeRole.SYNC
    rank = np.full(graph.n_node, -1, np.int64)
    rank[~sync] = rank_index(job)[graph.op[~sync]]
    marked = np.zeros(graph.n_node, np.bool_)
    marked[graph.start_node[(part == COMPUTE) & works]] = True
    marked[_last_of_rank(graph, timeline, rank)] = True
    kernels.mark_blocking(
        last_predecessor(graph, timeline), graph.start_node, graph.op, rank, marked
    )
    return marked[graph.end_node].astype(np.int64)


def _last_of_rank(
    graph: CouplingGraph, timeline: Timeline, node_rank: Int64Array
) -> NDArray[np.int32]:
    """Node with which each rank ends each step: the latest, of equals the lowest."""
    node = graph.end_step_node
    place = node_rank[node] * graph.step.size + graph.end_step
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
    return group_segment, room[0][:n], room[1][:n], room[2][:n]


def _sum_by_op(op: Int32Array, length: Int64Array, n_op: int) -> Int64Array:
    total = np.zeros(n_op, np.int64)
    np.add.at(total, op, length)
    return total
