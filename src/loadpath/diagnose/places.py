"""Where ops run: ranks, clocks of steps, and what work is to its rank."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob, NodeRole
from loadpath.couple.kernels import group_by_key
from loadpath.couple.steps import windows

__all__ = [
    "COMPUTE",
    "HOST",
    "N_PART",
    "OVERHEAD",
    "TRANSFER",
    "WAIT",
    "Places",
    "find_places",
    "placed_windows",
    "rank_index",
]

COMPUTE, OVERHEAD, TRANSFER, WAIT, HOST = range(5)
"""Parts of a rank's time, in the order in which they take a moment that several claim."""

N_PART = 5
"""Number of those parts."""

Int64Array = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Int8Array = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Places:
    """Where ops run, the same in every replay of a job.

    Steps that are not coupled to each other have clocks of their own; a group is a rank on a clock.

    Attributes
    ----------
    rank : (n_op,) array of int32
        Row of the rank table.
    node_rank : (n_node,) array of int32
        The same for nodes, -1 for synchronisations.
    clock : (n_step + 1,) array of int64
        Clock of each step, and of ops outside all steps at the end.
    group : (n_op,) array of int32
        ``r * n_clock + c`` for rank r and clock c.
    part : (n_op,) array of int8
        What the op's work is to its rank: `COMPUTE`, `OVERHEAD`, `TRANSFER` or `HOST`; -1 for markers.
    group_start, group_op : (n_rank * n_clock + 1,) and (n_op,) arrays of int64
        Ops by group, those of group g from ``group_start[g]`` on, as they were recorded to start.
    step : (n_op,) array of int64
        Place of the op's step among those of the graph, whether or not it is one of them.
    """

    rank: Int32Array
    node_rank: Int32Array
    clock: Int64Array
    group: Int32Array
    part: Int8Array
    group_start: Int64Array
    group_op: Int64Array
    step: Int64Array


def find_places(job: CoupledJob) -> Places:
    """Say where ops run.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    Places
        Ranks, clocks and what work is.
    """
    graph = job.graph
    rank = rank_index(job)
    node_rank = np.full(graph.n_node, -1, np.int32)
    runs = graph.role != NodeRole.SYNC
    node_rank[runs] = rank[graph.op[runs]]
    step = _step_index(job)
    clock = _clocks(job, step)
    n_clock = int(clock.max(initial=0)) + 1
    group = rank * np.int32(n_clock) + clock.astype(np.int32)[step]
    listed = _listed(group, job.op["start_ns"].to_numpy(), job.rank.height * n_clock)
    place = np.searchsorted(graph.step, job.op["step"].to_numpy()).astype(np.int64)
    return Places(rank, node_rank, clock, group, _part_of_work(job), *listed, place)


def _listed(group: Int32Array, start_ns: Int64Array, n_group: int) -> tuple[Int64Array, Int64Array]:
    """List ops by group in the order in which they were recorded to start, near which they stay."""
    by_start = np.argsort(start_ns, kind="stable")
    first, order = group_by_key(group[by_start], n_group)
    return first, by_start[order]


def placed_windows(
    job: CoupledJob, at_once: int | None = None
) -> Iterator[tuple[slice, CoupledJob, Places]]:
    """Look at a few runs of a job at a time; where ops run is found out once for all of them.

    Parameters
    ----------
    job : CoupledJob
        A job, perhaps of several runs.
    at_once : int, optional
        How many ops to lay out together; as `windows` chooses if left out.

    Yields
    ------
    slice, CoupledJob, Places
        Which runs, these laid out as one graph, and where their ops run.
    """
    graph, places = None, None
    for part, some in windows(job, at_once):
        if places is None or some.graph is not graph:
            graph, places = some.graph, find_places(some)
        yield part, some, places


def rank_index(job: CoupledJob) -> Int32Array:
    """Say for each op which row of the rank table its rank is.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of int32
        Rows of ``job.rank``.
    """
    rank = job.rank["rank"].to_numpy()
    row = np.full(int(rank.max(initial=0)) + 1, -1, np.int32)
    row[rank] = np.arange(rank.size)
    index: Int32Array = row[job.op["rank"].to_numpy()]
    return index


def _clocks(job: CoupledJob, step_index: Int32Array) -> Int64Array:
    """Give steps that an edge crosses the same clock; `step_index` is the entry of each op."""
    graph = job.graph
    outside = graph.step.size
    step = np.full(graph.n_node, outside, np.int32)
    sync = graph.role == NodeRole.SYNC
    step[~sync] = step_index[graph.op[~sync]]
    step[sync] = step[np.maximum(graph.first[sync], 1) - 1]
    clock = np.arange(outside + 1)
    for shifted in (graph.first, graph.second):
        before = step[np.maximum(shifted, 1) - 1]
        crosses = np.flatnonzero((shifted > 0) & (before != step))
        pairs = np.unique(before[crosses].astype(np.int64) * (outside + 1) + step[crosses])
        for one, other in zip(*np.divmod(pairs, outside + 1), strict=True):
            clock[clock == clock[other]] = clock[one]
    return np.unique(clock, return_inverse=True)[1].astype(np.int64)


def _step_index(job: CoupledJob) -> Int32Array:
    """Entry of ``graph.step`` of each op; the number of steps for ops outside all."""
    step = job.op["step"].to_numpy()
    known = job.graph.step
    at = np.searchsorted(known, step).astype(np.int32)
    inside = np.concatenate([known, [step.min(initial=0) - 1]])[at] == step
    return np.where(inside, at, np.int32(known.size))


def _part_of_work(job: CoupledJob) -> Int8Array:
    """Say what an op's work is to its rank; -1 for markers."""
    kind = job.op["kind"]
    on_host = _on_host_of_device(job)
    part = np.where(on_host, HOST, COMPUTE).astype(np.int8)
    part[(job.op["mechanism"] == "overhead").to_numpy()] = OVERHEAD
    part[(kind == "communicate").to_numpy()] = TRANSFER
    part[(kind == "marker").to_numpy()] = -1
    return part


def _on_host_of_device(job: CoupledJob) -> NDArray[np.bool_]:
    """Ops on host lanes of ranks that have device lanes: such a host runs ahead of its device."""
    hosts = job.lane.filter(pl.col("kind") == "host")
    if hosts.height:
        devices = job.lane.filter(pl.col("kind") == "device")["rank"].unique()
        hosts = hosts.filter(pl.col("rank").is_in(devices.implode()))
    if hosts.is_empty():
        return np.zeros(job.n_op, np.bool_)
    rank, lane = (job.op[name].to_numpy() for name in ("rank", "lane"))
    told = [hosts[name].to_numpy() for name in ("rank", "lane")]
    shape = [
        1 + max(int(a.max()), int(b.max(initial=0)))
        for a, b in zip(told, (rank, lane), strict=True)
    ]
    on_host = np.zeros(shape, np.bool_)
    on_host[*told] = True
    return np.asarray(on_host[rank, lane])
