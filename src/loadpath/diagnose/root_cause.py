r"""Root cause: every exposed wait, walked back to what made the last arriver late.

A wait is the difference of two paths that part at the last moment on which both depend: the one to
the last arriver is longer than the one to the waiter. Bubble is the part that the ideal replay has
too; the rest is shared over what lies above its ideal on the longer path, in proportion,

.. math:: a_i = x_i \min\left(1, \frac{w - b}{\sum_k x_k}\right),

and what is left over is unexplained: the waiter came early, or the paths differ in the ideal.
What delayed both paths before they part explains no wait.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose import kernels
from loadpath.diagnose.coupling_matrix import (
    BLOCK,
    CauseBlock,
    coupling_table,
    group_table,
    merged_causes,
    nonzero_causes,
)
from loadpath.diagnose.exposure import Exposure
from loadpath.diagnose.places import Places
from loadpath.diagnose.sinks import KeySums, RestSums, SinkKeys, Waits, sink_table
from loadpath.replay import Timeline

__all__ = ["WaitSums", "wait_tables", "walk_back"]

REACH = 65_536
"""Nodes that a walk may visit: it keeps the whole linear in the job; the rest is unexplained."""

FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]


class _Chains(NamedTuple):
    """What a walk reads: the tree of binding predecessors and what each node adds to it."""

    binding: NDArray[np.int32]
    time: FloatArray
    node_rank: Int32Array
    node_op: NDArray[np.int32]
    deviation: FloatArray
    lag: FloatArray
    op_step: Int64Array


class _Starts(NamedTuple):
    """Where walks begin, by column (a waiter at a communicator), and what is to be explained.

    `order` says which of the ops that wait, in their own order, each is.
    """

    op: Int64Array
    order: Int64Array
    column: Int64Array
    late: Int64Array
    own: NDArray[np.int32]
    ready: FloatArray
    exposed: FloatArray
    bubble: FloatArray


class WaitSums(NamedTuple):
    """What the walks of some steps found; those of other steps can be added.

    Attributes
    ----------
    sums : KeySums
        By pair of rank and class.
    rest : RestSums
        What they left over.
    direct, causes : CauseBlock
        Waiting beyond the bubble by the last arriver, and by the rank where the walk ends; a waiter
        is a rank at a communicator.
    """

    sums: KeySums
    rest: RestSums
    direct: CauseBlock
    causes: CauseBlock

    def plus(self, other: "WaitSums") -> "WaitSums":
        """Add what other walks found.

        Parameters
        ----------
        other : WaitSums
            Of the same ranks and classes.

        Returns
        -------
        WaitSums
            Sums of both.
        """
        return WaitSums(
            KeySums(*map(np.add, self.sums, other.sums)),
            self.rest.plus(other.rest),
            merged_causes([self.direct, other.direct]),
            merged_causes([self.causes, other.causes]),
        )


class _Found(NamedTuple):
    """What walks found: by pair of rank and class, and per wait."""

    sums: KeySums
    amount: FloatArray
    early: FloatArray
    main: Int64Array
    distance: FloatArray
    causes: list[CauseBlock]


def walk_back(
    job: CoupledJob,
    timeline: Timeline,
    deviation_ns: FloatArray | Int64Array,
    *,
    keys: SinkKeys,
    waits: tuple[Exposure, Int64Array],
    lag_ns: ArrayLike | None = None,
) -> tuple[WaitSums, Waits]:
    """Say for every exposed wait what made it.

    Parameters
    ----------
    job : CoupledJob
        Job that was replayed, or some of its steps.
    timeline : Timeline
        Its times.
    deviation_ns : (n_op,) array
        Work it was replayed with, less what each op would need, in ns.
    keys : SinkKeys
        Pairs of rank and class.
    waits : (Exposure, (n_op,) array of int64)
        What `exposed` says of this replay, and exposed waiting in the ideal one, in ns.
    lag_ns : (n_op,) array, optional
        Lag it was replayed with, in ns; none if left out.

    Returns
    -------
    WaitSums
        Sums over the waits.
    Waits
        Each exposed wait with its parts.
    """
    chains = _chains(job, timeline, deviation_ns, (lag_ns, waits[0]))
    starts = _starts(job, chains, waits[0].wait_ns, waits[1])
    found = _walk(chains, keys, starts, job.rank.height)
    each = _waits(job.rank["rank"].to_numpy(), waits[0].occupancy.places, starts, found)
    return _summed(chains, starts, found, each), each


def wait_tables(
    job: CoupledJob, keys: pl.DataFrame, summed: WaitSums
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Make the tables of what walks found.

    Parameters
    ----------
    job : CoupledJob
        Job that was walked.
    keys : polars.DataFrame
        Pairs of rank and class, of `SinkKeys`.
    summed : WaitSums
        What the walks found, in all steps.

    Returns
    -------
    sink : polars.DataFrame
        Table `SINK`, largest first; ``wait_s`` sums to the exposed wait of all ranks and steps.
        Hops are weighted by the time they explain; ``n_waits`` counts waits of any size.
    coupling : polars.DataFrame
        Table `COUPLING`, bubble left out.
    coupling_group : polars.DataFrame
        Table `COUPLING_GROUP`: the same waiting by the communicator at which it was waited.
    """
    ranks, n_group = job.rank["rank"].to_numpy(), _n_group(job)
    by_waiter, by_group = (
        [b._replace(waiter=part(b.waiter, n_group)) for b in (summed.direct, summed.causes)]
        for part in (np.floor_divide, np.remainder)
    )
    return (
        sink_table(keys, summed.sums, summed.rest),
        coupling_table(ranks, *by_waiter),
        group_table(ranks, *by_group),
    )


def _summed(chains: _Chains, starts: _Starts, found: _Found, waits: Waits) -> WaitSums:
    bubble, unexplained = waits.bubble_ns, waits.unexplained_ns
    last = chains.node_rank[starts.late].astype(np.int64)
    return WaitSums(
        found.sums,
        RestSums(
            float(bubble.sum()),
            float(unexplained.sum()),
            int(np.count_nonzero(bubble)),
            int(np.count_nonzero(unexplained)),
        ),
        merged_causes([CauseBlock(last, starts.column, starts.exposed - starts.bubble)]),
        merged_causes(found.causes),
    )


def _n_group(job: CoupledJob) -> int:
    """Count the communicators, and none at all as the first."""
    return int(job.op["communicator"].max() or 0) + 2  # type: ignore[arg-type]


def _chains(
    job: CoupledJob,
    timeline: Timeline,
    deviation_ns: FloatArray | Int64Array,
    further: tuple[ArrayLike | None, Exposure],
) -> _Chains:
    """Put work beyond the ideal on nodes; `further` is lag, and what is exposed."""
    graph = job.graph
    lag_ns, exposure = further
    places = exposure.occupancy.places
    deviation = np.zeros(graph.n_node)
    deviation[graph.end_node] = deviation_ns
    lag = np.zeros(graph.n_node)
    if lag_ns is not None:
        lag[graph.start_node] = lag_ns
    return _Chains(
        exposure.binding,
        timeline.time_ns.astype(np.float64),
        places.node_rank,
        graph.op,
        deviation,
        lag,
        places.step,
    )


def _starts(
    job: CoupledJob, chains: _Chains, wait_ns: Int64Array, ideal_wait_ns: Int64Array
) -> _Starts:
    """Begin each walk at the last arriver: behind the synchronisation, or what a host waits for."""
    graph = job.graph
    op = np.flatnonzero(wait_ns)
    waiter = chains.node_rank[graph.end_node[op]].astype(np.int64)
    column = waiter * _n_group(job) + job.op["communicator"].to_numpy()[op] + 1
    order = _stable_order(column)
    op = op[order]
    end = graph.end_node[op]
    late = chains.binding[end].astype(np.int64) - 1
    through_sync = chains.node_rank[late] < 0
    late[through_sync] = chains.binding[late[through_sync]] - 1
    return _Starts(
        op,
        order,
        column[order],
        late,
        graph.start_node[op],
        chains.time[chains.binding[end]],
        wait_ns[op].astype(np.float64),
        np.minimum(wait_ns[op], ideal_wait_ns[op]).astype(np.float64),
    )


def _stable_order(column: Int64Array) -> NDArray[np.intp]:
    """Order entries by column; numbers of two bytes are sorted by their digits, in one pass."""
    is_small = int(column.max(initial=0)) < 1 << 15
    return np.argsort(column.astype(np.int16) if is_small else column, kind="stable")


def _walk(chains: _Chains, keys: SinkKeys, starts: _Starts, n_rank: int) -> _Found:
    """Walk all waits, a block of columns at a time, so that the matrix stays small."""
    n_wait, n_key = starts.op.size, keys.keys.height
    found = _Found(
        KeySums(np.zeros((2, n_key)), np.zeros((2, n_key)), np.zeros((2, n_key), np.int64)),
        np.zeros((n_wait, 3)),
        np.zeros(n_wait),
        np.stack([np.full(n_wait, -1), *np.zeros((3, n_wait), np.int64)]),
        np.zeros(n_wait),
        [],
    )
    begins = np.diff(starts.column, prepend=-1) > 0
    columns, number = starts.column[begins], np.cumsum(begins) - 1
    for first in range(0, max(columns.size, 1), BLOCK):
        low, high = np.searchsorted(number, (first, first + BLOCK))
        cut = slice(int(low), int(high))
        matrix = np.zeros((n_rank, min(BLOCK, columns.size - first)))
        kernels.walk_chains(
            *chains,
            *(keys.key, keys.is_transfer),
            starts.op[cut],
            number[cut] - first,
            starts.late[cut],
            starts.own[cut],
            starts.ready[cut],
            (starts.exposed - starts.bubble)[cut],
            REACH,
            *found.sums,
            matrix,
            found.amount[cut],
            found.early[cut],
            *found.main[:, cut],
            found.distance[cut],
        )
        found.causes.append(nonzero_causes(matrix, columns[first : first + BLOCK]))
    return found


def _waits(rank: NDArray[np.int32], places: Places, starts: _Starts, found: _Found) -> Waits:
    """Put waits in the order of their ops, and excess of transfers apart from that of work."""
    rank = rank.astype(np.int64)
    order = np.empty_like(starts.order)
    order[starts.order] = np.arange(order.size)
    left = starts.exposed - starts.bubble
    sink_op = found.main[0]
    sink_rank = np.where(sink_op >= 0, rank[places.rank[np.maximum(sink_op, 0)]], -1)
    columns = (
        starts.op,
        starts.exposed,
        starts.bubble,
        found.amount[:, 0],
        found.amount[:, 2],
        found.amount[:, 1],
        np.maximum(left - found.amount.sum(axis=1), 0.0),
        found.early,
        rank[places.node_rank[starts.late]],
        sink_op,
        sink_rank,
        *found.main[1:],
        found.distance,
    )
    return Waits(*(column[order] for column in columns))
