"""Compiled walk along a service order: who followed whom on each processor and interface."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = [
    "ARRIVAL",
    "CLEAR",
    "COMPUTE",
    "DRAIN",
    "GAP_IN",
    "GAP_OUT",
    "INJECT",
    "PACK",
    "POST",
    "RECEIVE",
    "RELEASE",
    "SENDING",
    "STREAM",
    "TRANSIT",
    "link_served",
]

SEND, RECV, CALC = 1, 2, 3
LAUNCH, DATA, INCIDENTAL = 2, 5, 7
"""Values of `EdgeKind`."""
(
    COMPUTE, SENDING, PACK, GAP_OUT, INJECT, TRANSIT, ARRIVAL,
    STREAM, RECEIVE, GAP_IN, DRAIN, POST, RELEASE, CLEAR,
) = range(14)  # fmt: skip
"""Sorts of graph ops."""


@kernel
def _add(edges: Any, n: int, source: int, target: int, kind: int) -> Any:
    if source < 0 or target < 0:
        return n
    edges[0][n] = source
    edges[1][n] = target
    edges[2][n] = kind
    return n + 1


@kernel
def _last_of(graph_op: Any, first: int, then: int, v: int) -> Any:
    """Second of two graph ops in a row, or the first where there is no second."""
    return graph_op[then, v] if graph_op[then, v] >= 0 else graph_op[first, v]


@kernel
def _end(end: Any, i: int) -> Any:
    return end[i] if i >= 0 else np.int64(0)


@kernel
def link_served(
    ops: Any,
    ports: Any,
    required: Any,
    after_end: Any,
    after_start: Any,
    served: Any,
    graph_op: Any,
    spans: Any,
    edges: Any,
) -> Any:
    """Write the edges of the frozen graph, and the spans that depend on who came before.

    `ops` is kind, host and whether a send waits for its receive; `ports` processor, interface out
    and in, processor of the message, and how many processors and interfaces a rank has; `required`
    is starts, sources and whether a source need only start, by the op that requires; `after_end`,
    `after_start` as the simulation takes them; `served` is order, start and match; `graph_op`
    (14, n_op) the graph op of each sort, -1 for none; `spans` begin and end of graph ops; `edges`
    source, target, kind. Returns the number of edges and requirements that were not kept.
    """
    kind, host, waits = ops
    cpu, nic_out, nic_in, msg_cpu, n_cpu, n_nic = ports
    first, source_of, only_start = required
    end_first, end_next = after_end
    start_first, start_next = after_start
    order, start, match = served
    begin, end = spans
    n_op = kind.size
    n_rank = host[-1] + 1 if n_op else 0
    for v in range(n_op):
        n_rank = max(n_rank, nic_in[v] // n_nic + 1)
    last = np.full(n_rank * n_cpu, -1, np.int32)
    last_out = np.full(n_rank * n_nic, -1, np.int32)
    last_in = np.full(n_rank * n_nic, -1, np.int32)
    before = np.full(n_op, -1, np.int32)
    unmet = np.zeros(n_op, np.int32)
    for v in range(n_op):
        unmet[v] = first[v + 1] - first[v]
    taker = np.full(n_op, -1, np.int32)
    for v in range(n_op):
        if match[v] >= 0:
            taker[match[v]] = v
    posted = np.zeros(n_op, np.bool_)
    came = np.zeros(n_op, np.bool_)
    n = 0
    broken = 0
    for k in range(order.size):
        x = order[k]
        t = start[x]
        first_done = -1
        second_done = -1
        release = np.int32(-1)
        clear = np.int32(-1)
        p = np.int64(0)
        q = np.int64(0)
        if x >= n_op:
            v = x - n_op
            mine = graph_op[STREAM, v]
            arrival = graph_op[ARRIVAL, v]
            p = msg_cpu[v]
            c = last[p]
            m = last_in[nic_in[v]]
            n = _add(edges, n, graph_op[TRANSIT, v], arrival, DATA)
            n = _add(edges, n, c, mine, INCIDENTAL)
            n = _add(edges, n, m, mine, INCIDENTAL)
            n = _add(edges, n, mine, graph_op[RECEIVE, v], DATA)
            begin[mine] = max(_end(end, c), _end(end, m))
            gap = graph_op[GAP_IN, v]
            if gap >= 0:
                n = _add(edges, n, arrival, gap, DATA)
                n = _add(edges, n, c, gap, INCIDENTAL)
                n = _add(edges, n, m, gap, INCIDENTAL)
                n = _add(edges, n, gap, graph_op[DRAIN, v], DATA)
                last_in[nic_in[v]] = _last_of(graph_op, GAP_IN, DRAIN, v)
            last[p] = graph_op[RECEIVE, v]
            came[v] = True
            r = taker[v]
            if r >= 0 and posted[r]:
                second_done = r
                if waits[v]:
                    first_done = v
                    release = graph_op[RELEASE, v]
                    clear = graph_op[CLEAR, v]
                    p = cpu[v]
                    q = nic_out[v]
                    n = _add(edges, n, arrival, clear, DATA)
                    n = _add(edges, n, c, clear, INCIDENTAL)
                    n = _add(edges, n, m, clear, INCIDENTAL)
        else:
            v = x
            mine = graph_op[COMPUTE, v]
            c = last[cpu[v]]
            if kind[v] == SEND:
                mine = graph_op[SENDING, v]
            elif kind[v] == RECV:
                mine = graph_op[POST, v]
                c = before[v]
            for e in range(first[v], first[v + 1]):
                u = source_of[e]
                near = np.int64(graph_op[COMPUTE, u])
                far = np.int64(-1)
                if kind[u] == SEND:
                    near = np.int64(graph_op[SENDING, u])
                    if waits[u] and not only_start[e]:
                        near = np.int64(graph_op[RELEASE, u])
                    elif not only_start[e]:
                        near = np.int64(_last_of(graph_op, SENDING, PACK, u))
                elif kind[u] == RECV:
                    near = np.int64(graph_op[POST, u])
                    if not only_start[e]:
                        far = np.int64(graph_op[RECEIVE, match[u]])
                for s in (near, far):
                    if s < 0:
                        continue
                    if only_start[e]:
                        if begin[s] <= t:
                            n = _add(edges, n, s, mine, LAUNCH)
                        else:
                            broken += 1
                    elif end[s] <= t:
                        n = _add(edges, n, s, mine, DATA)
                        if s == c:
                            c = -1
                    else:
                        broken += 1
            n = _add(edges, n, c, mine, INCIDENTAL)
            if kind[v] == CALC:
                last[cpu[v]] = mine
                first_done = v
            elif kind[v] == SEND:
                n = _add(edges, n, last_out[nic_out[v]], mine, INCIDENTAL)
                n = _add(edges, n, mine, graph_op[GAP_OUT, v], LAUNCH)
                n = _add(edges, n, graph_op[GAP_OUT, v], graph_op[INJECT, v], DATA)
                n = _add(edges, n, mine, graph_op[TRANSIT, v], DATA)
                n = _add(edges, n, mine, graph_op[PACK, v], DATA)
                last[cpu[v]] = _last_of(graph_op, SENDING, PACK, v)
                last_out[nic_out[v]] = _last_of(graph_op, GAP_OUT, INJECT, v)
                if not waits[v]:
                    first_done = v
            else:
                posted[v] = True
                w = match[v]
                if w >= 0 and came[w]:
                    second_done = v
                    if waits[w]:
                        first_done = w
                        release = graph_op[RELEASE, w]
                        clear = graph_op[CLEAR, w]
                        p = host[w] * n_cpu + cpu[v] - host[v] * n_cpu
                        q = host[w] * n_nic + nic_out[v] - host[v] * n_nic
                        n = _add(edges, n, mine, clear, DATA)
        if second_done >= 0 and first_done >= 0:
            n = _add(edges, n, last[p], release, INCIDENTAL)
            begin[release] = _end(end, last[p])
            end[release] = max(begin[release], t)
            last[p] = release
            n = _add(edges, n, last_out[q], clear, INCIDENTAL)
            begin[clear] = max(_end(end, last_out[q]), t)
            end[clear] = begin[clear]
            last_out[q] = clear
        if x < n_op:
            for e in range(start_first[x], start_first[x + 1]):
                d = start_next[e]
                unmet[d] -= 1
                if unmet[d] == 0:
                    before[d] = last[cpu[d]]
        for i in range(2):
            f = first_done if i == 0 else second_done
            if f >= 0:
                for e in range(end_first[f], end_first[f + 1]):
                    d = end_next[e]
                    unmet[d] -= 1
                    if unmet[d] == 0:
                        before[d] = last[cpu[d]]
    return n, broken
