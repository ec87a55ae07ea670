"""Compiled nesting of spans."""

from typing import Any

import numba as nb
import numpy as np

__all__ = ["complete_events", "enclosing"]

OTHER_PHASES = np.zeros(256, np.bool_)
OTHER_PHASES[np.frombuffer(b"stfiICBEbenNODPSTpFRcv", np.uint8)] = True
"""Phases of events that are no spans: flows, counters, marks."""
ROUNDING_NS = 2000
"""Whole-us traces round start and length apart: a child may seem to end after its parent."""


@nb.njit(cache=True, nogil=True)
def enclosing(lane: Any, start: Any, end: Any) -> Any:
    """Row of the innermost span of the same lane that encloses each span, -1 for none.

    Rows are sorted by lane, start, and longest first. A span that only overlaps the end of an
    earlier one is not inside it.
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


@nb.njit(cache=True, nogil=True)
def complete_events(data: Any, found: Any, checks: Any, is_odd: Any, kind: Any) -> Any:
    """Turn rows of values of complete events (phase X) into columns; others have none.

    `found` are begin and end of values as scanned, one row per event, the phase first; `checks` the
    columns that must be there, whose values must be text, or a number or text of few digits, or an
    object, and the most digits. `kind` receives 1 for a complete event, 2 for one of another known
    phase, 0 else; `is_odd` what must be decoded singly. Returns begins and ends by column.
    """
    begin, end = found
    must, texts, numbers, objects, most = checks
    n, n_key = begin.shape
    low = np.full((n_key, n), -1, np.int32)
    high = np.full((n_key, n), -1, np.int32)
    for i in range(n):
        if is_odd[i] or begin[i, 0] < 0 or end[i, 0] - begin[i, 0] != 3:
            continue
        phase = data[begin[i, 0] + 1]
        kind[i] = 1 if phase == 88 else 2 if OTHER_PHASES[phase] else 0
        if kind[i] != 1:
            continue
        odd = begin[i, must] < 0
        for k in texts:
            odd |= begin[i, k] >= 0 and data[begin[i, k]] != 34
        for k in numbers:
            if begin[i, k] >= 0 and data[begin[i, k]] != 34:
                c = data[begin[i, k]]
                odd |= not (c == 45 or 48 <= c <= 57) or end[i, k] - begin[i, k] > most
        odd |= begin[i, objects] >= 0 and data[begin[i, objects]] != 123
        is_odd[i] = odd
        for k in range(n_key):
            low[k, i] = begin[i, k]
            high[k, i] = end[i, k]
    return low, high
