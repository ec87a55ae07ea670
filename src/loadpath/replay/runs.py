"""Many runs of one graph side by side: every step of a job whose steps are coupled alike."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.graph import CouplingGraph
from loadpath.errors import UsageError
from loadpath.replay import run_kernels
from loadpath.replay.scenarios import lay_out_scenarios
from loadpath.replay.threads import in_threads
from loadpath.replay.timeline import TimeArray, Timeline, replay, step_time_ns

__all__ = ["Change", "Mixture", "replay_changes", "replay_runs"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Int32Array = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Mixture:
    """A scenario that takes some ops as measured and the others as in an ideal run.

    Attributes
    ----------
    measured : (n_op,) array of bool
        Ops that work as measured in each run; the others work as the ideal says.
    lagged : (n_op,) array of bool, optional
        Ops that keep their lag; none where left out.
    """

    measured: BoolArray
    lagged: BoolArray | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A scenario in which some ops work more or less than they did.

    Attributes
    ----------
    op : (n,) array of int32
        Which ops, none twice.
    by_ns : (n,) or (n_run, n) array of float64
        How much more each works, in ns; one row where all runs share it.
    """

    op: NDArray[np.int32]
    by_ns: FloatArray

    @classmethod
    def none(cls) -> "Change":
        """Return the scenario in which nothing changes.

        Returns
        -------
        Change
            No op and no time.
        """
        return cls(np.empty(0, np.int32), np.empty(0))


def replay_runs(
    graph: CouplingGraph,
    work_ns: TimeArray,
    ideal_ns: FloatArray,
    mixtures: Sequence[Mixture],
    *,
    lag_ns: TimeArray | None = None,
) -> FloatArray:
    """Time the steps of every run of a graph in scenarios that mix measured and ideal work.

    Runs are swept in blocks, side by side; blocks are shared out to the processors.

    Parameters
    ----------
    graph : CouplingGraph
        Graph of one run.
    work_ns : (n_run, n_op) array
        Measured work, in ns.
    ideal_ns : (n_op,) array of float64
        Work of an op that is not taken as measured, in ns.
    mixtures : sequence of Mixture
        The scenarios.
    lag_ns : (n_run, n_op) array, optional
        Delays before ops start; needed if a scenario keeps any.

    Returns
    -------
    (n_mixture, n_run, n_step) array of float64
        Step times in ns.

    Raises
    ------
    UsageError
        If shapes do not fit the graph.
    """
    _check(graph, work_ns, ideal_ns, lag_ns)
    n_run = len(work_ns)
    step_ns = np.zeros((len(mixtures), n_run, graph.step.size))
    if n_run == 1:
        for out, mixture in zip(step_ns, mixtures, strict=True):
            work = np.where(mixture.measured, work_ns[0], ideal_ns)
            keeps = mixture.lagged is not None and lag_ns is not None
            lag = np.where(mixture.lagged, lag_ns[0], 0.0) if keeps else None  # type: ignore[index,arg-type]
            out[0] = step_time_ns(graph, replay(graph, work, lag_ns=lag))
        return step_ns
    layout = _lay_out(graph)
    none = np.zeros(graph.n_op, np.bool_)
    measured = layout.masks([m.measured for m in mixtures])
    lagged = layout.masks([none if m.lagged is None else m.lagged for m in mixtures])
    ideal = np.append(ideal_ns[layout.order], 0.0)

    def sweep(first_run: int) -> None:
        out = np.empty((len(mixtures), graph.step.size, run_kernels.RUNS))
        room = layout.room()
        late = room[:0] if lag_ns is None else layout.lanes(lag_ns, first_run)
        run_kernels.sweep_runs(
            *layout.nodes,
            *(layout.ends, layout.starts, room),
            *(layout.lanes(work_ns, first_run), ideal, late),
            *(measured, lagged, out),
        )
        some = step_ns[:, first_run : first_run + run_kernels.RUNS]
        some[:] = out.transpose(0, 2, 1)[:, : some.shape[1]]

    deque(in_threads(sweep, range(0, n_run, run_kernels.RUNS), graph.n_node * n_run), maxlen=0)
    return step_ns


def replay_changes(
    graph: CouplingGraph,
    work_ns: TimeArray,
    changes: Sequence[Change],
    *,
    least_ns: float = -np.inf,
) -> FloatArray:
    """Time every run of a graph of one step in scenarios that change some ops each.

    Parameters
    ----------
    graph : CouplingGraph
        Graph of one run.
    work_ns : (n_run, n_op) array
        Work, in ns.
    changes : sequence of Change
        The scenarios.
    least_ns : float
        No changed op works less than this.

    Returns
    -------
    (n_change, n_run) array of float64
        Step times in ns.

    Raises
    ------
    UsageError
        If shapes do not fit the graph.
    """
    _check(graph, work_ns, np.zeros(graph.n_op), None)
    step_ns = np.zeros((len(changes), len(work_ns)))
    layout = _lay_out(graph)
    changed = [
        (layout.number[change.op], np.ascontiguousarray(np.atleast_2d(change.by_ns).T, np.float64))
        for change in changes
    ]
    most = max((op.size for op, _ in changed), default=0)

    def sweep(first_run: int) -> None:
        room, lanes = layout.room(), layout.lanes(work_ns, first_run)
        kept = np.empty((most, run_kernels.RUNS))
        for (op, by_ns), step in zip(changed, step_ns, strict=True):
            run_kernels.sweep_changed(
                *(*layout.nodes, layout.ends, room, lanes, kept, op, by_ns),
                *(first_run, least_ns, step),
            )

    firsts = range(0, len(work_ns), run_kernels.RUNS)
    deque(in_threads(sweep, firsts, graph.n_node * step_ns.size), maxlen=0)
    return step_ns


@dataclass(frozen=True, slots=True)
class _Layout:
    """A graph as the kernels take it, with ops in the order of their ends."""

    nodes: tuple[NDArray[Any], ...]
    n_row: int
    order: NDArray[np.intp]
    number: Int32Array
    ends: Int32Array
    starts: Int32Array

    def room(self) -> FloatArray:
        """Room for the times of live nodes."""
        return np.empty((self.n_row, run_kernels.RUNS))

    def lanes(self, value_ns: TimeArray, first_run: int) -> FloatArray:
        """Values of some runs side by side, ops in the order of their ends; (n_op + 1, RUNS)."""
        some = value_ns[first_run : first_run + run_kernels.RUNS]
        lanes = np.zeros((self.order.size + 1, run_kernels.RUNS))
        run_kernels.put_side_by_side(np.ascontiguousarray(some), self.order, lanes)
        return lanes

    def masks(self, masks: Sequence[BoolArray]) -> FloatArray:
        """(n_mask, n_op + 1) numbers 1 and 0 for masks of ops."""
        numbers = np.zeros((len(masks), self.order.size + 1))
        for row, mask in zip(numbers, masks, strict=True):
            row[:-1] = mask[self.order]
        return numbers


def _lay_out(graph: CouplingGraph) -> _Layout:
    layout = lay_out_scenarios(graph, Timeline(np.zeros(graph.n_node + 1)))
    order = np.argsort(graph.end_node)
    number = np.empty(graph.n_op, np.int32)
    number[order] = np.arange(graph.n_op)
    ends, starts = np.full((2, graph.n_node), graph.n_op, np.int32)
    ends[graph.end_node], starts[graph.start_node] = number, number
    rows = (layout.row, layout.first_row, layout.second_row, layout.overflow_row)
    stops = layout.stops
    nodes = (*rows, stops.node, stops.start, stops.begin, stops.end, graph.fixed_ns)
    return _Layout(nodes, layout.n_row, order, number, ends, starts)


def _check(
    graph: CouplingGraph, work_ns: TimeArray, ideal_ns: FloatArray, lag_ns: TimeArray | None
) -> None:
    expected = f"but the graph has {graph.n_op} ops. Pass one column per row of the op table."
    lag_shape = work_ns.shape if lag_ns is None else lag_ns.shape
    if work_ns.ndim != 2 or work_ns.shape[1] != graph.n_op or lag_shape != work_ns.shape:
        raise UsageError(f"work_ns has shape {work_ns.shape}, lag_ns {lag_shape}, {expected}")
    if ideal_ns.shape != (graph.n_op,):
        raise UsageError(f"ideal_ns has shape {ideal_ns.shape}, {expected}")
