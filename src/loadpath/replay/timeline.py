"""One exact replay: when everything happens if each op runs as early as its couplings allow."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from loadpath.couple.graph import CouplingGraph, EdgeKind
from loadpath.errors import UsageError
from loadpath.replay import kernels

__all__ = [
    "TimeArray",
    "Timeline",
    "begin_apart",
    "kernel_edges",
    "node_weights_ns",
    "op_end_ns",
    "op_ready_ns",
    "op_start_ns",
    "per_op",
    "replay",
    "replay_weights",
    "step_bounds_ns",
    "step_time_ns",
]

TimeArray = NDArray[np.int64 | np.float64]


@dataclass(frozen=True, slots=True)
class Timeline:
    """When each node of a `CouplingGraph` happens.

    Attributes
    ----------
    time_ns : (n_node + 1,) or (n_run, n_node + 1) array of int64 or float64
        Entry 0 is the root, at 0; entry ``v + 1`` is node ``v``; ns after the first start. A row
        for each run, where several were replayed.
    """

    time_ns: TimeArray


def replay(
    graph: CouplingGraph, work_ns: ArrayLike, *, lag_ns: ArrayLike | None = None
) -> Timeline:
    r"""Run `graph` with the given durations, each op as early as its predecessors allow.

    The time of node :math:`v` is :math:`t_v = w_v + \max_{u \in P(v)} t_u`, and :math:`w_v` where
    :math:`P(v)` is empty: one longest-path pass in topological order, :math:`O(n + m)`. The weight
    of a node is the lag of the op it starts plus the work of the op it ends.

    Parameters
    ----------
    graph : CouplingGraph
        Nodes in topological order.
    work_ns : (n_op,) or (n_run, n_op) array of int64 or float64
        Work of each op, in ns: its duration, or for an op of two nodes what remains of it once
        its wait is over. Replace entries to ask a counterfactual. A row for each run of the graph.
    lag_ns : array of the same shape, optional
        Extra delay before each op starts, in ns; none if left out.

    Returns
    -------
    Timeline
        Integer if work and lag are, else float; never later than in any other schedule that keeps
        the couplings.

    Raises
    ------
    UsageError
        If `work_ns` or `lag_ns` does not fit the graph, or is not of numbers.

    References
    ----------
    .. [1] F. Baccelli, G. Cohen, G. J. Olsder, J.-P. Quadrat, "Synchronization and Linearity",
       Wiley, 1992.

    Examples
    --------
    Two ranks compute for 70 and 100 ns (ops 0, 1), then meet in an all-reduce of 20 (ops 2, 3):

    >>> from loadpath.couple.graph import Coupling, build_graph
    >>> both = np.ones(2, bool)
    >>> graph = build_graph(
    ...     Coupling(
    ...         n_op=4,
    ...         edge_source=np.array([0, 1], np.int32),
    ...         edge_target=np.array([2, 3], np.int32),
    ...         edge_kind=np.zeros(2, np.uint8),
    ...         member_op=np.array([2, 3], np.int32),
    ...         member_instance=np.zeros(2, np.int32),
    ...         member_contributes=both,
    ...         member_waits=both,
    ...         begin_op=np.array([0, 1], np.int32),
    ...         begin_step=np.zeros(2, np.int64),
    ...         end_op=np.array([2, 3], np.int32),
    ...         end_step=np.zeros(2, np.int64),
    ...     )
    ... )
    >>> work = np.array([70, 100, 20, 20])
    >>> timeline = replay(graph, work)
    >>> op_start_ns(graph, timeline, work), op_ready_ns(graph, timeline, work)
    (array([  0,   0,  70, 100]), array([  0,   0, 100, 100]))
    >>> step_time_ns(graph, timeline)
    array([120])
    """
    work, lag = _work_and_lag(graph, work_ns, lag_ns)
    time: TimeArray = np.empty((*work.shape[:-1], graph.n_node + 1), work.dtype)
    kernels.time_nodes(
        *(*kernel_edges(graph), graph.fixed_ns, graph.start_node, graph.end_node),
        *map(np.atleast_2d, (lag, work, time)),
    )
    return Timeline(time)


def node_weights_ns(
    graph: CouplingGraph, work_ns: ArrayLike, *, lag_ns: ArrayLike | None = None
) -> TimeArray:
    """Place work and lag on the nodes: what `replay_weights` turns into times.

    Parameters
    ----------
    graph : CouplingGraph
        Nodes in topological order.
    work_ns : (n_op,) or (n_run, n_op) array of int64 or float64
        Work of each op, in ns; it stands at entry ``graph.end_node + 1``.
    lag_ns : array of the same shape, optional
        Extra delay before each op starts, in ns; none if left out.

    Returns
    -------
    (n_node + 1,) or (n_run, n_node + 1) array
        Weight of each node, in ns; entry 0 is the root, of weight 0.

    Raises
    ------
    UsageError
        If `work_ns` or `lag_ns` does not fit the graph, or is not of numbers.
    """
    work, lag = _work_and_lag(graph, work_ns, lag_ns)
    weight: TimeArray = np.empty((*work.shape[:-1], graph.n_node + 1), work.dtype)
    weight[..., 0] = 0
    weight[..., 1:] = graph.fixed_ns
    kernels.weigh(graph.start_node, graph.end_node, *map(np.atleast_2d, (lag, work, weight)))
    return weight


def _work_and_lag(
    graph: CouplingGraph, work_ns: ArrayLike, lag_ns: ArrayLike | None
) -> tuple[TimeArray, TimeArray]:
    """Work and lag of ops in one type, as kernels take them; no column of lag where there is none."""
    work = per_op(graph, work_ns, "work_ns")
    lag = work[..., :0] if lag_ns is None else per_op(graph, lag_ns, "lag_ns")
    dtype = np.result_type(work, lag)
    return np.require(work, dtype, ["C", "W"]), np.require(lag, dtype, ["C", "W"])


def replay_weights(graph: CouplingGraph, weight_ns: TimeArray, into: TimeArray) -> Timeline:
    """Replay weights of nodes; many replays that differ little need no placing and no new memory.

    Parameters
    ----------
    graph : CouplingGraph
        Nodes in topological order.
    weight_ns : (n_node + 1,) array
        Result of `node_weights_ns`, with changes.
    into : (n_node + 1,) array of the same type
        Where the times are written; may be `weight_ns` itself.

    Returns
    -------
    Timeline
        As `replay` returns; it holds `into`.
    """
    if into is not weight_ns:
        np.copyto(into, weight_ns)
    kernels.sweep(*kernel_edges(graph), np.atleast_2d(into))
    return Timeline(into)


def op_end_ns(graph: CouplingGraph, timeline: Timeline) -> TimeArray:
    """Say when each op ends.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its times.

    Returns
    -------
    (n_op,) or (n_run, n_op) array
        Ends in ns after the first start.
    """
    end: TimeArray = timeline.time_ns[..., graph.end_node + 1]
    return end


def op_ready_ns(graph: CouplingGraph, timeline: Timeline, work_ns: ArrayLike) -> TimeArray:
    """Say when each op's work begins: for an op that waits inside itself, when its wait is over.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its times.
    work_ns : (n_op,) or (n_run, n_op) array
        Work it was replayed with, in ns.

    Returns
    -------
    array of the same shape
        Ends less work, in ns after the first start; the start of a plain op.

    Raises
    ------
    UsageError
        If `work_ns` does not fit the graph.
    """
    ready: TimeArray = op_end_ns(graph, timeline) - per_op(graph, work_ns, "work_ns")
    return ready


def op_start_ns(graph: CouplingGraph, timeline: Timeline, work_ns: ArrayLike) -> TimeArray:
    """Say when each op starts; a communication starts when it arrives, before its wait.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its times.
    work_ns : (n_op,) or (n_run, n_op) array
        Work it was replayed with, in ns.

    Returns
    -------
    array of the same shape
        Starts in ns after the first start.

    Raises
    ------
    UsageError
        If `work_ns` does not fit the graph.
    """
    ready = op_ready_ns(graph, timeline, work_ns)
    two_nodes = graph.start_node != graph.end_node
    return np.where(two_nodes, timeline.time_ns[..., graph.start_node + 1], ready)


def step_bounds_ns(graph: CouplingGraph, timeline: Timeline) -> tuple[TimeArray, TimeArray]:
    """Say when each step begins on its earliest rank and ends on its latest.

    Where ranks run ahead, steps overlap; a step then begins when those before it have ended, so that
    no moment counts twice and steps add up to the time they took together.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed; each of its steps has a begin and an end node.
    timeline : Timeline
        Its times; of a graph of one step perhaps those of several runs.

    Returns
    -------
    begin_ns, end_ns : (n_step,) arrays
        In ns after the first start, in the order of ``graph.step``, or of the runs.
    """
    if timeline.time_ns.ndim > 1:
        first = timeline.time_ns[:, graph.begin_node + 1].min(axis=1)
        last = timeline.time_ns[:, graph.end_step_node + 1].max(axis=1)
        return first, np.maximum(first, last)
    time = timeline.time_ns[1:]
    begins = time[graph.begin_node]
    begin: TimeArray = np.full(graph.step.size, begins.max(initial=0), time.dtype)
    np.minimum.at(begin, graph.begin_step, begins)
    end = begin.copy()
    np.maximum.at(end, graph.end_step, time[graph.end_step_node])
    return begin_apart(graph, begin, end), end


def begin_apart(graph: CouplingGraph, begin_ns: TimeArray, end_ns: TimeArray) -> TimeArray:
    """Let each step begin when those that it follows have ended.

    Parameters
    ----------
    graph : CouplingGraph
        Graph with steps; a step follows the others if some rank enters it from another.
    begin_ns, end_ns : (n_step,) or (n_step, n) arrays
        Earliest begin and latest end of each step.

    Returns
    -------
    array of the same shape
        Begins, never after the end of the same step.
    """
    begins = graph.begin_node
    ordered = (graph.first[begins] != 0) & (graph.first_kind[begins] == EdgeKind.STEP)
    ordered |= (graph.second[begins] != 0) & (graph.second_kind[begins] == EdgeKind.STEP)
    follows = np.zeros(graph.step.size, np.bool_)
    follows[graph.begin_step[ordered]] = True
    follows[:1] = False
    if not follows.any():
        return begin_ns
    apart = begin_ns.copy()
    alone = np.flatnonzero(~follows)
    for low, high in zip(alone, [*alone[1:], graph.step.size], strict=True):
        done = np.maximum.accumulate(end_ns[low:high], axis=0)[:-1]
        apart[low + 1 : high] = np.maximum(apart[low + 1 : high], done)
    return np.minimum(apart, end_ns)


def step_time_ns(graph: CouplingGraph, timeline: Timeline) -> TimeArray:
    """Measure each step, from the earliest rank's begin to the latest rank's end.

    As in `step_bounds_ns`, time that steps share counts to the earlier one.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its times.

    Returns
    -------
    (n_step,) array
        Step times in ns, in the order of ``graph.step``, or of the runs.
    """
    begin, end = step_bounds_ns(graph, timeline)
    step: TimeArray = np.subtract(end, begin)
    return step


def kernel_edges(graph: CouplingGraph) -> tuple[NDArray[Any], ...]:
    """Give the edges of a graph as kernels take them.

    Parameters
    ----------
    graph : CouplingGraph
        Any graph.

    Returns
    -------
    first, second, overflow_node, overflow_start, overflow_pred : arrays
        As in the graph, predecessors as uint32.
    """
    return (
        graph.first.view(np.uint32),
        graph.second.view(np.uint32),
        graph.overflow_node,
        graph.overflow_start,
        graph.overflow_pred.view(np.uint32),
    )


def per_op(graph: CouplingGraph, value: ArrayLike, name: str) -> NDArray[Any]:
    """Take values of ops as an array of int64 or float64.

    Parameters
    ----------
    graph : CouplingGraph
        Graph of the ops.
    value : (n_op,) or (n_run, n_op) array
        Values in ns.
    name : str
        What the caller calls them.

    Returns
    -------
    array of the same shape
        The same array where it is of such a type.

    Raises
    ------
    UsageError
        If it does not fit the graph, or is not of numbers.
    """
    array = np.asarray(value)
    if array.shape[-1:] != (graph.n_op,) or array.ndim > 2:
        raise UsageError(
            f"{name} has shape {array.shape}, but the graph has {graph.n_op} ops. "
            "Pass one value per row of the op table."
        )
    if array.dtype.kind not in "iuf":
        raise UsageError(f"{name} holds {array.dtype}, not numbers. Pass nanoseconds.")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64, copy=False)
