"""Compiled sweeps over runs of one graph, side by side; as `loadpath.replay.kernels` in all else."""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["RUNS", "sweep_changed", "sweep_runs"]

RUNS = 16
"""Runs of one graph that are swept side by side: two 512-bit registers of float64."""

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**OPTIONS)
def sweep_runs(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    fixed: Any,
    ends: Any,
    starts: Any,
    begin_node: Any,
    begin_step: Any,
    end_node: Any,
    end_step: Any,
    work: Any,
    ideal: Any,
    lag: Any,
    measured: Any,
    lagged: Any,
    first_run: int,
    step_ns: Any,
) -> None:
    """Sweep `RUNS` runs of one graph side by side, from `first_run` on, in every scenario.

    `ends`, `starts` (n_node,) are the op that a node ends or starts, -1 none; `work`, `lag`
    (n_run, n_op), `lag` of one row where no scenario keeps any; `measured`, `lagged` (n_scenario,
    n_op) say which ops work and start as measured. Fills `step_ns` (n_scenario, n_run, n_step).
    """
    n_run, n_op = work.shape
    n_here = min(RUNS, n_run - first_run)
    n_step = step_ns.shape[2]
    mine = np.zeros((n_op, RUNS))
    late = np.zeros((n_op if lag.shape[0] == n_run else 0, RUNS))
    for r in range(n_here):
        for i in range(n_op):
            mine[i, r] = work[first_run + r, i]
        for i in range(late.shape[0]):
            late[i, r] = lag[first_run + r, i]
    time = np.zeros((first.size + 1, RUNS))
    begin = np.empty((n_step, RUNS))
    end = np.empty((n_step, RUNS))
    for s in range(measured.shape[0]):
        q = 0
        for v in range(first.size):
            a = first[v]
            b = second[v]
            w = np.float64(fixed[v])
            i = ends[v]
            if i >= 0 and measured[s, i]:
                for r in range(RUNS):
                    x = time[a, r]
                    y = time[b, r]
                    time[v + 1, r] = max(x, y) + (mine[i, r] + w)
            else:
                if i >= 0:
                    w += ideal[i]
                for r in range(RUNS):
                    x = time[a, r]
                    y = time[b, r]
                    time[v + 1, r] = max(x, y) + w
            if q < overflow_node.size and overflow_node[q] == v:
                use = i >= 0 and measured[s, i]
                for k in range(overflow_start[q], overflow_start[q + 1]):
                    a = overflow_pred[k]
                    for r in range(RUNS):
                        x = time[a, r] + (mine[i, r] + w if use else w)
                        y = time[v + 1, r]
                        time[v + 1, r] = max(x, y)
                q += 1
            j = starts[v]
            if j >= 0 and lagged[s, j]:
                for r in range(RUNS):
                    time[v + 1, r] += late[j, r]
        for t in range(n_step):
            for r in range(RUNS):
                begin[t, r] = np.inf
                end[t, r] = -np.inf
        for k in range(begin_node.size):
            for r in range(RUNS):
                x = time[begin_node[k] + 1, r]
                begin[begin_step[k], r] = min(begin[begin_step[k], r], x)
        for k in range(end_node.size):
            for r in range(RUNS):
                x = time[end_node[k] + 1, r]
                end[end_step[k], r] = max(end[end_step[k], r], x)
        for r in range(n_here):
            for t in range(n_step):
                step_ns[s, first_run + r, t] = end[t, r] - begin[t, r]


@njit(**OPTIONS)
def sweep_changed(
    first: Any,
    second: Any,
    overflow_node: Any,
    overflow_start: Any,
    overflow_pred: Any,
    fixed: Any,
    ends: Any,
    begin_node: Any,
    end_node: Any,
    lanes: Any,
    op: Any,
    by: Any,
    least: float,
    first_run: int,
    step_ns: Any,
) -> None:
    """Sweep `RUNS` runs of a graph of one step side by side, with the work of some ops changed.

    `lanes` (n_op, RUNS) is the work of the runs from `first_run` on; `by` (n_run or 1, n) is what
    the ops `op` work more, but no less than `least` in all. Fills those runs of `step_ns` (n_run,).
    """
    n_here = min(RUNS, step_ns.size - first_run)
    kept = np.empty((op.size, RUNS))
    for j in range(op.size):
        for r in range(RUNS):
            kept[j, r] = lanes[op[j], r]
    for r in range(n_here):
        row = first_run + r if by.shape[0] > 1 else 0
        for j in range(op.size):
            lanes[op[j], r] = max(lanes[op[j], r] + by[row, j], least)
    time = np.zeros((first.size + 1, RUNS))
    q = 0
    for v in range(first.size):
        a = first[v]
        b = second[v]
        w = np.float64(fixed[v])
        i = ends[v]
        overflows = q < overflow_node.size and overflow_node[q] == v
        for r in range(RUNS):
            x = time[a, r]
            y = time[b, r]
            time[v + 1, r] = max(x, y)
        if overflows:
            for k in range(overflow_start[q], overflow_start[q + 1]):
                a = overflow_pred[k]
                for r in range(RUNS):
                    x = time[a, r]
                    y = time[v + 1, r]
                    time[v + 1, r] = max(x, y)
            q += 1
        if i >= 0:
            for r in range(RUNS):
                time[v + 1, r] += lanes[i, r] + w
        else:
            for r in range(RUNS):
                time[v + 1, r] += w
    begin = np.empty(RUNS)
    end = np.empty(RUNS)
    for r in range(RUNS):
        begin[r] = np.inf
        end[r] = -np.inf
    for k in range(begin_node.size):
        for r in range(RUNS):
            x = time[begin_node[k] + 1, r]
            begin[r] = min(begin[r], x)
    for k in range(end_node.size):
        for r in range(RUNS):
            x = time[end_node[k] + 1, r]
            end[r] = max(end[r], x)
    for r in range(n_here):
        step_ns[first_run + r] = end[r] - begin[r]
    for j in range(op.size):
        for r in range(RUNS):
            lanes[op[j], r] = kept[j, r]
