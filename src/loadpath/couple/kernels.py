"""Compiled loops of coupling: sorting edges, numbering nodes, measuring arrivals and lags."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

SYNC = 3
"""`NodeRole.SYNC`; nodes of this role carry the number of a communication, not of an op."""


def group_by_key(key: Any, n_key: int) -> Any:
    """Sort positions by key, stably: (n_key + 1,) starts and (n,) positions, both int64."""
    start = np.zeros(n_key + 1, np.int64)
    order = np.empty(key.size, np.int64)
    _group_by_key(key, n_key, start, order)
    return start, order


@kernel
def _group_by_key(key: Any, n_key: int, start: Any, order: Any) -> None:
    for i in range(key.size):
        start[key[i] + 1] += 1
    for k in range(n_key):
        start[k + 1] += start[k]
    fill = start[:-1].copy()
    for i in range(key.size):
        order[fill[key[i]]] = i
        fill[key[i]] += 1


def breadth_first_order(n_node: int, target: Any, start: Any, order: Any) -> Any:
    """Kahn's numbering, first in first out.

    `start` and `order` group the edges by source. Returns the nodes in topological order (int32,
    n_node entries of which the first `n_done` are set), `n_done`, and the count of unmet
    predecessors of each node (positive on and behind cycles).
    """
    unmet = np.zeros(n_node, np.int32)
    queue = np.empty(n_node, np.int32)
    return queue, _breadth_first_order(n_node, target, start, order, unmet, queue), unmet


@kernel
def _breadth_first_order(
    n_node: int, target: Any, start: Any, order: Any, unmet: Any, queue: Any
) -> int:
    for e in range(target.size):
        unmet[target[e]] += 1
    n_queued = 0
    for v in range(n_node):
        if unmet[v] == 0:
            queue[n_queued] = v
            n_queued += 1
    n_done = 0
    while n_done < n_queued:
        u = queue[n_done]
        n_done += 1
        for k in range(start[u], start[u + 1]):
            v = target[order[k]]
            unmet[v] -= 1
            if unmet[v] == 0:
                queue[n_queued] = v
                n_queued += 1
    return n_done


@kernel
def one_cycle(source: Any, unmet: Any, start: Any, order: Any) -> Any:
    """Nodes of one cycle among nodes with unmet predecessors; edges are grouped by target."""
    n_node = unmet.size
    seen = np.full(n_node, -1, np.int64)
    trail = np.empty(n_node, np.int32)
    v = 0
    while unmet[v] <= 0:
        v += 1
    n = 0
    while seen[v] < 0:
        seen[v] = n
        trail[n] = v
        n += 1
        for k in range(start[v], start[v + 1]):
            u = source[order[k]]
            if unmet[u] > 0:
                v = u
                break
    return trail[seen[v] : n][::-1].copy()


def pack_predecessors(number: Any, source: Any, kind: Any, start: Any, order: Any) -> Any:
    """Lay out predecessors by topological number: two fixed ones and an overflow.

    `number` maps nodes to topological numbers; `start`, `order` group the edges by target.
    Predecessors are shifted by one; 0 is the root.
    """
    n_node = number.size
    beyond = np.diff(start) - 2
    n_over = np.count_nonzero(beyond > 0)
    n_more = int(beyond.sum(where=beyond > 0))
    packed = (
        np.zeros(n_node, np.int32),
        np.zeros(n_node, np.int32),
        np.full(n_node, 11, np.uint8),
        np.full(n_node, 11, np.uint8),
        np.empty(n_over, np.int32),
        np.zeros(n_over + 1, np.int64),
        np.empty(n_more, np.int32),
        np.empty(n_more, np.uint8),
    )
    _pack_predecessors(number, source, kind, start, order, *packed)
    return packed


@kernel
def _pack_predecessors(
    number: Any,
    source: Any,
    kind: Any,
    start: Any,
    order: Any,
    first: Any,
    second: Any,
    first_kind: Any,
    second_kind: Any,
    over_node: Any,
    over_start: Any,
    over_pred: Any,
    over_kind: Any,
) -> None:
    n_node = number.size
    back = np.empty(n_node, np.int32)
    for v in range(n_node):
        back[number[v]] = v
    q = 0
    filled = 0
    for w in range(n_node):
        v = back[w]
        low = start[v]
        high = start[v + 1]
        if high > low:
            first[w] = number[source[order[low]]] + 1
            first_kind[w] = kind[order[low]]
        if high > low + 1:
            second[w] = number[source[order[low + 1]]] + 1
            second_kind[w] = kind[order[low + 1]]
        if high > low + 2:
            over_node[q] = w
            for k in range(low + 2, high):
                over_pred[filled] = number[source[order[k]]] + 1
                over_kind[filled] = kind[order[k]]
                filled += 1
            q += 1
            over_start[q] = filled


@kernel
def measure_runs(
    first: Any,
    second: Any,
    over_node: Any,
    over_start: Any,
    over_pred: Any,
    role: Any,
    op: Any,
    fixed: Any,
    is_member: Any,
    op_start: Any,
    op_duration: Any,
    arrive: Any,
    work: Any,
    lag: Any,
    wait: Any,
    negative: Any,
) -> None:
    """Read arrivals, transfers, waits and lags off recorded runs of one graph.

    `op_start`, `op_duration` (n_run, n_op) are int64 ns after the first start. Each run is one
    sweep in topological order; arrive, work, lag, wait and the negative lag that was clamped are
    written to arrays of the same shape.
    """
    time = np.zeros(first.size + 1, np.int64)
    for k in range(op_start.shape[0]):
        begin = op_start[k]
        length = op_duration[k]
        for i in range(begin.size):
            arrive[k, i] = begin[i]
            wait[k, i] = 0
        q = 0
        for v in range(first.size):
            m = max(time[first[v]], time[second[v]])
            if q < over_node.size and over_node[q] == v:
                for e in range(over_start[q], over_start[q + 1]):
                    m = max(m, time[over_pred[e]])
                q += 1
            i = op[v]
            r = role[v]
            if r == 0:
                lag[k, i] = max(0, begin[i] - m)
                negative[k, i] = max(0, m - begin[i])
                work[k, i] = length[i]
                time[v + 1] = begin[i] + length[i]
            elif r == 1:
                lag[k, i] = max(0, begin[i] - m)
                negative[k, i] = max(0, m - begin[i])
                if is_member[i]:
                    arrive[k, i] = min(max(begin[i], m), begin[i] + length[i])
                time[v + 1] = arrive[k, i]
            elif r == 2:
                end = begin[i] + length[i]
                ready = min(max(m, arrive[k, i]), end)
                negative[k, i] += max(0, m - end)
                wait[k, i] = ready - arrive[k, i]
                work[k, i] = end - ready
                time[v + 1] = end
            elif r == SYNC:
                time[v + 1] = m
            else:
                time[v + 1] = m + fixed[v]


@kernel
def read_alike(start: Any, duration: Any, later: Any, earlier: Any, by: Any, exceeds: Any) -> bool:
    """Say whether each comparison of times has the same outcome in all runs.

    Of n ops, time i is the start of op i and time n + i its end; `start`, `duration` (n_run, n).
    """
    n = start.shape[1]
    time = np.empty(2 * n, np.int64)
    for k in range(start.shape[0]):
        for i in range(n):
            time[i] = start[k, i]
            time[n + i] = start[k, i] + duration[k, i]
        for c in range(later.size):
            if (time[later[c]] - time[earlier[c]] > by[c]) != exceeds[c]:
                return False
    return True
