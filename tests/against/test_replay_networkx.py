"""Replay beside the longest path of networkx, an independent program."""

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from tests.replay.graphs import couple

from loadpath.replay import critical_path, op_end_ns, replay, step_time_ns


@pytest.mark.parametrize("seed", range(8))
def test_step_time_is_the_longest_path_through_random_ops(seed):
    rng = np.random.default_rng(seed)
    n_op = 120
    pairs = np.sort(rng.integers(0, n_op, (400, 2)), axis=1)
    edges = sorted({(int(a), int(b)) for a, b in pairs if a < b})
    work = rng.integers(1, 1000, n_op)
    other = nx.DiGraph()
    other.add_nodes_from(range(n_op))
    # networkx weighs edges: an op's work is on each edge that leaves it, and one leads to a sink
    other.add_weighted_edges_from((a, b, int(work[a])) for a, b in edges)
    other.add_weighted_edges_from((a, n_op, int(work[a])) for a in range(n_op))

    graph = couple(n_op, edges)
    timeline = replay(graph, work)
    longest = nx.dag_longest_path(other)
    assert step_time_ns(graph, timeline).tolist() == [
        nx.path_weight(other, longest, weight="weight")
    ]
    path = critical_path(graph, timeline, 0)
    ops = list(dict.fromkeys(graph.op[path].tolist()))
    assert work[ops].sum() == step_time_ns(graph, timeline)[0]
    assert all(other.has_edge(a, b) for a, b in pairwise(ops))


def test_every_op_ends_after_the_longest_path_that_leads_to_it():
    rng = np.random.default_rng(3)
    edges = [(a, b) for b in range(1, 60) for a in rng.choice(b, min(b, 4), replace=False).tolist()]
    work = rng.integers(1, 100, 60)
    other = nx.DiGraph(edges)
    graph = couple(60, edges)
    end = op_end_ns(graph, replay(graph, work))
    for op in range(60):
        before = nx.ancestors(other, op) | {op}
        part = nx.DiGraph()
        part.add_nodes_from(before)
        part.add_weighted_edges_from((a, b, int(work[a])) for a, b in edges if b in before)
        assert end[op] == nx.dag_longest_path_length(part) + work[op]
