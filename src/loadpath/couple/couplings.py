"""Read the couplings of ops back off a numbered graph."""

import numpy as np

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
    source, target, kind = _node_edges(graph)
    op, role = graph.op, graph.role
    plain = (kind < EdgeKind.MEMBER) & (kind != EdgeKind.LAUNCH)
    reached = (kind == EdgeKind.LAUNCH) & (role[source] == NodeRole.LAUNCH)
    launch_node = source[reached]
    caller = np.zeros(graph.n_node, np.int32)
    left = (kind == EdgeKind.LAUNCH) & (role[target] == NodeRole.LAUNCH)
    caller[target[left]] = op[source[left]]
    latency = np.zeros(graph.n_op, np.int64)
    latency[op[target[reached]]] = graph.fixed_ns[launch_node]
    release = np.flatnonzero(role == NodeRole.RELEASE)
    launches = np.full(launch_node.size, EdgeKind.LAUNCH, np.uint8)
    return Coupling(
        n_op=graph.n_op,
        edge_source=np.concatenate([op[source[plain]], caller[launch_node]]),
        edge_target=np.concatenate([op[target[plain]], op[target[reached]]]),
        edge_kind=np.concatenate([kind[plain], launches]),
        **_members(graph, source, target, kind),
        begin_op=op[graph.begin_node],
        begin_step=graph.step[graph.begin_step],
        end_op=op[graph.end_step_node],
        end_step=graph.step[graph.end_step],
        release_op=op[release],
        release_ns=graph.fixed_ns[release],
        launch_latency_ns=latency,
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
) -> dict[str, Int32Array | Int64Array | np.ndarray]:
    """Parts of ops in communications, by op and instance."""
    gives, takes = kind == EdgeKind.MEMBER, kind == EdgeKind.SYNC
    n_instance = int(graph.op[graph.role == NodeRole.SYNC].max(initial=-1)) + 1
    key_of = [
        graph.op[ops].astype(np.int64) * n_instance + graph.op[sync]
        for ops, sync in ((source[gives], target[gives]), (target[takes], source[takes]))
    ]
    key = np.unique(np.concatenate(key_of))
    return {
        "member_op": (key // max(n_instance, 1)).astype(np.int32),
        "member_instance": (key % max(n_instance, 1)).astype(np.int32),
        "member_contributes": np.isin(key, key_of[0]),
        "member_waits": np.isin(key, key_of[1]),
    }
