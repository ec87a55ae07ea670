"""Compiled loops of the forecast."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["serve"]


@kernel
def _at(grid: Any, value: Any, x: Any) -> Any:
    """Interpolate; beyond the grid as its last two points go on."""
    if x <= grid[0]:
        return value[0]
    high = min(np.searchsorted(grid, x), grid.size - 1)
    low = high - 1
    return value[low] + (value[high] - value[low]) * (x - grid[low]) / (grid[high] - grid[low])


@kernel
def serve(
    arrival: Any,
    prompt: Any,
    output: Any,
    grid: Any,
    body: Any,
    head: Any,
    rate: Any,
    most: Any,
    first: Any,
    done: Any,
) -> Any:
    """Serve requests in order of arrival by iterations; give the busy time.

    `arrival`, `prompt`, `output`, `first`, `done` (n,) int64, in ns and tokens, the last two filled;
    `grid`, `body`, `head` (n_grid,) float64, in tokens and ns; `rate`: ns of a cached token and of a
    pair; `most`: sequences, tokens of an iteration, tokens of the cache.
    """
    n = arrival.size
    running = np.empty(most[0], np.int64)
    left, made = prompt.copy(), np.zeros(n, np.int64)
    n_run, follows, n_done, held = 0, 0, 0, 0
    now, busy = np.int64(0), np.int64(0)
    while n_done < n:
        while follows < n and arrival[follows] <= now and n_run < most[0]:
            if held + prompt[follows] + output[follows] > most[2]:
                break
            running[n_run] = follows
            held += prompt[follows] + output[follows]
            n_run += 1
            follows += 1
        if n_run == 0:
            now = arrival[follows]
            continue
        tokens, emitted, cached, pairs = 0, 0, 0.0, 0.0
        for k in range(n_run):
            i = running[k]
            if left[i] == 0:
                tokens += 1
                emitted += 1
                cached += prompt[i] + made[i]
        room = max(most[1] - tokens, 0)
        for k in range(n_run):
            i = running[k]
            if left[i] > 0 and room > 0:
                take = min(left[i], room)
                before = prompt[i] - left[i]
                pairs += take * float(before) + take * (take + 1.0) / 2
                room -= take
                tokens += take
                emitted += take == left[i]
        span = _at(grid, body, float(tokens)) + rate[0] * cached + rate[1] * pairs
        if emitted > 0:
            span += _at(grid, head, float(emitted))
        took = np.int64(round(span))
        now += took
        busy += took
        room = most[1]
        for k in range(n_run):
            if left[running[k]] == 0:
                room -= 1
        room = max(room, 0)
        kept = 0
        for k in range(n_run):
            i = running[k]
            gets = left[i] == 0
            if left[i] > 0 and room > 0:
                take = min(left[i], room)
                room -= take
                left[i] -= take
                gets = left[i] == 0
                if gets:
                    first[i] = now
            made[i] += gets
            if gets and made[i] >= output[i]:
                done[i] = now
                held -= prompt[i] + output[i]
                n_done += 1
            else:
                running[kept] = i
                kept += 1
        n_run = kept
    return busy
