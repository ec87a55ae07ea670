"""What may be late without harm, and the path on which nothing may."""

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.graph import CouplingGraph
from loadpath.replay import kernels
from loadpath.replay.timeline import TimeArray, Timeline, kernel_edges, step_bounds_ns

__all__ = ["critical_path", "last_predecessor", "slack_ns"]

Int32Array = NDArray[np.int32]


def last_predecessor(graph: CouplingGraph, timeline: Timeline) -> Int32Array:
    """Find for each node the predecessor that it waited for longest.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its times.

    Returns
    -------
    (n_node,) array of int32
        Shifted ids: ``u + 1`` for node ``u``, 0 for nodes without predecessors. Of predecessors
        that happen at the same time it is the lowest.
    """
    binding = np.empty(graph.n_node, np.int32)
    kernels.bind(*kernel_edges(graph), timeline.time_ns, binding)
    return binding


def slack_ns(graph: CouplingGraph, timeline: Timeline) -> TimeArray:
    r"""Measure how much later each node may happen without moving the end of any step.

    With the slack of an edge :math:`\sigma_{uv} = \max_{k \in P(v)} t_k - t_u`, the slack of a
    node is :math:`\min_v (\sigma_{uv} + s_v)` over its successors, and the distance to the latest
    end of the step for a node that may end one: one backward pass.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its times.

    Returns
    -------
    (n_node,) array
        Slack in ns, at least 0, of the type of the times. What no step's end depends on may last
        until the last node of the recording.

    References
    ----------
    .. [1] J. E. Kelley, M. R. Walker, "Critical-path planning and scheduling", Proc. Eastern Joint
       Computer Conference, 1959 (total float).
    """
    time = timeline.time_ns
    slack = time.max() - time
    _, end = step_bounds_ns(graph, timeline)
    entry = graph.end_step_node + 1
    np.minimum.at(slack, entry, end[graph.end_step] - time[entry])
    kernels.spread_slack(*kernel_edges(graph), time, slack)
    of_nodes: TimeArray = slack[1:]
    return of_nodes


def critical_path(
    graph: CouplingGraph,
    timeline: Timeline,
    step_index: int,
    *,
    binding: Int32Array | None = None,
) -> Int32Array:
    """Walk back from the latest end of a step, always to the last predecessor.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its times.
    step_index : int
        Which entry of ``graph.step``.
    binding : (n_node,) array of int32, optional
        Result of `last_predecessor`, where it is at hand.

    Returns
    -------
    (n_path,) array of int32
        Nodes from the begin of the step to its end, none of which happens before the step begins;
        of ends and predecessors at the same time, the lowest.
    """
    if binding is None:
        binding = last_predecessor(graph, timeline)
    time = timeline.time_ns
    ends = np.sort(graph.end_step_node[graph.end_step == step_index])
    begins = graph.begin_node[graph.begin_step == step_index]
    begin_ns = time[begins + 1].min()
    entry = int(ends[np.argmax(time[ends + 1])]) + 1
    stops = {int(node) + 1 for node in begins if time[node + 1] == begin_ns}
    path = []
    while entry != 0 and time[entry] >= begin_ns:
        path.append(entry - 1)
        entry = 0 if entry in stops else int(binding[entry - 1])
    return np.array(path[::-1], np.int32)
