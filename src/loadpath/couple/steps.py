"""A job whose steps hold the same ops: coupled once, measured in every step."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import kernels
from loadpath.couple.graph import CouplingGraph, Int64Array, NodeRole
from loadpath.couple.job import CoupledJob, Runs

__all__ = [
    "CoupledSteps",
    "Measured",
    "as_runs",
    "as_steps",
    "blocks",
    "in_halves",
    "join_steps",
    "keep_runs",
    "lay_out",
    "measure_steps",
    "windows",
]

LEAST_AT_ONCE, MOST_AT_ONCE = 1 << 15, 1 << 22
"""Ops that are laid out together."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CoupledSteps:
    """One coupled graph, and when its ops ran each time.

    Attributes
    ----------
    job : CoupledJob
        Its first run; the whole job where it does not consist of like steps.
    step : (n_run * n_step,) array of int64
        Step numbers: those of each run, in the order of the graph's.
    start_ns, duration_ns : (n_run, n_op) arrays of int64
        As recorded, in ns.
    """

    job: CoupledJob
    step: Int64Array
    start_ns: Int64Array
    duration_ns: Int64Array


class Measured(NamedTuple):
    """What recorded times say of each op of each run, as in `CoupledJob`.

    Attributes
    ----------
    arrive_ns, work_ns, lag_ns, wait_ns, negative_lag_ns : (n_run, n_op) arrays of int64
        In ns.
    """

    arrive_ns: Int64Array
    work_ns: Int64Array
    lag_ns: Int64Array
    wait_ns: Int64Array
    negative_lag_ns: Int64Array


def as_steps(job: CoupledJob) -> CoupledSteps:
    """See a job as one run of its graph.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    CoupledSteps
        The same, in arrays of one row, or of one for each run.
    """
    times = (np.atleast_2d(time) for time in (job.start_ns, job.duration_ns))
    return CoupledSteps(job, job.step_number, *times)


def as_runs(steps: CoupledSteps) -> CoupledJob:
    """Measure the runs of a job, and hold them in it.

    Parameters
    ----------
    steps : CoupledSteps
        Runs of one graph.

    Returns
    -------
    CoupledJob
        The job itself where its graph ran once.
    """
    if len(steps.start_ns) == 1:
        return steps.job
    runs = Runs(steps.step, steps.start_ns, steps.duration_ns)
    return replace(steps.job, runs=runs, **measure_steps(steps)._asdict())


def measure_steps(steps: CoupledSteps) -> Measured:
    """Read arrivals, waits, transfers and lags off every run.

    Parameters
    ----------
    steps : CoupledSteps
        Runs of one graph.

    Returns
    -------
    Measured
        Parts of the recorded time of every op.
    """
    graph = steps.job.graph
    is_member = np.zeros(steps.job.n_op, np.bool_)
    is_member[steps.job.membership["op"].to_numpy()] = True
    measured = Measured(*np.empty((5, *steps.start_ns.shape), np.int64))

    def measure(part: slice) -> None:
        kernels.measure_runs(
            *_edges(graph),
            is_member,
            steps.start_ns[part],
            steps.duration_ns[part],
            *(array[part] for array in measured),
        )

    in_halves(measure, len(steps.start_ns))
    return measured


def in_halves(work: Callable[[slice], T], n: int) -> list[T]:
    """Do the two halves of n rows side by side; compiled loops run without the interpreter.

    Parameters
    ----------
    work : callable of slice
        What to do with some of the rows.
    n : int
        Number of rows.

    Returns
    -------
    list
        What `work` returned for each half.
    """
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, (slice(0, n // 2), slice(n // 2, n))))


def _edges(graph: CouplingGraph) -> tuple[Any, ...]:
    return (
        graph.first,
        graph.second,
        graph.overflow_node,
        graph.overflow_start,
        graph.overflow_pred,
        graph.role,
        graph.op,
        graph.fixed_ns,
    )


def join_steps(steps: CoupledSteps) -> CoupledJob:
    """Lay all runs out as one job, step after step.

    Parameters
    ----------
    steps : CoupledSteps
        Runs of one graph.

    Returns
    -------
    CoupledJob
        Every op of every step, in the order of the first run.
    """
    return lay_out(as_runs(steps))


def blocks(job: CoupledJob) -> Iterator[Any]:
    """Go through the runs of a job a few at a time: what is computed of them stays in the caches.

    Parameters
    ----------
    job : CoupledJob
        A job, perhaps of several runs.

    Yields
    ------
    slice or ellipsis
        Rows of arrays that have one for each run; all of those of a job of one graph.
    """
    if job.runs is None:
        yield ...
        return
    n_run = max(1, LEAST_AT_ONCE // job.n_op)
    for low in range(0, job.n_run, n_run):
        yield slice(low, min(low + n_run, job.n_run))


def windows(job: CoupledJob, n_op: int | None = None) -> Iterator[tuple[slice, CoupledJob]]:
    """Lay out a few runs at a time; what does not change from run to run is shared.

    Parameters
    ----------
    job : CoupledJob
        A job, perhaps of several runs.
    n_op : int, optional
        About how many ops to lay out at a time, at least one run. If left out, few enough for the
        caches of a processor, but so many that what is kept of each pair of ranks costs little.

    Yields
    ------
    slice
        Which runs.
    CoupledJob
        These as a job of their own; its graph and its tables may be those of the one before, so
        that times stand in its arrays alone, not in its ops, and steps are numbered as those were.
    """
    if job.runs is None:
        yield slice(0, 1), job
        return
    if n_op is None:
        n_op = min(max(LEAST_AT_ONCE, 4 * job.rank.height**2), MOST_AT_ONCE)
    n_window = -(-job.n_run // max(1, n_op // job.n_op))
    n_run = -(-job.n_run // n_window)
    same = None
    for low in range(0, job.n_run, n_run):
        part = slice(low, min(low + n_run, job.n_run))
        if same is None or part.stop - low < n_run:
            same = lay_out(keep_runs(job, part))
        times = {name: getattr(job, name)[part].ravel() for name in Measured._fields}
        yield part, replace(same, **times)


def keep_runs(job: CoupledJob, kept: slice | NDArray[np.integer]) -> CoupledJob:
    """Keep some of the runs of a job.

    Parameters
    ----------
    job : CoupledJob
        A job of several runs; one of a single graph is returned as it is.
    kept : slice or (n_kept,) array of int
        Which ones, ascending; a job of which all are kept is returned as it is.

    Returns
    -------
    CoupledJob
        The same job with fewer steps.
    """
    if job.runs is None or (isinstance(kept, np.ndarray) and kept.size == job.n_run):
        return job
    times = {name: getattr(job, name)[kept] for name in Measured._fields}
    return replace(job, runs=Runs(*(column[kept] for column in job.runs)), **times)


def lay_out(job: CoupledJob) -> CoupledJob:
    """Lay all runs of a job out as one graph, step after step.

    Parameters
    ----------
    job : CoupledJob
        A job, perhaps of several runs.

    Returns
    -------
    CoupledJob
        Every op of every step, in the order of the first run.
    """
    runs, n_run = job.runs, job.n_run
    if runs is None:
        return job
    n_instance = job.instance.height
    shift = np.arange(n_run, dtype=np.int32)
    op = _repeated(job.op, n_run).with_columns(
        pl.Series("step", np.repeat(runs.step, job.n_op)),
        pl.Series("start_ns", runs.start_ns.ravel()),
        pl.Series("duration_ns", runs.duration_ns.ravel()),
    )
    instance = _repeated(job.instance, n_run).with_columns(
        pl.Series("instance", np.arange(n_run * n_instance, dtype=np.int32)),
        pl.Series("step", np.repeat(runs.step, n_instance)),
    )
    member = np.repeat(shift, job.membership.height)
    membership = _repeated(job.membership, n_run).with_columns(
        pl.col("op") + pl.Series(member * np.int32(job.n_op)),
        pl.col("instance") + pl.Series(member * np.int32(n_instance)),
    )
    return replace(
        job,
        op=op,
        instance=instance,
        membership=membership,
        graph=_repeat_graph(job.graph, n_instance, runs.step),
        runs=None,
        **{name: getattr(job, name).ravel() for name in Measured._fields},
    )


def _repeated(table: pl.DataFrame, n: int) -> pl.DataFrame:
    return pl.concat([table] * n, rechunk=True)


def _repeat_graph(graph: CouplingGraph, n_instance: int, step: Int64Array) -> CouplingGraph:
    """Put copies of the graph of one step behind each other, unconnected."""
    n = step.size
    of_sync = graph.role == NodeRole.SYNC
    per_op = np.where(of_sync, np.int32(n_instance), np.int32(graph.n_op))
    stride = np.int32(graph.n_node)
    further = np.int64(graph.overflow_pred.size)
    overflow_start = _shifted(graph.overflow_start[:-1], further, n)
    return CouplingGraph(
        first=_shifted(graph.first, stride * (graph.first > 0), n),
        second=_shifted(graph.second, stride * (graph.second > 0), n),
        first_kind=np.tile(graph.first_kind, n),
        second_kind=np.tile(graph.second_kind, n),
        overflow_node=_shifted(graph.overflow_node, stride, n),
        overflow_start=np.append(overflow_start, further * n),
        overflow_pred=_shifted(graph.overflow_pred, stride * (graph.overflow_pred > 0), n),
        overflow_kind=np.tile(graph.overflow_kind, n),
        role=np.tile(graph.role, n),
        op=_shifted(graph.op, per_op, n),
        start_node=_shifted(graph.start_node, stride, n),
        end_node=_shifted(graph.end_node, stride, n),
        fixed_ns=np.tile(graph.fixed_ns, n),
        begin_node=_shifted(graph.begin_node, stride, n),
        begin_step=_shifted(graph.begin_step, np.int32(1), n),
        end_step_node=_shifted(graph.end_step_node, stride, n),
        end_step=_shifted(graph.end_step, np.int32(1), n),
        step=step,
    )


def _shifted(value: Any, by: Any, n: int) -> Any:
    """N copies of `value`, each further by `by` than the one before."""
    shift = np.multiply.outer(np.arange(n, dtype=value.dtype), np.asarray(by, value.dtype))
    return (value + shift.reshape(n, -1)).ravel()
