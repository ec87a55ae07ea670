r"""Many counterfactuals side by side, as deviations from one exact replay.

With :math:`x_v` the deviation of node v from its time in the exact replay, :math:`\sigma_{uv}`
the slack of an edge there and :math:`\delta_v` the change of its weight,

.. math:: x_v = \max_{u \in P(v)} (x_u - \sigma_{uv}) + \delta_v ,

which float32 carries well: absolute times would lose small differences between large numbers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.graph import CouplingGraph
from loadpath.errors import UsageError
from loadpath.replay import kernels
from loadpath.replay.threads import in_threads
from loadpath.replay.timeline import Timeline, begin_apart, kernel_edges

__all__ = ["ScenarioLayout", "Scenarios", "Stops", "lay_out_scenarios", "replay_scenarios"]

REBASE_ROWS = 8
"""Nodes per live row between two rebases: some 5 % of the work for an error under 1e-6."""

Int32Array = NDArray[np.int32]
Float32Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scenarios:
    """Counterfactual durations: op i of scenario s works ``delta_ns[i] * scale[group[i], s]`` more.

    Attributes
    ----------
    delta_ns : (n_op,) array
        Change of the work of each op, in ns, such as ideal less measured.
    group : (n_op,) array of int
        Row of `scale` for each op.
    scale : (n_group, n_scenario) array
        How much of its change each group takes in each scenario: 0 is none, 1 all of it.
    by_node : bool
        Whether `delta_ns` and `group` are of nodes, (n_node,) each: what changes may then also be a
        lag, which stands at an op's start, or the latency of a launch.
    """

    delta_ns: NDArray[Any]
    group: NDArray[Any]
    scale: NDArray[Any]
    by_node: bool = False


@dataclass(frozen=True, slots=True)
class Stops:
    """Nodes at which a sweep halts: many predecessors, borders of steps, places to rebase.

    Attributes
    ----------
    node : (n_stop,) array of int32
        Nodes, ascending; the last entry is n_node.
    start : (n_stop + 1,) array of int64
        Where the overflow predecessors of each begin.
    begin, end : (n_stop,) arrays of int32
        Step that the node may begin or end, -1 none.
    rebase : (n_stop,) array of bool
        Whether deviations are made relative to this node's from here on.
    """

    node: Int32Array
    start: NDArray[np.int64]
    begin: Int32Array
    end: Int32Array
    rebase: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ScenarioLayout:
    """What all scenarios of one replay share: a row for each live node, the slack of each edge.

    Attributes
    ----------
    n_row : int
        Number of rows; row 0 is the root's.
    row : (n_node + 1,) array of int32
        Row that holds each shifted node from its turn to its last successor's.
    first_row, second_row : (n_node,) arrays of int32
        Rows of the two fixed predecessors.
    overflow_row : (n_overflow_edge,) array of int32
        Rows of further predecessors.
    first_slack, second_slack : (n_node,) arrays of float32
        How much earlier than the latest predecessor each of them happened, in ns.
    overflow_slack : (n_overflow_edge,) array of float32
        The same of further predecessors.
    stops : Stops
        Where a sweep halts.
    time_ns : (n_node + 1,) array of float64
        Times of the exact replay.
    """

    n_row: int
    row: Int32Array
    first_row: Int32Array
    second_row: Int32Array
    overflow_row: Int32Array
    first_slack: Float32Array
    second_slack: Float32Array
    overflow_slack: Float32Array
    stops: Stops
    time_ns: NDArray[np.float64]


def lay_out_scenarios(graph: CouplingGraph, timeline: Timeline) -> ScenarioLayout:
    """Prepare the scenarios of one exact replay; worth keeping for several `replay_scenarios`.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its times.

    Returns
    -------
    ScenarioLayout
        28 bytes per node and 8 per overflow edge.
    """
    time = timeline.time_ns.astype(np.float64)
    n_row, row, *rest = kernels.lay_out(kernel_edges(graph), time)
    return ScenarioLayout(
        n_row=n_row,
        row=row,
        first_row=rest[0],
        second_row=rest[1],
        overflow_row=rest[2],
        first_slack=rest[3],
        second_slack=rest[4],
        overflow_slack=rest[5],
        stops=_stops(graph, n_row),
        time_ns=time,
    )


def replay_scenarios(
    graph: CouplingGraph,
    timeline: Timeline,
    scenarios: Scenarios,
    *,
    layout: ScenarioLayout | None = None,
    n_thread: int | None = None,
) -> NDArray[np.float64]:
    """Time every step in every scenario.

    Parameters
    ----------
    graph : CouplingGraph
        Graph that was replayed.
    timeline : Timeline
        Its exact replay, from which scenarios deviate.
    scenarios : Scenarios
        Changed durations; no op may come to last less than 0.
    layout : ScenarioLayout, optional
        Result of `lay_out_scenarios` for the same graph and timeline, where it is at hand.
    n_thread : int, optional
        Threads that share the blocks of 32 scenarios; the processors there are if left out. It
        does not change the result.

    Returns
    -------
    (n_step, n_scenario) array of float64
        Step times in ns.

    Raises
    ------
    UsageError
        If the arrays of `scenarios` do not fit the graph or each other.
    """
    _check(graph, scenarios)
    layout = lay_out_scenarios(graph, timeline) if layout is None else layout
    delta = np.zeros(graph.n_node, np.float32)
    group = np.zeros(graph.n_node, np.int32)
    place = slice(None) if scenarios.by_node else graph.end_node
    delta[place], group[place] = scenarios.delta_ns, scenarios.group

    n_scenario, n_step = scenarios.scale.shape[1], graph.step.size

    def sweep(first_column: int) -> NDArray[np.float64]:
        scale = _columns(scenarios.scale, first_column)
        return _sweep_block(layout, n_step, (delta, group, scale))

    starts = range(0, n_scenario, kernels.BLOCK)
    blocks = in_threads(sweep, starts, graph.n_node * n_scenario, n_thread)
    begin, end = np.concatenate([np.empty((2, n_step, 0)), *blocks], axis=2)[..., :n_scenario]
    return np.asarray(np.subtract(end, begin_apart(graph, begin, end)))


def _sweep_block(
    layout: ScenarioLayout, n_step: int, change: tuple[Float32Array, Int32Array, Float32Array]
) -> NDArray[np.float64]:
    """Begin and end of each step in each scenario: (2, n_step, BLOCK)."""
    stops = layout.stops
    bounds = np.empty((2, n_step, kernels.BLOCK))
    bounds[0], bounds[1] = np.inf, -np.inf
    kernels.sweep_block(
        layout.row,
        layout.first_row,
        layout.second_row,
        layout.overflow_row,
        layout.first_slack,
        layout.second_slack,
        layout.overflow_slack,
        stops.node,
        stops.start,
        stops.begin,
        stops.end,
        stops.rebase,
        *change,
        layout.time_ns,
        np.zeros((layout.n_row, kernels.BLOCK), np.float32),
        *bounds,
    )
    return bounds


def _columns(scale: NDArray[Any], first_column: int) -> Float32Array:
    block = scale[:, first_column : first_column + kernels.BLOCK]
    padded = np.zeros((max(scale.shape[0], 1), kernels.BLOCK), np.float32)
    padded[: block.shape[0], : block.shape[1]] = block
    return padded


def _stops(graph: CouplingGraph, n_row: int) -> Stops:
    rebases = np.arange(REBASE_ROWS * n_row, graph.n_node, REBASE_ROWS * n_row)
    halts = np.zeros(graph.n_node + 1, np.bool_)
    for stops in (graph.overflow_node, graph.begin_node, graph.end_step_node, rebases, -1):
        halts[stops] = True
    node = np.flatnonzero(halts).astype(np.int32)
    rebase = np.zeros(node.size, np.bool_)
    rebase[np.searchsorted(node, rebases.astype(np.int32))] = True
    n_further = np.zeros(node.size, np.int64)
    n_further[np.searchsorted(node, graph.overflow_node)] = np.diff(graph.overflow_start)
    begin = np.full(node.size, -1, np.int32)
    begin[np.searchsorted(node, graph.begin_node)] = graph.begin_step
    end = np.full(node.size, -1, np.int32)
    end[np.searchsorted(node, graph.end_step_node)] = graph.end_step
    start = np.concatenate([[0], np.cumsum(n_further)])
    return Stops(node, start, begin, end, rebase)


def _check(graph: CouplingGraph, scenarios: Scenarios) -> None:
    n, what = (graph.n_node, "nodes") if scenarios.by_node else (graph.n_op, "ops")
    if scenarios.delta_ns.shape != (n,) or scenarios.group.shape != (n,):
        raise UsageError(
            f"delta_ns has shape {scenarios.delta_ns.shape} and group {scenarios.group.shape}, "
            f"but the graph has {n} {what}. Pass one value for each of them."
        )
    if scenarios.scale.ndim != 2 or (
        n and not 0 <= scenarios.group.min() <= scenarios.group.max() < len(scenarios.scale)
    ):
        raise UsageError(
            f"scale has shape {scenarios.scale.shape}, which does not hold a row for every group. "
            "Pass an array (n_group, n_scenario), groups numbered from 0."
        )
