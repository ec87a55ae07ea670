"""Compiled queues of the event loop.

Events are kept by time, then number. Most are made in that order: those that begin a run, messages
(all of which are on their way equally long), and ops in schedules whose ranks keep pace. They stand in
plain lists; only what would stand out of order goes to a heap.

Events that wait for the same resources stand in one queue by number, of which only the first is in the
heap: trying all of them each time would be quadratic. Those that come in order are in a list, others in
a skew heap.
"""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["NEVER", "first_waiting", "join_queue", "leave_queue", "pop", "push"]

NEVER: Any = np.iinfo(np.int64).max
HEAD, TAIL, ROOT = range(3)
"""Columns of queues: ends of the list, and root of the skew heap."""


@kernel(borrows=True)
def _before(heap: Any, i: int, j: int) -> Any:
    """1 where entry i comes before entry j; without a branch, for nobody could foresee it."""
    return np.int64(
        (heap[i, 0] < heap[j, 0]) | ((heap[i, 0] == heap[j, 0]) & (heap[i, 1] < heap[j, 1]))
    )


@kernel(borrows=True)
def _rise(heap: Any, i: int, t: int, key: int) -> None:
    """Put an event into the gap at i, or above."""
    while i > 0:
        p = (i - 1) >> 2
        if heap[p, 0] < t or (heap[p, 0] == t and heap[p, 1] < key):
            break
        heap[i, 0] = heap[p, 0]
        heap[i, 1] = heap[p, 1]
        i = p
    heap[i, 0] = t
    heap[i, 1] = key


@kernel(borrows=True)
def push(heap: Any, n: int, t: int, key: int) -> Any:
    """Put an event into a heap of n; `key` is its number and, in the lower 32 bits, which it is.

    Behind the last event there are three that never come, so that none of four needs a test.
    """
    heap[n + 3, 0] = NEVER
    _rise(heap, n, t, key)
    return n + 1


@kernel(borrows=True)
def pop(heap: Any, n: int) -> Any:
    """Take the first event out of a heap of n."""
    n -= 1
    t = heap[n, 0]
    key = heap[n, 1]
    heap[n, 0] = NEVER
    # the last event mostly belongs far down: the gap goes to the bottom, then up from there
    i = np.int64(0)
    c = np.int64(1)
    while c < n:
        a = c + _before(heap, c + 1, c)
        b = c + 2 + _before(heap, c + 3, c + 2)
        a += (b - a) * _before(heap, b, a)
        heap[i, 0] = heap[a, 0]
        heap[i, 1] = heap[a, 1]
        i = a
        c = 4 * i + 1
    _rise(heap, i, t, key)
    return n


@kernel(borrows=True)
def _meld(branch: Any, number: Any, a: int, b: int) -> Any:
    """Join two skew heaps by number."""
    if a < 0:
        return b
    if b < 0:
        return a
    if number[b] < number[a]:
        a, b = b, a
    top = a
    while True:
        r = branch[a, 1]
        branch[a, 1] = branch[a, 0]
        if r < 0:
            branch[a, 0] = b
            return top
        if number[b] < number[r]:
            r, b = b, r
        branch[a, 0] = r
        a = r


@kernel(borrows=True)
def first_waiting(queue: Any, number: Any, q: int) -> Any:
    """Event of the lowest number that waits in queue q; -1 for none."""
    a = np.int64(queue[q, HEAD])
    b = np.int64(queue[q, ROOT])
    if b < 0 or (a >= 0 and number[a] < number[b]):
        return a
    return b


@kernel(borrows=True)
def join_queue(queue: Any, waiting: Any, q: int, x: int) -> Any:
    """Let event x wait in queue q; whether it is the first there.

    `waiting` is the number of each event, the one after it in a list, and its branches in a heap.
    """
    number, after, branch = waiting
    if queue[q, HEAD] < 0 or number[queue[q, TAIL]] < number[x]:
        after[x] = -1
        if queue[q, HEAD] < 0:
            queue[q, HEAD] = x
        else:
            after[queue[q, TAIL]] = x
        queue[q, TAIL] = x
    else:
        branch[x, 0] = -1
        branch[x, 1] = -1
        queue[q, ROOT] = _meld(branch, number, np.int64(queue[q, ROOT]), x)
    return first_waiting(queue, number, q) == x


@kernel(borrows=True)
def leave_queue(queue: Any, waiting: Any, q: int, x: int) -> None:
    """Take event x, the first, out of queue q."""
    number, after, branch = waiting
    if x == queue[q, HEAD]:
        queue[q, HEAD] = after[x]
    else:
        a, b = np.int64(branch[x, 0]), np.int64(branch[x, 1])
        queue[q, ROOT] = _meld(branch, number, a, b)
