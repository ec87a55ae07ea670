"""Compiled loops of coupling: sorting edges, numbering nodes, measuring arrivals and lags."""

from typing import Any

import numba as nb
import numpy as np

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@nb.njit(**OPTIONS)
def group_by_key(key: Any, n_key: int) -> Any:
    """Sort positions by key, stably: (n_key + 1,) starts and (n,) positions, both int64."""
    start = np.zeros(n_key + 1, np.int64)
    for i in range(key.size):
        start[key[i] + 1] += 1
    for k in range(n_key):
        start[k + 1] += start[k]
    fill = start[:-1].copy()
    order = np.empty(key.size, np.int64)
    for i in range(key.size):
        order[fill[key[i]]] = i
        fill[key[i]] += 1
    return start, order


@nb.njit(**OPTIONS)
def breadth_first_order(n_node: int, target: Any, start: Any, order: Any) -> Any:
    """Kahn's numbering, first in first out.

    `start` and `order` group the edges by source. Returns the nodes in topological order (int32,
    n_node entries of which the first `n_done` are set), `n_done`, and the count of unmet
    predecessors of each node (positive on and behind cycles).
    """
    unmet = np.zeros(n_node, np.int32)
    for e in range(target.size):
        unmet[target[e]] += 1
    queue = np.empty(n_node, np.int32)
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
    return queue, n_done, unmet


@nb.njit(**OPTIONS)
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


@nb.njit(**OPTIONS)
def pack_predecessors(number: Any, source: Any, kind: Any, start: Any, order: Any) -> Any:
    """Lay out predecessors by topological number: two fixed ones and an overflow.

    `number` maps nodes to topological numbers; `start`, `order` group the edges by target.
    Predecessors are shifted by one; 0 is the root.
    """
    n_node = number.size
    n_more = 0
    n_over = 0
    for v in range(n_node):
        degree = start[v + 1] - start[v]
        if degree > 2:
            n_over += 1
            n_more += degree - 2
    first = np.zeros(n_node, np.int32)
    second = np.zeros(n_node, np.int32)
    first_kind = np.full(n_node, 11, np.uint8)
    second_kind = np.full(n_node, 11, np.uint8)
    over_node = np.empty(n_over, np.int32)
    over_start = np.zeros(n_over + 1, np.int64)
    over_pred = np.empty(n_more, np.int32)
    over_kind = np.empty(n_more, np.uint8)
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
    return first, second, first_kind, second_kind, over_node, over_start, over_pred, over_kind


@nb.njit(**OPTIONS)
def measure_nodes(
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
    op_end: Any,
) -> Any:
    """Read arrivals, transfers, waits and lags off a recorded timeline.

    One sweep in topological order over recorded starts and ends (int64 ns after the first start).
    Returns per op: arrive, ready, work, lag, wait, and the negative lag that was clamped.
    """
    n_op = op_start.size
    time = np.zeros(first.size + 1, np.int64)
    arrive = op_start.copy()
    ready = op_start.copy()
    work = np.zeros(n_op, np.int64)
    lag = np.zeros(n_op, np.int64)
    negative = np.zeros(n_op, np.int64)
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
            lag[i] = max(0, op_start[i] - m)
            negative[i] = max(0, m - op_start[i])
            work[i] = op_end[i] - op_start[i]
            time[v + 1] = op_end[i]
        elif r == 1:
            lag[i] = max(0, op_start[i] - m)
            negative[i] = max(0, m - op_start[i])
            if is_member[i]:
                arrive[i] = min(max(op_start[i], m), op_end[i])
            time[v + 1] = arrive[i]
        elif r == 2:
            ready[i] = min(max(m, arrive[i]), op_end[i])
            negative[i] += max(0, m - op_end[i])
            work[i] = op_end[i] - ready[i]
            time[v + 1] = op_end[i]
        elif r == 3:
            time[v + 1] = m
        else:
            time[v + 1] = m + fixed[v]
    return arrive, ready, work, lag, ready - arrive, negative
