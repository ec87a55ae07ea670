"""Exposed communication: waits and transfers that no other work of the rank hides."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.couple import CoupledJob, CouplingGraph
from loadpath.diagnose import moment_kernels as kernels
from loadpath.diagnose.places import COMPUTE, Places, find_places
from loadpath.replay import Timeline, last_predecessor
from loadpath.replay.timeline import per_op

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
    binding : (n_node,) array of int32
        Result of `last_predecessor` for the same replay.
    """

    wait_ns: Int64Array
    transfer_ns: Int64Array
    occupancy: Occupancy
    binding: Int32Array


class _OpTimes(NamedTuple):
    """Start, end of the wait, and end of each op, in whole ns."""

    start: Int64Array
    ready: Int64Array
    end: Int64Array


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
    times = _op_times(job.graph, timeline, work_ns)
    binding = last_predecessor(job.graph, timeline)
    later = _not_blocking(job.graph, timeline, binding, (times, places))
    return Exposure(*_occupy(times, places.part, later, places), binding)


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
    part = np.where(computes if among is None else computes & among, places.part, np.int8(-1))
    times = _op_times(job.graph, timeline, work_ns)
    alike = np.zeros(job.n_op, np.int8)
    return _occupy(times._replace(start=times.ready), part, alike, places)[2]


def _op_times(graph: CouplingGraph, timeline: Timeline, work_ns: ArrayLike) -> _OpTimes:
    work = per_op(graph, work_ns, "work_ns")
    times = np.empty((3, graph.n_op), np.result_type(timeline.time_ns, work))
    kernels.op_times(timeline.time_ns, work, graph.start_node, graph.end_node, *times)
    whole = times if times.dtype == np.int64 else np.rint(times).astype(np.int64)
    return _OpTimes(*whole)


def _not_blocking(
    graph: CouplingGraph, timeline: Timeline, binding: Int32Array, of_ops: tuple[_OpTimes, Places]
) -> Int8Array:
    """0 where later work of the rank, or the end of its step, follows from the op's end at once."""
    times, places = of_ops
    later = np.empty(graph.n_op, np.int8)
    n_place = (int(places.rank.max(initial=-1)) + 2) * graph.step.size
    kernels.mark_blocking(
        *(binding, timeline.time_ns, graph.end_step_node, graph.end_step, graph.step.size),
        *(graph.start_node, graph.end_node, graph.op, places.node_rank),
        *(places.part, times.ready, times.end),
        *(np.full(n_place, -1, np.int32), np.zeros(graph.n_node, np.bool_), later),
    )
    return later


def _occupy(
    times: _OpTimes, part: Int8Array, later: Int8Array, places: Places
) -> tuple[Int64Array, Int64Array, Occupancy]:
    """Give each moment of each rank to one op: exposed wait and transfer by op, and all segments."""
    n_op = part.size
    wait, transfer = np.zeros((2, n_op), np.int64)
    group_segment = np.empty_like(places.group_start)
    start, end = np.empty((2, 4 * n_op), np.int64)
    of_part, op = np.empty(4 * n_op, np.int8), np.empty(4 * n_op, np.int32)
    n = kernels.sweep_groups(
        *(places.group_start, places.group_op, *times, part, later),
        *(group_segment, start, end, of_part, op, wait, transfer),
    )
    n_clock = int(places.clock.max(initial=0)) + 1
    segments = (start[:n], end[:n], of_part[:n], op[:n])
    return wait, transfer, Occupancy(n_clock, group_segment, *segments, places)
