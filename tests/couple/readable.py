"""Graphs as sets of sentences that a test can read."""

import numpy as np
import polars as pl

from loadpath.couple.graph import Coupling, EdgeKind, NodeRole, build_graph
from loadpath.couple.pipeline import couple_steps
from loadpath.couple.steps import join_steps


def coupling(n_op, edges=(), members=(), *, begins=(), ends=(), releases=(), latency=None):
    """Return couplings of ops 0 ... n_op - 1.

    `edges` are (source, target, kind), `members` (op, instance) or (op, instance, contributes,
    waits), `begins` and `ends` (op, step), `releases` (op, ns).
    """
    full = [(*member, True, True)[:4] for member in members]
    return Coupling(
        n_op=n_op,
        edge_source=_column(edges, 0, np.int32),
        edge_target=_column(edges, 1, np.int32),
        edge_kind=_column(edges, 2, np.uint8),
        member_op=_column(full, 0, np.int32),
        member_instance=_column(full, 1, np.int32),
        member_contributes=_column(full, 2, np.bool_),
        member_waits=_column(full, 3, np.bool_),
        begin_op=_column(begins, 0, np.int32),
        begin_step=_column(begins, 1, np.int64),
        end_op=_column(ends, 0, np.int32),
        end_step=_column(ends, 1, np.int64),
        release_op=_column(releases, 0, np.int32),
        release_ns=_column(releases, 1, np.int64),
        launch_latency_ns=None if latency is None else np.array(latency, np.int64),
    )


def _column(rows, k, dtype):
    return np.array([row[k] for row in rows], dtype)


def predecessors(graph):
    """Return (source node, target node, kind) of all edges but those from the root."""
    found = []
    for node in range(graph.n_node):
        both = [(graph.first[node], graph.first_kind[node])]
        both.append((graph.second[node], graph.second_kind[node]))
        found += [(int(u) - 1, node, EdgeKind(k)) for u, k in both if u > 0]
    for at, node in enumerate(graph.overflow_node):
        for entry in range(graph.overflow_start[at], graph.overflow_start[at + 1]):
            source, kind = graph.overflow_pred[entry], graph.overflow_kind[entry]
            found.append((int(source) - 1, int(node), EdgeKind(kind)))
    return found


def sentences(graph):
    """Return the edges as words, such as ``work 0 > arrive 2``."""
    names = [
        f"{NodeRole(role).name.lower()} {op}" for role, op in zip(graph.role, graph.op, strict=True)
    ]
    return {f"{names[u]} > {names[v]}" for u, v, _ in predecessors(graph)}


def graph_of(*args, **kwargs):
    """Return the numbered graph of some couplings."""
    return build_graph(coupling(*args, **kwargs))


def labels(job):
    """Return a name for each op: type, number and rank (and step where it is not 0)."""
    step = pl.when(pl.col("step") != 0).then(pl.format(" step {}", "step")).otherwise(pl.lit(""))
    named = job.op.select(
        pl.format("{} {} r{}{}", pl.col("name").cast(pl.String), "sequence", "rank", step)
    )
    return named.to_series().to_list()


def orders(job):
    """Return who directly follows whom, as pairs of labels; communications are left out."""
    name = labels(job)
    graph = job.graph
    within = {NodeRole.WORK, NodeRole.ARRIVE, NodeRole.COMPLETE}
    return {
        (name[graph.op[u]], name[graph.op[v]])
        for u, v, kind in predecessors(graph)
        if {graph.role[u], graph.role[v]} <= within and kind != EdgeKind.INSIDE
    }


def meetings(job):
    """Return who meets whom: a set of sorted tuples of labels."""
    name = labels(job)
    groups = job.membership.group_by("instance", maintain_order=True).agg("op")["op"].to_list()
    return {tuple(sorted(name[op] for op in ops)) for ops in groups}


def couple_pipeline(recording):
    """Couple an op table in one graph."""
    return join_steps(couple_steps(recording))
