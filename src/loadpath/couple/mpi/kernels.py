"""Compiled split of nested regions into what each does itself."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["own_times"]


@kernel
def own_times(start: Any, end: Any, talks: Any, meets: Any, order: Any) -> Any:
    """Cut one thread into times of its innermost regions; one that communicates stays whole.

    One in which threads meet has a last part, of no length where something inside it ended with it.
    `order` lists its regions by start, the longer first. Returns region, begin and end of each part;
    region -1 is time between regions.
    """
    n = order.size
    region = np.empty(2 * n + 1, np.int64)
    begin = np.empty(2 * n + 1, np.int64)
    stop = np.empty(2 * n + 1, np.int64)
    stack = np.empty(n + 1, np.int64)
    depth = 0
    m = 0
    now = start[order[0]] if n > 0 else 0
    for k in range(n + 1):
        until = start[order[k]] if k < n else np.int64(9223372036854775807)
        while depth > 0 and end[stack[depth - 1]] <= until:
            i = stack[depth - 1]
            if end[i] > now or talks[i] or meets[i]:
                region[m], begin[m], stop[m] = i, min(now, end[i]), end[i]
                m += 1
                now = max(now, end[i])
            depth -= 1
        if k == n:
            break
        inside = stack[depth - 1] if depth > 0 else -1
        if inside >= 0 and talks[inside]:
            continue
        if until > now:
            region[m], begin[m], stop[m] = inside, now, until
            m += 1
            now = until
        stack[depth] = order[k]
        depth += 1
    return region[:m].copy(), begin[:m].copy(), stop[:m].copy()
