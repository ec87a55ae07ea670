"""Compiled loops over moments: what each rank does when, and what its next work depends on."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel
from loadpath.diagnose.group_kernels import settle, sort_by

__all__ = ["goes_before", "mark_blocking", "op_times", "sum_windows", "sweep_groups"]

COMPUTE, TRANSFER, WAIT = 0, 2, 3
"""Parts of a rank's time, as in `loadpath.diagnose.places`."""


@kernel
def op_times(
    time: Any, work: Any, start_node: Any, end_node: Any, start: Any, ready: Any, end: Any
) -> None:
    """Write when each op starts, when its wait is over and when it ends (n_op,).

    `time` (n_node + 1,) is that of a replay with `work` (n_op,).
    """
    for i in range(end_node.size):
        end[i] = time[end_node[i] + 1]
        ready[i] = end[i] - work[i]
        start[i] = ready[i] if start_node[i] == end_node[i] else time[start_node[i] + 1]


@kernel
def mark_blocking(
    binding: Any,
    time: Any,
    end_step_node: Any,
    end_step: Any,
    n_step: int,
    start_node: Any,
    end_node: Any,
    node_op: Any,
    node_rank: Any,
    part: Any,
    ready: Any,
    end: Any,
    last: Any,
    marked: Any,
    later: Any,
) -> None:
    """Write 0 to `later` (n_op,) where work of the rank, or the end of its step, follows at once, else 1.

    Predecessors `binding` (n_node,) are shifted by one, as in `CouplingGraph`. Marks spread to nodes of
    the same rank that bind a marked one; `node_rank` is -1 for a synchronisation: what binds an op
    there sits elsewhere, and the op's own start is marked instead. `last`, of n_step for each rank and
    for none, and `marked` (n_node,) are room, filled with -1 and False.
    """
    for k in range(end_step_node.size):
        v = end_step_node[k]
        place = (node_rank[v] + 1) * n_step + end_step[k]
        u = last[place]
        if u < 0 or time[v + 1] > time[u + 1] or (time[v + 1] == time[u + 1] and v < u):
            last[place] = v
    for place in range(last.size):
        if last[place] >= 0:
            marked[last[place]] = True
    for i in range(part.size):
        if part[i] == COMPUTE and end[i] > ready[i]:
            marked[start_node[i]] = True
    for v in range(binding.size - 1, -1, -1):
        if not marked[v] or node_rank[v] < 0:
            continue
        marked[start_node[node_op[v]]] = True
        u = binding[v] - 1
        if u >= 0 and node_rank[u] == node_rank[v]:
            marked[u] = True
    for i in range(part.size):
        later[i] = not marked[end_node[i]]


@kernel(inline=True)
def goes_before(i: int, j: int, ops: Any, rank: Any, high: Any) -> Any:
    """Say whether interval i takes a moment that j claims too: by rank, then end and op."""
    if rank[i] != rank[j]:
        return rank[i] < rank[j]
    if high[i] != high[j]:
        return high[i] < high[j]
    return ops[i % ops.size] < ops[j % ops.size]


@kernel
def sweep_groups(
    group_start: Any,
    group_op: Any,
    start: Any,
    ready: Any,
    end: Any,
    part: Any,
    later: Any,
    group_segment: Any,
    segment_start: Any,
    segment_end: Any,
    segment_part: Any,
    segment_op: Any,
    wait: Any,
    transfer: Any,
) -> int:
    """Give each moment of each group to one op: lowest part, then `later`, end and op.

    `group_start` (n_group + 1,) and `group_op` list the ops of each group; an op waits from `start` to
    `ready` and does what `part` says until `end`, nothing where that is negative. Segments come out
    by group and time, those of group g from ``group_segment[g]`` on; returns their number, at most
    four times that of the ops. The time of waits and transfers is added up by op.
    """
    n = 0
    largest = 0
    for g in range(group_start.size - 1):
        largest = max(largest, group_start[g + 1] - group_start[g])
    low = np.empty(2 * largest, np.int64)
    high = np.empty(2 * largest, np.int64)
    rank = np.empty(2 * largest, np.int64)
    mine = np.empty(2 * largest, np.int64)
    room = np.empty(2 * largest, np.int64)
    active = np.empty(2 * largest + 1, np.int64)
    for g in range(group_start.size - 1):
        group_segment[g] = n
        n_op = group_start[g + 1] - group_start[g]
        ops = group_op[group_start[g] : group_start[g + 1]]
        m = 0
        for j in range(n_op):
            i = ops[j]
            if part[i] >= 0 and end[i] > ready[i]:
                low[j] = ready[i]
                high[j] = end[i]
                rank[j] = 2 * part[i] + later[i]
                mine[m] = j
                m += 1
        settle(low, mine[:m])
        n_work = m
        for j in range(n_op):
            i = ops[j]
            if ready[i] > start[i]:
                low[n_op + j] = start[i]
                high[n_op + j] = ready[i]
                rank[n_op + j] = 2 * WAIT + later[i]
                mine[m] = n_op + j
                m += 1
        settle(low, mine[n_work:m])
        sort_by(low, mine[:m], room)
        k = 0
        n_active = 0
        now = 0
        before = -1
        while k < m or n_active > 0:
            if n_active == 0:
                now = low[mine[k]]
            while k < m and low[mine[k]] <= now:
                active[n_active] = mine[k]
                n_active += 1
                k += 1
            best = -1
            j = 0
            while j < n_active:
                i = active[j]
                if high[i] <= now:
                    n_active -= 1
                    active[j] = active[n_active]
                    continue
                if best < 0 or goes_before(i, best, ops, rank, high):
                    best = i
                j += 1
            if best < 0:
                continue
            # it has the moment until it is over, or one that goes before it begins
            until = high[best]
            while k < m and low[mine[k]] < until:
                i = mine[k]
                if goes_before(i, best, ops, rank, high):
                    until = low[i]
                    break
                active[n_active] = i
                n_active += 1
                k += 1
            op = ops[best - n_op if best >= n_op else best]
            what = rank[best] >> 1
            if best == before and segment_end[n - 1] == now:
                segment_end[n - 1] = until
            else:
                segment_start[n] = now
                segment_end[n] = until
                segment_part[n] = what
                segment_op[n] = op
                n += 1
                before = best
            if what == WAIT:
                wait[op] += until - now
            elif what == TRANSFER:
                transfer[op] += until - now
            now = until
    group_segment[group_start.size - 1] = n
    return n


@kernel
def sum_windows(
    group_segment: Any,
    segment_start: Any,
    segment_end: Any,
    segment_part: Any,
    window_group: Any,
    window_begin: Any,
    window_end: Any,
    total: Any,
) -> None:
    """Add the time of each part within each window of a group to `total` (n_window, n_part)."""
    for w in range(window_group.size):
        low = group_segment[window_group[w]]
        stop = group_segment[window_group[w] + 1]
        high = stop
        while low < high:
            middle = (low + high) // 2
            if segment_end[middle] <= window_begin[w]:
                low = middle + 1
            else:
                high = middle
        for k in range(low, stop):
            if segment_start[k] >= window_end[w]:
                break
            inside = min(segment_end[k], window_end[w]) - max(segment_start[k], window_begin[w])
            total[w, segment_part[k]] += inside
