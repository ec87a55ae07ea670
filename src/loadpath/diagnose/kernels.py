"""Compiled loops of diagnosis: walks along binding predecessors, the published method.

Predecessors are shifted by one, as in `CouplingGraph`: 0 is none, ``u + 1`` is node ``u``.
"""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = [
    "last_ends",
    "mark_path",
    "path_parts",
    "published_lag",
    "published_work",
    "walk_chains",
]

SYNC, RELEASE = 3, 5
"""Of `NodeRole`: nodes that are no op's, and nodes whose latency nothing explains."""


@kernel
def walk_chains(
    binding: Any,
    time: Any,
    node_rank: Any,
    node_op: Any,
    deviation: Any,
    lag: Any,
    op_step: Any,
    op_key: Any,
    op_transfer: Any,
    wait_op: Any,
    wait_column: Any,
    late: Any,
    own: Any,
    ready: Any,
    left: Any,
    reach: int,
    key_amount: Any,
    key_hops: Any,
    key_waits: Any,
    transitive: Any,
    wait_amount: Any,
    wait_early: Any,
    main_op: Any,
    main_hops: Any,
    main_ranks: Any,
    main_steps: Any,
    main_distance: Any,
) -> None:
    """Share the time left of each wait over what delayed the last arriver since the two chains met.

    The chain of binding predecessors of ``late[w]`` (last arrival) and of ``own[w]`` (arrival of
    the waiter) form a tree; walking back the later one of the two until they meet finds the last
    moment that both depend on. What lies behind delays both alike. `deviation` and `lag`
    (n_node,) are work beyond the ideal and lag of each node. Keys are groups of sinks: rows 0
    of `key_amount`, `key_hops`, `key_waits` (2, n_key) count excess, rows 1 lag. `wait_amount`
    (n_wait, 3) is what each wait owes to excess, lag and transfer excess.
    """
    seen_key = np.full(key_amount.shape, -1, np.int64)
    seen_rank = np.full(transitive.shape[0], -1, np.int64)
    for w in range(wait_op.size):
        a = late[w]
        b = own[w]
        last_a = -1
        last_b = -1
        total = 0.0
        early = 0.0
        for _ in range(reach):
            if a == b:
                break
            if a > b:
                total += max(0.0, deviation[a]) + lag[a]
                last_a = a
                a = binding[a] - 1
            else:
                early += max(0.0, -deviation[b])
                last_b = b
                b = binding[b] - 1
        shared = 0.0
        if a == b and a >= 0 and node_rank[a] < 0 and last_a >= 0 and last_b >= 0:
            shared = max(0.0, min(deviation[last_a], deviation[last_b]))
        total -= shared
        share = min(1.0, left[w] / total) if total > 0.0 else 0.0
        rank = node_rank[own[w]]
        hops = 0
        n_rank = 0
        most = 0.0
        v = late[w]
        while v != a:
            r = node_rank[v]
            if r >= 0:
                if r != rank:
                    hops += 1
                    rank = r
                if seen_rank[r] != w:
                    seen_rank[r] = w
                    n_rank += 1
                i = node_op[v]
                key = op_key[i]
                excess = max(0.0, deviation[v]) - (shared if v == last_a else 0.0)
                for kind in range(2):
                    amount = share * (lag[v] if kind else excess)
                    if amount <= 0.0:
                        continue
                    key_amount[kind, key] += amount
                    key_hops[kind, key] += amount * hops
                    if seen_key[kind, key] != w:
                        seen_key[kind, key] = w
                        key_waits[kind, key] += 1
                    transitive[r, wait_column[w]] += amount
                    wait_amount[w, 2 if kind == 0 and op_transfer[i] else kind] += amount
                    if amount > most:
                        most = amount
                        main_op[w] = i
                        main_hops[w] = hops
                        main_ranks[w] = n_rank
                        main_steps[w] = op_step[wait_op[w]] - op_step[i]
                        main_distance[w] = ready[w] - time[v + 1]
            v = binding[v] - 1
        rest = left[w] - (wait_amount[w, 0] + wait_amount[w, 1] + wait_amount[w, 2])
        wait_early[w] = min(early, max(0.0, rest))


@kernel
def last_ends(end_step_node: Any, end_step: Any, time: Any, end_node: Any) -> None:
    """Write the node at which each step ends (n_step,), filled with -1: the latest, of equals the lowest."""
    for k in range(end_step_node.size):
        v = end_step_node[k]
        u = end_node[end_step[k]]
        if u < 0 or time[v + 1] > time[u + 1] or (time[v + 1] == time[u + 1] and v < u):
            end_node[end_step[k]] = v


@kernel
def binds(
    v: int,
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    time: Any,
) -> Any:
    """Find the predecessor that binds one node: what `last_predecessor` finds for all."""
    best = first[v]
    other = second[v]
    if other != 0 and (
        best == 0 or time[other] > time[best] or (time[other] == time[best] and other < best)
    ):
        best = other
    q = np.searchsorted(overflow_node, v)
    if q < overflow_node.size and overflow_node[q] == v:
        for k in range(overflow_start[q], overflow_start[q + 1]):
            other = overflow_pred[k]
            if time[other] > time[best] or (time[other] == time[best] and other < best):
                best = other
    return best


@kernel
def mark_path(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    time: Any,
    end_node: Any,
    begin: Any,
    marked: Any,
) -> None:
    """Mark the nodes (n_node,) of the critical path of each step, back to where the step begins."""
    for s in range(end_node.size):
        v = end_node[s]
        while v >= 0 and time[v + 1] > begin[s]:
            marked[v] = True
            u = binds(v, first, second, overflow_node, overflow_start, overflow_pred, time)
            v = np.int64(u) - 1


@kernel
def path_parts(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    time: Any,
    end_node: Any,
    begin: Any,
    node_op: Any,
    role: Any,
    fixed: Any,
    start_node: Any,
    last_node: Any,
    work: Any,
    lag: Any,
    hidden: Any,
    is_gap: Any,
    out: Any,
) -> None:
    """Write lag, gap and length of the critical path of each step to `out` (n_step, 3).

    `role` (n_node,) is that of `NodeRole`: the latency of a release counts as lag. Lag of an op
    stands at its first node and passes first, without what is `hidden` of it; its work stands at its
    last node (`last_node`), and is a gap where `is_gap`.
    """
    for s in range(end_node.size):
        v = end_node[s]
        out[s, 2] = time[v + 1] - begin[s]
        while v >= 0 and time[v + 1] > begin[s]:
            weight = fixed[v]
            late = fixed[v] if role[v] == RELEASE else 0
            gap = 0
            if role[v] != SYNC:
                i = node_op[v]
                if start_node[i] == v:
                    weight += lag[i]
                    late = lag[i] - hidden[i]
                if last_node[i] == v:
                    weight += work[i]
                    gap = work[i] if is_gap[i] else 0
            inside = min(weight, time[v + 1] - begin[s])
            out[s, 0] += max(0, inside - (weight - late))
            out[s, 1] += min(gap, inside)
            u = binds(v, first, second, overflow_node, overflow_start, overflow_pred, time)
            v = np.int64(u) - 1


@kernel
def published_work(
    start: Any,
    duration: Any,
    single: Any,
    member: Any,
    instance: Any,
    n_instance: int,
    op_step: Any,
    early_s: float,
    work: Any,
    step_s: Any,
) -> None:
    """Write durations and transfers (n_run, n_op) and recorded steps (n_run, n_step), in s.

    `start`, `duration` (n_run, n_op) are in ns; with `single`, sums and differences are those of
    float32. A transfer is an op's end less the latest start of its communication.
    """
    n_run, n_op = start.shape
    n_step = step_s.shape[1]
    begin = np.empty(n_op)
    end = np.empty(n_op)
    latest = np.empty(n_instance)
    first = np.empty(n_step)
    last = np.empty(n_step)
    for k in range(n_run):
        for t in range(n_step):
            first[t] = np.inf
            last[t] = -np.inf
        for i in range(n_op):
            b = start[k, i] * 1e-9
            d = duration[k, i] * 1e-9
            if single:
                b32 = np.float32(b)
                d32 = np.float32(d)
                b = np.float64(b32)
                d = np.float64(d32)
                end[i] = np.float64(np.float32(b32 + d32))
            else:
                end[i] = b + d
            begin[i] = b
            work[k, i] = d
            t = op_step[i]
            first[t] = min(first[t], b)
            last[t] = max(last[t], end[i])
        for c in range(n_instance):
            latest[c] = 0.0
        for m in range(member.size):
            latest[instance[m]] = max(latest[instance[m]], begin[member[m]])
        for m in range(member.size):
            transfer = end[member[m]] - latest[instance[m]]
            work[k, member[m]] = 0.0 if transfer <= early_s else transfer
        for t in range(n_step):
            if single:
                step_s[k, t] = np.float64(np.float32(np.float32(last[t]) - np.float32(first[t])))
            else:
                step_s[k, t] = last[t] - first[t]


@kernel
def published_lag(
    start: Any,
    duration: Any,
    arrive: Any,
    lag: Any,
    negative: Any,
    member: Any,
    instance: Any,
    n_instance: int,
    early_s: float,
    out: Any,
) -> None:
    """Write start less the latest end of what each op depends on (n_run, n_op), in s.

    An op that ended before its communication was complete has negative lag too, but began in time.
    """
    ready = np.empty(n_instance, np.int64)
    for k in range(start.shape[0]):
        for c in range(n_instance):
            ready[c] = 0
        for i in range(start.shape[1]):
            delay = (lag[k, i] - negative[k, i]) / 1e9
            out[k, i] = 0.0 if delay <= early_s else delay
        for m in range(member.size):
            ready[instance[m]] = max(ready[instance[m]], arrive[k, member[m]])
        for m in range(member.size):
            i = member[m]
            outlasts = max(ready[instance[m]] - (start[k, i] + duration[k, i]), 0)
            delay = (lag[k, i] - (negative[k, i] - outlasts)) / 1e9
            out[k, i] = 0.0 if delay <= early_s else delay
