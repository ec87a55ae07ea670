"""The compiled sweep of noise scenarios; shapes and shifted entries as in `kernels`."""

from typing import Any

import numpy as np
from numba import njit

from loadpath.replay.kernels import BLOCK, OPTIONS

__all__ = ["sweep_noise"]


@njit(**OPTIONS)
def sweep_noise(
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
    place: Any,
    block: Any,
    least: Any,
    residual: Any,
    start: Any,
    time: Any,
    state: Any,
    begin_ns: Any,
    end_ns: Any,
) -> None:
    """Sweep `BLOCK` scenarios whose changes are residuals: `residual[place + start[block]]`.

    `place`, `block`, `least` (n_node,): where a node's series begins (0, a series of zeros, for a
    node without noise), which draw moves along it, and the least change that leaves no work
    negative; `start` (n_block, BLOCK). Otherwise as `kernels.sweep_block`.
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
            if place[u] == 0:
                for s in range(BLOCK):
                    x = state[a, s] - p
                    y = state[b, s] - r
                    state[o, s] = max(x, y)
            else:
                here = residual[place[u] :]
                k = block[u]
                floor = least[u]
                for s in range(BLOCK):
                    x = state[a, s] - p
                    y = state[b, s] - r
                    d = here[start[k, s]]
                    state[o, s] = max(x, y) + max(d, floor)
        v = stop + 1
        if stop == first_row.size:
            break
        o = row[stop + 1]
        for s in range(BLOCK):
            x = state[first_row[stop], s] - first_slack[stop]
            y = state[second_row[stop], s] - second_slack[stop]
            state[o, s] = max(x, y)
        for k in range(stop_start[q], stop_start[q + 1]):
            a = overflow_row[k]
            p = overflow_slack[k]
            for s in range(BLOCK):
                x = state[a, s] - p
                y = state[o, s]
                state[o, s] = max(x, y)
        if place[stop] > 0:
            for s in range(BLOCK):
                d = residual[place[stop] + start[block[stop], s]]
                state[o, s] += max(d, least[stop])
        if stop_begin[q] >= 0:
            for s in range(BLOCK):
                x = time[stop + 1] + shift[s] + state[o, s]
                begin_ns[stop_begin[q], s] = min(begin_ns[stop_begin[q], s], x)
        if stop_end[q] >= 0:
            for s in range(BLOCK):
                x = time[stop + 1] + shift[s] + state[o, s]
                end_ns[stop_end[q], s] = max(end_ns[stop_end[q], s], x)
        if stop_rebase[q]:
            origin = state[o].copy()
            for s in range(BLOCK):
                shift[s] += origin[s]
            for k in range(state.shape[0]):
                for s in range(BLOCK):
                    state[k, s] -= origin[s]
