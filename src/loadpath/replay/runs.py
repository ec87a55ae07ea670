"""Many runs of one graph side by side: every step of a job whose steps are coupled alike."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.graph import CouplingGraph
from loadpath.errors import UsageError
from loadpath.replay import run_kernels
from loadpath.replay.timeline import TimeArray, kernel_edges, replay, step_time_ns

__all__ = ["Change", "Mixture", "replay_changes", "replay_runs"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


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
    work_ns: FloatArray,
    ideal_ns: FloatArray,
    mixtures: Sequence[Mixture],
    *,
    lag_ns: FloatArray | None = None,
) -> FloatArray:
    """Time the steps of every run of a graph in scenarios that mix measured and ideal work.

    Runs are swept in blocks, side by side; blocks are shared out to the processors.

    Parameters
    ----------
    graph : CouplingGraph
        Graph of one run.
    work_ns : (n_run, n_op) array of float64
        Measured work, in ns.
    ideal_ns : (n_op,) array of float64
        Work of an op that is not taken as measured, in ns.
    mixtures : sequence of Mixture
        The scenarios.
    lag_ns : (n_run, n_op) array of float64, optional
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
            lagged = mixture.lagged is not None and lag_ns is not None
            lag = np.where(mixture.lagged, lag_ns[0], 0.0) if lagged else None  # type: ignore[index,arg-type]
            out[0] = step_time_ns(graph, replay(graph, work, lag_ns=lag))
        return step_ns
    none = np.zeros(graph.n_op, np.bool_)
    measured = np.array([m.measured for m in mixtures]).reshape(len(mixtures), graph.n_op)
    lagged_ops = np.array([none if m.lagged is None else m.lagged for m in mixtures])
    lag = np.zeros((1, graph.n_op)) if lag_ns is None else lag_ns
    ends, starts = _ops_of_nodes(graph)

    def sweep(first_run: int) -> None:
        run_kernels.sweep_runs(
            *kernel_edges(graph),
            *(graph.fixed_ns, ends, starts),
            *(graph.begin_node, graph.begin_step, graph.end_step_node, graph.end_step),
            *(work_ns, ideal_ns, lag, measured, lagged_ops.reshape(measured.shape)),
            *(first_run, step_ns),
        )

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(sweep, range(0, n_run, run_kernels.RUNS)))
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
    ends, _ = _ops_of_nodes(graph)
    rows = [np.ascontiguousarray(np.atleast_2d(change.by_ns)) for change in changes]

    def sweep(first_run: int) -> None:
        lanes = np.zeros((graph.n_op, run_kernels.RUNS))
        some = work_ns[first_run : first_run + run_kernels.RUNS]
        lanes[:, : len(some)] = some.T
        for change, by_ns, out in zip(changes, rows, step_ns, strict=True):
            run_kernels.sweep_changed(
                *kernel_edges(graph),
                *(graph.fixed_ns, ends, graph.begin_node, graph.end_step_node),
                *(lanes, change.op, by_ns, least_ns, first_run, out),
            )

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(sweep, range(0, len(work_ns), run_kernels.RUNS)))
    return step_ns


def _ops_of_nodes(graph: CouplingGraph) -> NDArray[np.int32]:
    """(2, n_node): the op that each node ends, and the one that it starts; -1 for none."""
    ends, starts = both = np.full((2, graph.n_node), -1, np.int32)
    ends[graph.end_node] = starts[graph.start_node] = np.arange(graph.n_op, dtype=np.int32)
    return both


def _check(
    graph: CouplingGraph, work_ns: TimeArray, ideal_ns: FloatArray, lag_ns: FloatArray | None
) -> None:
    expected = f"but the graph has {graph.n_op} ops. Pass one column per row of the op table."
    lag_shape = work_ns.shape if lag_ns is None else lag_ns.shape
    if work_ns.ndim != 2 or work_ns.shape[1] != graph.n_op or lag_shape != work_ns.shape:
        raise UsageError(f"work_ns has shape {work_ns.shape}, lag_ns {lag_shape}, {expected}")
    if ideal_ns.shape != (graph.n_op,):
        raise UsageError(f"ideal_ns has shape {ideal_ns.shape}, {expected}")
