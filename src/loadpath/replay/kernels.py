"""Compiled sweeps over a `CouplingGraph`; times and deviations are shifted by one, entry 0 is the root.

All kernels pull: a node reads its predecessors' entries, which topological numbering has already
filled. Shapes: `first`, `second` (n_node,); `time` and other entries (n_node + 1,). Predecessors
come as uint32: an unsigned index is not tested for being negative, worth 25 % of a sweep.
"""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = [
    "BLOCK",
    "bind",
    "lay_out",
    "note_stop",
    "spread_slack",
    "sweep",
    "sweep_block",
    "time_nodes",
    "wait_for_all",
    "weigh",
]

BLOCK = 32
"""Scenarios that are swept side by side; a constant, so that the compiler unrolls over it."""


@kernel
def weigh(start_node: Any, end_node: Any, lag: Any, work: Any, entry: Any) -> None:
    """Add each op's lag to its start and its work to its end, run by run; an empty `lag` is none.

    `lag`, `work` (n_run, n_op); `entry` (n_run, n_node + 1).
    """
    for k in range(entry.shape[0]):
        for i in range(lag.shape[1]):
            entry[k, start_node[i] + 1] += lag[k, i]
        for i in range(work.shape[1]):
            entry[k, end_node[i] + 1] += work[k, i]


@kernel
def sweep(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    entries: Any,
) -> None:
    """Turn weights (n_run, n_node + 1) into times, in place: the latest predecessor plus the weight."""
    for r in range(entries.shape[0]):
        entry = entries[r]
        v = 0
        for q in range(overflow_node.size + 1):
            stop = overflow_node[q] if q < overflow_node.size else first.size
            for u in range(v, stop):
                a = entry[first[u]]
                b = entry[second[u]]
                entry[u + 1] += max(a, b)
            if q < overflow_node.size:
                latest = max(entry[first[stop]], entry[second[stop]])
                for k in range(overflow_start[q], overflow_start[q + 1]):
                    latest = max(latest, entry[overflow_pred[k]])
                entry[stop + 1] += latest
            v = stop + 1


@kernel
def time_nodes(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    fixed: Any,
    start_node: Any,
    end_node: Any,
    lag: Any,
    work: Any,
    entries: Any,
) -> None:
    """Write when each node happens to `entries` (n_run, n_node + 1): `weigh`, then `sweep`.

    `fixed` (n_node,) is what nodes take themselves; run by run, so that a run stays in the caches.
    """
    for r in range(entries.shape[0]):
        row = entries[r : r + 1]
        row[0, 0] = 0
        for v in range(fixed.size):
            row[0, v + 1] = fixed[v]
        weigh(start_node, end_node, lag[r : r + 1], work[r : r + 1], row)
        sweep(first, second, overflow_node, overflow_start, overflow_pred, row)


@kernel
def bind(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    time: Any,
    binding: Any,
) -> None:
    """Write each node's latest predecessor to `binding`: lowest id of a tie, the root only if none."""
    for v in range(first.size):
        a = first[v]
        b = second[v]
        later = b != 0 and (a == 0 or time[b] > time[a] or (time[b] == time[a] and b < a))
        binding[v] = b if later else a
    for q in range(overflow_node.size):
        best = binding[overflow_node[q]]
        for k in range(overflow_start[q], overflow_start[q + 1]):
            u = overflow_pred[k]
            if time[u] > time[best] or (time[u] == time[best] and u < best):
                best = u
        binding[overflow_node[q]] = best


@kernel
def spread_slack(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    time: Any,
    slack: Any,
) -> None:
    """Lower `slack` (n_node + 1,), in place, to what the successors of each node leave it."""
    q = overflow_node.size - 1
    for v in range(first.size - 1, -1, -1):
        a = first[v]
        b = second[v]
        ready = max(time[a], time[b])
        overflows = q >= 0 and overflow_node[q] == v
        if overflows:
            for k in range(overflow_start[q], overflow_start[q + 1]):
                ready = max(ready, time[overflow_pred[k]])
            for k in range(overflow_start[q], overflow_start[q + 1]):
                u = overflow_pred[k]
                slack[u] = min(slack[u], slack[v + 1] + (ready - time[u]))
            q -= 1
        slack[a] = min(slack[a], slack[v + 1] + (ready - time[a]))
        slack[b] = min(slack[b], slack[v + 1] + (ready - time[b]))


def lay_out(edges: Any, time: Any) -> Any:
    """Give each entry a row that it holds until its last successor is done, and each edge its slack.

    A node's row is taken before its predecessors' rows are freed: a sweep that reads and writes
    the same row would not vectorise. `edges` are first and second predecessors, then nodes, starts
    and predecessors of the overflow. Returns the number of rows (row 0 is the root's), the rows of
    entries, of `first`, `second` and overflow predecessors, and the slacks of these three.
    """
    n_node, n_over = edges[0].size, edges[4].size
    sizes = (n_node, n_node, n_over)
    laid = (
        np.zeros(n_node + 1, np.int32),
        *(np.empty(size, np.int32) for size in sizes),
        *(np.empty(size, np.float32) for size in sizes),
    )
    n_row = _lay_out(*edges, time, *laid)
    return n_row, *laid


@kernel
def _lay_out(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    time: Any,
    row: Any,
    first_row: Any,
    second_row: Any,
    overflow_row: Any,
    first_slack: Any,
    second_slack: Any,
    overflow_slack: Any,
) -> int:
    n_node = first.size
    last = np.zeros(n_node + 1, np.int32)
    q = 0
    for v in range(n_node):
        last[first[v]] = v + 1
        last[second[v]] = v + 1
        if q < overflow_node.size and overflow_node[q] == v:
            for k in range(overflow_start[q], overflow_start[q + 1]):
                last[overflow_pred[k]] = v + 1
            q += 1
    last[0] = n_node + 1
    free = np.empty(n_node + 1, np.int32)
    n_free = 0
    n_row = 1
    q = 0
    for v in range(n_node):
        if n_free > 0:
            n_free -= 1
            row[v + 1] = free[n_free]
        else:
            row[v + 1] = n_row
            n_row += 1
        a = first[v]
        b = second[v]
        ready = max(time[a], time[b])
        if q < overflow_node.size and overflow_node[q] == v:
            for k in range(overflow_start[q], overflow_start[q + 1]):
                ready = max(ready, time[overflow_pred[k]])
            for k in range(overflow_start[q], overflow_start[q + 1]):
                u = overflow_pred[k]
                overflow_row[k] = row[u]
                overflow_slack[k] = ready - time[u]
                if last[u] == v + 1:
                    last[u] = 0
                    free[n_free] = row[u]
                    n_free += 1
            q += 1
        first_row[v] = row[a]
        second_row[v] = row[b]
        first_slack[v] = ready - time[a]
        second_slack[v] = ready - time[b]
        if last[a] == v + 1:
            last[a] = 0
            free[n_free] = row[a]
            n_free += 1
        if last[b] == v + 1:
            last[b] = 0
            free[n_free] = row[b]
            n_free += 1
        if last[v + 1] == 0:
            free[n_free] = row[v + 1]
            n_free += 1
    return n_row


@kernel(inline=True)
def wait_for_all(
    stop: Any,
    o: Any,
    first_row: Any,
    second_row: Any,
    overflow_row: Any,
    first_slack: Any,
    second_slack: Any,
    overflow_slack: Any,
    further: Any,
    state: Any,
) -> None:
    """Write to row `o` the deviations of the latest of all predecessors of a stop."""
    for s in range(BLOCK):
        x = state[first_row[stop], s] - first_slack[stop]
        y = state[second_row[stop], s] - second_slack[stop]
        state[o, s] = max(x, y)
    for k in range(further[0], further[1]):
        a = overflow_row[k]
        p = overflow_slack[k]
        for s in range(BLOCK):
            x = state[a, s] - p
            y = state[o, s]
            state[o, s] = max(x, y)


@kernel(inline=True)
def note_stop(
    now: Any,
    o: Any,
    begin_step: Any,
    end_step: Any,
    rebase: Any,
    shift: Any,
    state: Any,
    begin_ns: Any,
    end_ns: Any,
) -> None:
    """Note that a stop at time `now`, whose deviations are in row `o`, may begin or end a step.

    With `rebase` all deviations are made relative to this stop's.
    """
    if begin_step >= 0:
        for s in range(BLOCK):
            x = now + shift[s] + state[o, s]
            begin_ns[begin_step, s] = min(begin_ns[begin_step, s], x)
    if end_step >= 0:
        for s in range(BLOCK):
            x = now + shift[s] + state[o, s]
            end_ns[end_step, s] = max(end_ns[end_step, s], x)
    if rebase:
        origin = state[o].copy()
        for s in range(BLOCK):
            shift[s] += origin[s]
        for k in range(state.shape[0]):
            for s in range(BLOCK):
                state[k, s] -= origin[s]


@kernel
def sweep_block(
    row: Any,
    first_row: Any,
    second_row: Any,
    overflow_row: Any,
    first_slack: Any,
    second_slack: Any,
    overflow_slack: Any,
    stop_node: Any,
    stop_start: Any,
    stop_begin: Any,
    stop_end: Any,
    stop_rebase: Any,
    delta: Any,
    group: Any,
    scale: Any,
    time: Any,
    state: Any,
    begin_ns: Any,
    end_ns: Any,
) -> None:
    """Sweep `BLOCK` scenarios as deviations from `time`: the latest of x_u - slack, plus delta.

    `state` (n_row, BLOCK) holds the live deviations, relative to `shift`, which is moved at every
    stop with `stop_rebase`: rounding then depends on the last stretch of the job, not on its
    length. `begin_ns`, `end_ns` (n_step, BLOCK) take the earliest begin and latest end per step.
    """
    shift = np.zeros(BLOCK, np.float64)
    v = 0
    for q in range(stop_node.size):
        stop = stop_node[q]
        for u in range(v, stop):
            a = first_row[u]
            b = second_row[u]
            o = row[u + 1]
            p = first_slack[u]
            r = second_slack[u]
            d = delta[u]
            g = group[u]
            for s in range(BLOCK):
                x = state[a, s] - p
                y = state[b, s] - r
                state[o, s] = max(x, y) + d * scale[g, s]
        v = stop + 1
        if stop == first_row.size:
            break
        o = row[stop + 1]
        wait_for_all(
            stop,
            o,
            first_row,
            second_row,
            overflow_row,
            first_slack,
            second_slack,
            overflow_slack,
            (stop_start[q], stop_start[q + 1]),
            state,
        )
        for s in range(BLOCK):
            state[o, s] += delta[stop] * scale[group[stop], s]
        note_stop(
            time[stop + 1],
            o,
            stop_begin[q],
            stop_end[q],
            stop_rebase[q],
            shift,
            state,
            begin_ns,
            end_ns,
        )
