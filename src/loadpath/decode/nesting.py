"""Compiled nesting of spans."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["enclosing"]

ROUNDING_NS = 2000
"""Whole-us traces round start and length apart: a child may seem to end after its parent."""


@kernel
def enclosing(lane: Any, start: Any, end: Any) -> Any:
    """Find the innermost span of the same lane that encloses each span.

    Parameters
    ----------
    lane, start, end : (n,) arrays of int
        Spans, sorted by lane, start, and longest first; times in ns.

    Returns
    -------
    (n,) array of int32
        Row of the enclosing span, -1 for none. A span that only overlaps the end of an earlier one
        is not inside it.
    """
    n = start.size
    parent = np.full(n, -1, np.int32)
    stack = np.empty(n + 1, np.int32)
    depth = 0
    for i in range(n):
        if i and lane[i] != lane[i - 1]:
            depth = 0
        while depth and (
            end[stack[depth - 1]] <= start[i] or end[stack[depth - 1]] + ROUNDING_NS < end[i]
        ):
            depth -= 1
        if depth:
            parent[i] = stack[depth - 1]
        stack[depth] = i
        depth += 1
    return parent
