"""Some steps of a job whose steps are coupled one by one, cut out of the others."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import kernels
from loadpath.couple.graph import CouplingGraph, EdgeKind, Int64Array, NodeRole
from loadpath.couple.job import CoupledJob
from loadpath.couple.steps import Measured

__all__ = ["cut_out"]

BoolArray = NDArray[np.bool_]
FAR = np.iinfo(np.int64).max


def cut_out(
    job: CoupledJob, kept: Int64Array, time_ns: NDArray[Any], begin_ns: NDArray[Any]
) -> tuple[CoupledJob, Int64Array]:
    """Keep some steps of a job of one graph, each of which begins as it does among all.

    Parameters
    ----------
    job : CoupledJob
        A job of one graph.
    kept : (n_kept,) array of int64
        Entries of the graph's steps, ascending.
    time_ns : (n_node + 1,) array
        When each node happens in the replay of all steps, after the root.
    begin_ns : (n_step,) array
        When each step begins in it.

    Returns
    -------
    job : CoupledJob
        The kept steps; those that follow each other stay coupled. What waited for an op that is left
        out is released when that op ended, counted from the first such moment of the step (or of
        those that follow each other), and the step begins when it did.
    op : (n_op,) array of int64
        Which ops these are.
    """
    part = _chosen(job, kept)
    op = np.flatnonzero(part.of_op >= 0)
    instance = np.flatnonzero(part.of_instance >= 0)
    graph = _cut_graph(job, part, kept, (np.asarray(time_ns, np.int64), begin_ns))
    times: dict[str, Any] = {name: getattr(job, name)[op] for name in Measured._fields}
    tables = _kept_tables(job, op, instance)
    return replace(job, graph=graph, **(tables | times)), op


class _Part(NamedTuple):
    """Stretch of steps that follow each other, for what is kept; -1 for what is left out."""

    of_op: Int64Array
    of_instance: Int64Array
    of_node: Int64Array
    of_step: Int64Array


def _chosen(job: CoupledJob, kept: Int64Array) -> _Part:
    graph = job.graph
    of_step = np.full(graph.step.size + 1, -1, np.int64)
    of_step[kept] = np.cumsum(np.diff(kept, prepend=kept[:1]) > 1)
    step = job.op["step"].to_numpy()
    place = np.searchsorted(graph.step, step)
    place[np.append(graph.step, FAR)[place] != step] = graph.step.size
    of_op = of_step[place]
    member, instance = (job.membership[name].to_numpy() for name in ("op", "instance"))
    of_instance = np.full(max(1, job.instance.height), -1, np.int64)
    met = of_op[member] >= 0
    of_instance[instance[met]] = of_op[member[met]]
    is_sync = graph.role == NodeRole.SYNC
    of_node = np.append(of_op, -1)[np.where(is_sync, -1, graph.op)]
    # who answers meets again, under a number beyond those of the table
    of_node[is_sync] = of_instance[graph.op[is_sync] % of_instance.size]
    return _Part(of_op, of_instance, of_node, of_step[:-1])


def _kept_tables(job: CoupledJob, op: Int64Array, instance: Int64Array) -> dict[str, Any]:
    number = np.full(job.n_op, -1, np.int32)
    number[op] = np.arange(op.size)
    member = number[job.membership["op"].to_numpy()]
    meets = np.full(job.instance.height, -1, np.int32)
    meets[instance] = np.arange(instance.size)
    of = meets[job.membership["instance"].to_numpy()]
    membership = job.membership.with_columns(op=pl.Series(member), instance=pl.Series(of))
    table = job.instance[instance].with_columns(
        instance=pl.Series(np.arange(instance.size, dtype=np.int32))
    )
    return {
        "op": job.op[op],
        "instance": table,
        "membership": membership.filter(pl.Series(member >= 0)),
    }


class _Edges(NamedTuple):
    """Edges between nodes, those from the root left out."""

    source: Int64Array
    target: Int64Array
    kind: NDArray[np.uint8]

    def of(self, chosen: BoolArray) -> "_Edges":
        return _Edges(self.source[chosen], self.target[chosen], self.kind[chosen])


class _Releases(NamedTuple):
    """Nodes at a fixed time: of nodes that waited for what is left out, then of first begins."""

    of_node: Int64Array
    time_ns: Int64Array
    stretch: Int64Array


def _cut_graph(
    job: CoupledJob, part: _Part, kept: Int64Array, when: tuple[Int64Array, NDArray[Any]]
) -> CouplingGraph:
    """Put releases before the nodes that are kept, which stay in their order."""
    graph, (time_ns, begin_ns) = job.graph, when
    edges = _edges_into(graph, part.of_node >= 0)
    outside = part.of_node[edges.source] < 0
    held = _held(edges.of(outside), part, time_ns)
    first = kept[(np.diff(kept, prepend=-1) > 1) & (kept > 0)]
    begun = _begun(graph, part, first, (time_ns, begin_ns))
    n_free = held.of_node.size + begun.of_node.size
    node = np.flatnonzero(part.of_node >= 0)
    number = np.full(graph.n_node, -1, np.int32)
    number[node] = np.arange(n_free, n_free + node.size)
    inside = edges.of(~outside)
    packed = _packed(
        n_free + node.size,
        np.append(number[inside.source], np.arange(held.of_node.size, dtype=np.int32)),
        np.append(number[inside.target], number[held.of_node]),
        np.append(inside.kind, np.full(held.of_node.size, EdgeKind.RELEASE, np.uint8)),
    )
    free = _Releases(*(np.concatenate(pair) for pair in zip(held, begun, strict=True)))
    later = (number[graph.begin_node] >= 0) & np.isin(graph.begin_step, np.setdiff1d(kept, first))
    return CouplingGraph(
        **(
            packed
            | _node_columns(graph, part, free, node)
            | _op_nodes(graph, part, number)
            | _bounds(graph, kept, number, (first, later, held.of_node.size))
        )
    )


def _edges_into(graph: CouplingGraph, kept: BoolArray) -> _Edges:
    """List the edges into nodes that are kept."""
    every = np.arange(graph.n_node)
    over = np.repeat(graph.overflow_node.astype(np.int64), np.diff(graph.overflow_start))
    parts = [
        (graph.first, every, graph.first_kind),
        (graph.second, every, graph.second_kind),
        (graph.overflow_pred, over, graph.overflow_kind),
    ]
    chosen = [(pred > 0) & kept[target] for pred, target, _ in parts]
    return _Edges(
        np.concatenate([p[c].astype(np.int64) - 1 for (p, _, _), c in zip(parts, chosen, strict=True)]),
        np.concatenate([t[c] for (_, t, _), c in zip(parts, chosen, strict=True)]),
        np.concatenate([k[c] for (_, _, k), c in zip(parts, chosen, strict=True)]),
    )  # fmt: skip


def _held(cut: _Edges, part: _Part, time_ns: Int64Array) -> _Releases:
    """Release what waited for nodes that are left out when the last of them happened."""
    node, place = np.unique(cut.target, return_inverse=True)
    until = np.zeros(node.size, np.int64)
    np.maximum.at(until, place, time_ns[cut.source + 1])
    return _Releases(node, until, part.of_node[node])


def _begun(
    graph: CouplingGraph, part: _Part, first: Int64Array, when: tuple[Int64Array, NDArray[Any]]
) -> _Releases:
    """Let the first step of each stretch begin on each rank when it did among all steps."""
    starts = np.isin(graph.begin_step, first)
    node, step = graph.begin_node[starts], graph.begin_step[starts]
    begun = np.maximum(when[0][node + 1], when[1][step].astype(np.int64))
    return _Releases(node.astype(np.int64), begun, part.of_step[step])


def _packed(
    n_node: int, source: NDArray[np.int32], target: NDArray[np.int32], kind: NDArray[np.uint8]
) -> dict[str, Any]:
    by_target = kernels.group_by_key(target, n_node)
    every = np.arange(n_node, dtype=np.int32)
    packed = kernels.pack_predecessors(every, source, kind, *by_target)
    names = ("first", "second", "first_kind", "second_kind")
    beyond = ("overflow_node", "overflow_start", "overflow_pred", "overflow_kind")
    return dict(zip((*names, *beyond), packed, strict=True))


def _node_columns(
    graph: CouplingGraph, part: _Part, free: _Releases, node: Int64Array
) -> dict[str, Any]:
    """Role, op and fixed time of releases and of kept nodes; times count from a stretch's first."""
    role = np.append(np.full(free.of_node.size, NodeRole.RELEASE, np.uint8), graph.role[node])
    stretch = np.append(free.stretch, part.of_node[node])
    fixed = np.append(free.time_ns, graph.fixed_ns[node])
    is_release = role == NodeRole.RELEASE
    origin = np.full(int(stretch.max(initial=-1)) + 1, FAR)
    np.minimum.at(origin, stretch[is_release], fixed[is_release])
    fixed[is_release] -= origin[stretch[is_release]]
    op, instance = (np.cumsum(of >= 0) - 1 for of in (part.of_op, part.of_instance))
    at = np.append(free.of_node, node)
    is_sync = graph.role[at] == NodeRole.SYNC
    of_op = op[np.where(is_sync, 0, graph.op[at])]
    round_, met = np.divmod(graph.op[at][is_sync], instance.size)
    of_op[is_sync] = instance[met] + round_ * np.count_nonzero(part.of_instance >= 0)
    of_op[: free.of_node.size][is_sync[: free.of_node.size]] = 0  # a meeting is not of one op
    return {"role": role, "op": of_op.astype(np.int32), "fixed_ns": fixed}


def _op_nodes(graph: CouplingGraph, part: _Part, number: NDArray[np.int32]) -> dict[str, Any]:
    kept = part.of_op >= 0
    return {
        "start_node": number[graph.start_node[kept]],
        "end_node": number[graph.end_node[kept]],
    }


def _bounds(
    graph: CouplingGraph,
    kept: Int64Array,
    number: NDArray[np.int32],
    begins: tuple[Int64Array, BoolArray, int],
) -> dict[str, Any]:
    """Where steps begin and end; those behind a gap begin at releases."""
    first, later, n_held = begins
    starts = np.isin(graph.begin_step, first)
    ends = (number[graph.end_step_node] >= 0) & np.isin(graph.end_step, kept)
    fresh = np.arange(n_held, n_held + np.count_nonzero(starts))
    step = np.append(graph.begin_step[starts], graph.begin_step[later])
    return {
        "begin_node": np.append(fresh, number[graph.begin_node[later]]).astype(np.int32),
        "begin_step": np.searchsorted(kept, step).astype(np.int32),
        "end_step_node": number[graph.end_step_node[ends]],
        "end_step": np.searchsorted(kept, graph.end_step[ends]).astype(np.int32),
        "step": graph.step[kept],
    }
