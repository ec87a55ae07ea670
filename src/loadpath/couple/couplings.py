"""Read the couplings of ops back off a numbered graph."""

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.graph import (
    Coupling,
    CouplingGraph,
    EdgeKind,
    Int32Array,
    Int64Array,
    NodeRole,
    UInt8Array,
)

__all__ = ["couplings_of"]

BoolArray = NDArray[np.bool_]


def couplings_of(graph: CouplingGraph) -> Coupling:
    """Give the couplings that a graph was built of.

    Parameters
    ----------
    graph : CouplingGraph
        What `build_graph` made.

    Returns
    -------
    Coupling
        Equal to the one given to `build_graph`, but for the order of its edges.
    """
    edges = _node_edges(graph)
    op = graph.op
    edge_source, edge_target, edge_kind, latency = _op_edges(graph, *edges)
    member_op, member_instance, contributes, waits = _members(graph, *edges)
    release = np.flatnonzero(graph.role == NodeRole.RELEASE)
    return Coupling(
        n_op=graph.n_op,
        edge_source=edge_source,
        edge_target=edge_target,
        edge_kind=edge_kind,
        member_op=member_op,
        member_instance=member_instance,
        member_contributes=contributes,
        member_waits=waits,
        begin_op=op[graph.begin_node],
        begin_step=graph.step[graph.begin_step],
        end_op=op[graph.end_step_node],
        end_step=graph.step[graph.end_step],
        release_op=op[release],
        release_ns=graph.fixed_ns[release],
        launch_latency_ns=latency,
    )


def _op_edges(
    graph: CouplingGraph, source: Int32Array, target: Int32Array, kind: UInt8Array
) -> tuple[Int32Array, Int32Array, UInt8Array, Int64Array]:
    """Edges between ops, those through launch nodes joined; and the latency of each op's launch."""
    op, role = graph.op, graph.role
    plain = (kind < EdgeKind.MEMBER) & (kind != EdgeKind.LAUNCH)
    launched = (kind == EdgeKind.LAUNCH) & (role[source] == NodeRole.LAUNCH)
    called = (kind == EdgeKind.LAUNCH) & (role[target] == NodeRole.LAUNCH)
    through = source[launched]
    caller = np.zeros(graph.n_node, np.int32)
    caller[target[called]] = op[source[called]]
    latency = np.zeros(graph.n_op, np.int64)
    latency[op[target[launched]]] = graph.fixed_ns[through]
    return (
        np.concatenate([op[source[plain]], caller[through]]),
        np.concatenate([op[target[plain]], op[target[launched]]]),
        np.concatenate([kind[plain], kind[launched]]),
        latency,
    )


def _node_edges(graph: CouplingGraph) -> tuple[Int32Array, Int32Array, UInt8Array]:
    """Edges between nodes, as pairs of node ids."""
    node = np.arange(graph.n_node, dtype=np.int32)
    further = np.repeat(graph.overflow_node, np.diff(graph.overflow_start))
    source = np.concatenate([graph.first, graph.second, graph.overflow_pred]) - np.int32(1)
    target = np.concatenate([node, node, further])
    kind = np.concatenate([graph.first_kind, graph.second_kind, graph.overflow_kind])
    there = source >= 0
    return source[there], target[there], kind[there]


def _members(
    graph: CouplingGraph, source: Int32Array, target: Int32Array, kind: UInt8Array
) -> tuple[Int32Array, Int32Array, BoolArray, BoolArray]:
    """Parts of ops in communications, by op and instance: op, instance, whether it contributes, waits."""
    gives, takes = kind == EdgeKind.MEMBER, kind == EdgeKind.SYNC
    n_instance = int(graph.op[graph.role == NodeRole.SYNC].max(initial=-1)) + 1
    key_of = [
        graph.op[ops].astype(np.int64) * n_instance + graph.op[sync]
        for ops, sync in ((source[gives], target[gives]), (target[takes], source[takes]))
    ]
    key = np.unique(np.concatenate(key_of))
    op, instance = (part.astype(np.int32) for part in divmod(key, max(n_instance, 1)))
    return op, instance, np.isin(key, key_of[0]), np.isin(key, key_of[1])
