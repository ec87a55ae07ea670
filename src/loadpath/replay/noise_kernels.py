"""The compiled sweep of noise scenarios; shapes and shifted entries as in `kernels`."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel
from loadpath.replay.kernels import BLOCK, note_stop, wait_for_all

__all__ = ["place_starts", "sweep_noise"]


@kernel
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
        if place[stop] > 0:
            for s in range(BLOCK):
                d = residual[place[stop] + start[block[stop], s]]
                state[o, s] += max(d, least[stop])
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


@kernel
def place_starts(share: Any, length: Any, start: Any) -> None:
    """Turn shares (n_block, n_scenario) of circles of these lengths into places on them."""
    for b in range(start.shape[0]):
        for s in range(start.shape[1]):
            start[b, s] = min(np.int64(share[b, s] * np.float64(length[b])), length[b] - 1)
