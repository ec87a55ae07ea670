"""Compiled scan of JSON text for the borders of an array's objects."""

from typing import Any

import numba as nb

__all__ = ["object_ends"]


@nb.njit(cache=True, nogil=True)
def object_ends(data: Any, start: int, state: Any, ends: Any) -> Any:
    """Find where objects of an array end, from `start` on.

    `state` holds depth, inside-string and after-backslash across calls and is updated; `ends`
    receives the positions after each closing brace of the top level. A raw line feed ends a
    string: JSON forbids it there, so that one lost quote does not swallow the file. Returns the
    number of ends and the position of the array's closing bracket, -1 if it is not in `data`.
    """
    depth = state[0]
    inside = state[1]
    escaped = state[2]
    n = 0
    i = start
    closed = -1
    while i < data.size:
        c = data[i]
        if inside:
            if escaped:
                escaped = 0
            elif c == 92:
                escaped = 1
            elif c in (34, 10):
                inside = 0
        elif c == 34:
            inside = 1
        elif c in (123, 91):
            depth += 1
        elif c in (125, 93):
            if depth == 0:
                if c == 93:
                    closed = i
                    break
            else:
                depth -= 1
                if depth == 0:
                    ends[n] = i + 1
                    n += 1
        i += 1
    state[0] = depth
    state[1] = inside
    state[2] = escaped
    return n, closed
