"""Compiled sweeps over runs of one graph, side by side; as `loadpath.replay.kernels` in all else.

Times of live nodes alone are held, in the rows of a `ScenarioLayout`; sweeps halt at its stops.
`ends` and `starts` (n_node,) are the ops that nodes end and start, numbered in the order of their
ends. Nodes that end or start none have number n_op: its work is 0, so that no node is a case apart.
"""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["RUNS", "put_side_by_side", "sweep_changed", "sweep_runs"]

RUNS = 64
"""Runs of one graph that are swept side by side: live rows of twice as many would leave the nearest
cache, loops of 16 are unrolled to scalars instead."""


@kernel
def put_side_by_side(value: Any, order: Any, lanes: Any) -> None:
    """Write rows of `value` (n, n_op), at most `RUNS`, to the first columns of `lanes`.

    Row j of `lanes` (n_op + 1, RUNS) is op ``order[j]``.
    """
    for j in range(order.size):
        i = order[j]
        for r in range(value.shape[0]):
            lanes[j, r] = value[r, i]


@kernel
def sweep_runs(
    row: Any,
    first_row: Any,
    second_row: Any,
    overflow_row: Any,
    stop_node: Any,
    stop_start: Any,
    stop_begin: Any,
    stop_end: Any,
    fixed: Any,
    ends: Any,
    starts: Any,
    time: Any,
    lanes: Any,
    ideal: Any,
    late: Any,
    measured: Any,
    lagged: Any,
    step_ns: Any,
) -> None:
    """Sweep `RUNS` runs of one graph side by side in every scenario.

    `time` (n_row, RUNS) is room; `lanes`, `late` (n_op + 1, RUNS) are work and lag, `late` empty
    where no scenario keeps any; `measured`, `lagged` (n_scenario, n_op + 1) are 1 where ops work and
    start as measured, else 0. Fills `step_ns` (n_scenario, n_step, RUNS).
    """
    n_step = step_ns.shape[1]
    begin = np.empty((n_step, RUNS))
    for s in range(measured.shape[0]):
        for t in range(n_step):
            for r in range(RUNS):
                begin[t, r] = np.inf
                step_ns[s, t, r] = -np.inf
        for r in range(RUNS):
            time[0, r] = 0.0
        v = 0
        for q in range(stop_node.size):
            stop = stop_node[q]
            for u in range(v, stop):
                a = first_row[u]
                b = second_row[u]
                o = row[u + 1]
                i = ends[u]
                if measured[s, i] > 0.0:
                    w = float(fixed[u])
                    for r in range(RUNS):
                        x = time[a, r]
                        y = time[b, r]
                        time[o, r] = max(x, y) + (lanes[i, r] + w)
                else:
                    w = fixed[u] + ideal[i]
                    for r in range(RUNS):
                        x = time[a, r]
                        y = time[b, r]
                        time[o, r] = max(x, y) + w
                if late.shape[0] > 0 and lagged[s, starts[u]] > 0.0:
                    for r in range(RUNS):
                        time[o, r] += late[starts[u], r]
            v = stop + 1
            if stop == first_row.size:
                break
            o = row[stop + 1]
            i = ends[stop]
            m = measured[s, i]
            w = fixed[stop] + (1.0 - m) * ideal[i]
            for r in range(RUNS):
                x = time[first_row[stop], r]
                y = time[second_row[stop], r]
                time[o, r] = max(x, y)
            for k in range(stop_start[q], stop_start[q + 1]):
                a = overflow_row[k]
                for r in range(RUNS):
                    x = time[a, r]
                    y = time[o, r]
                    time[o, r] = max(x, y)
            for r in range(RUNS):
                time[o, r] += m * lanes[i, r] + w
            if late.shape[0] > 0 and lagged[s, starts[stop]] > 0.0:
                for r in range(RUNS):
                    time[o, r] += late[starts[stop], r]
            t = stop_begin[q]
            if t >= 0:
                for r in range(RUNS):
                    x = time[o, r]
                    begin[t, r] = min(begin[t, r], x)
            t = stop_end[q]
            if t >= 0:
                for r in range(RUNS):
                    x = time[o, r]
                    step_ns[s, t, r] = max(step_ns[s, t, r], x)
        for t in range(n_step):
            for r in range(RUNS):
                step_ns[s, t, r] -= begin[t, r]


@kernel
def sweep_changed(
    row: Any,
    first_row: Any,
    second_row: Any,
    overflow_row: Any,
    stop_node: Any,
    stop_start: Any,
    stop_begin: Any,
    stop_end: Any,
    fixed: Any,
    ends: Any,
    time: Any,
    lanes: Any,
    kept: Any,
    op: Any,
    by: Any,
    first_run: int,
    least: float,
    step_ns: Any,
) -> None:
    """Sweep `RUNS` runs of one graph of one step with the work of some ops changed.

    `time`, `lanes` as for `sweep_runs`; `kept` (n, RUNS) is room for the work of the ops `op` (n,),
    which is put back. `by` (n, n_run) is by how much it changes, in columns of all runs or in one
    for all; no changed op works less than `least`. Fills `step_ns` (n_run,) from `first_run` on.
    """
    n_run = min(RUNS, step_ns.size - first_run)
    several = 1 if by.shape[1] > 1 else 0
    for j in range(op.size):
        i = op[j]
        for r in range(RUNS):
            kept[j, r] = lanes[i, r]
        for r in range(n_run):
            lanes[i, r] = max(kept[j, r] + by[j, several * (first_run + r)], least)
    begin = np.full(RUNS, np.inf)
    end = np.full(RUNS, -np.inf)
    for r in range(RUNS):
        time[0, r] = 0.0
    v = 0
    for q in range(stop_node.size):
        stop = stop_node[q]
        for u in range(v, stop):
            a = first_row[u]
            b = second_row[u]
            o = row[u + 1]
            i = ends[u]
            w = fixed[u]
            for r in range(RUNS):
                x = time[a, r]
                y = time[b, r]
                time[o, r] = max(x, y) + (lanes[i, r] + w)
        v = stop + 1
        if stop == first_row.size:
            break
        o = row[stop + 1]
        i = ends[stop]
        w = fixed[stop]
        for r in range(RUNS):
            x = time[first_row[stop], r]
            y = time[second_row[stop], r]
            time[o, r] = max(x, y)
        for k in range(stop_start[q], stop_start[q + 1]):
            a = overflow_row[k]
            for r in range(RUNS):
                x = time[a, r]
                y = time[o, r]
                time[o, r] = max(x, y)
        for r in range(RUNS):
            time[o, r] += lanes[i, r] + w
        if stop_begin[q] >= 0:
            for r in range(RUNS):
                x = time[o, r]
                begin[r] = min(begin[r], x)
        if stop_end[q] >= 0:
            for r in range(RUNS):
                x = time[o, r]
                end[r] = max(end[r], x)
    for r in range(n_run):
        step_ns[first_run + r] = end[r] - begin[r]
    for j in range(op.size):
        i = op[j]
        for r in range(RUNS):
            lanes[i, r] = kept[j, r]
