"""Compiled event loop of the LogGOPS model.

Events are ops (0 to n_op - 1) and messages (n_op + v for the message of send v). An event that finds
its processor or network interface busy is tried again when that is free, keeping its number. Those
that wait for the same resources stand in one queue, a skew heap by number, of which only the first
is in the heap of events: trying all of them each time would be quadratic, and serves them in the
same order.
"""

from typing import Any

import numpy as np
from numba import njit

from loadpath.replay.simulation.layout_kernels import (
    AFTER,
    CALC,
    CHANNEL,
    DONE,
    FAR,
    FIRST,
    HOST,
    IN,
    KIND,
    MATCH,
    NEAR,
    NUMBER,
    OUT,
    RECV,
    SEND,
    UNMET,
)

__all__ = ["run_events"]

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**OPTIONS)
def _push(heap: Any, n: int, t: int, s: int, x: int) -> Any:
    i = n
    while i > 0:
        p = (i - 1) >> 1
        if heap[p, 0] > t or (heap[p, 0] == t and heap[p, 1] > s):
            heap[i, 0] = heap[p, 0]
            heap[i, 1] = heap[p, 1]
            heap[i, 2] = heap[p, 2]
            i = p
        else:
            break
    heap[i, 0] = t
    heap[i, 1] = s
    heap[i, 2] = x
    return n + 1


@njit(**OPTIONS)
def _pop(heap: Any, n: int) -> Any:
    """Take the first event."""
    t = heap[0, 0]
    s = heap[0, 1]
    x = heap[0, 2]
    n -= 1
    # the last event mostly belongs far down: the gap goes to the bottom, then up from there
    i = np.int64(0)
    c = np.int64(1)
    while c + 1 < n:
        earlier = heap[c + 1, 0] < heap[c, 0]
        tied = (heap[c + 1, 0] == heap[c, 0]) & (heap[c + 1, 1] < heap[c, 1])
        c += np.int64(earlier | tied)
        heap[i, 0] = heap[c, 0]
        heap[i, 1] = heap[c, 1]
        heap[i, 2] = heap[c, 2]
        i = c
        c = 2 * i + 1
    if c < n:
        heap[i, 0] = heap[c, 0]
        heap[i, 1] = heap[c, 1]
        heap[i, 2] = heap[c, 2]
        i = c
    _push(heap, i, heap[n, 0], heap[n, 1], heap[n, 2])
    return t, s, x, n


@njit(**OPTIONS)
def _meld(branch: Any, state: Any, a: int, b: int) -> Any:
    """Join two queues of waiting events: a skew heap by number."""
    if a < 0:
        return b
    if b < 0:
        return a
    n_op = state.shape[0]
    of_a = state[a % n_op, NUMBER + a // n_op]
    of_b = state[b % n_op, NUMBER + b // n_op]
    if of_b < of_a:
        a, b = b, a
        of_a, of_b = of_b, of_a
    top = a
    while True:
        r = branch[a, 1]
        branch[a, 1] = branch[a, 0]
        if r < 0:
            branch[a, 0] = b
            return top
        of_r = state[r % n_op, NUMBER + r // n_op]
        if of_b < of_r:
            r, b = b, r
            of_r, of_b = of_b, of_r
        branch[a, 0] = r
        a = r


@njit(**OPTIONS)
def _until(start: Any, total: Any, period: int, t: int) -> Any:
    """Noise of all events of the repeated trace that begin before t."""
    return (t // period) * total[start.size] + total[np.searchsorted(start, t % period)]


@njit(**OPTIONS)
def _take(ends: Any, k: int, state: Any, c: int, before: int, x: int) -> None:
    """Take event x, which follows `before` (or nothing), out of list k of channel c."""
    n_op = state.shape[0]
    after = state[x % n_op, AFTER + x // n_op]
    if before < 0:
        ends[c, k] = after
    else:
        state[before % n_op, AFTER + before // n_op] = after
    if ends[c, k + 1] == x:
        ends[c, k + 1] = before


@njit(**OPTIONS)
def _append(ends: Any, k: int, state: Any, c: int, x: int) -> None:
    n_op = state.shape[0]
    state[x % n_op, AFTER + x // n_op] = -1
    last = ends[c, k + 1]
    if ends[c, k] < 0:
        ends[c, k] = x
    else:
        state[last % n_op, AFTER + last // n_op] = x
    ends[c, k + 1] = x


@njit(**OPTIONS)
def _meets(wild: Any, row: Any, r: int, v: int) -> Any:
    """Whether a receive takes the message of send v; `wild` is peer and tag, needed in wild ranks."""
    peer, tag = wild
    return (peer[r] == -1 or peer[r] == row[v, HOST]) and (tag[r] == -1 or tag[r] == tag[v])


@njit(**OPTIONS)
def _queue(row: Any, v: int, is_message: Any, n_cpu: int, n_nic: int, n_rank: int) -> Any:
    """Give the number of the queue in which an event waits: by rank, what it needs, processor, interface."""
    if is_message:
        port = row[v, IN] * n_cpu + row[v, FAR] % n_cpu
        return n_rank * n_cpu * (1 + n_nic) + port
    if row[v, KIND] & 3 == CALC:
        return row[v, NEAR]
    return n_rank * n_cpu + row[v, OUT] * n_cpu + row[v, NEAR] % n_cpu


@njit(**OPTIONS)
def _free_from(row: Any, v: int, is_message: Any, busy: Any, sending: Any, receiving: Any) -> Any:
    """When all that an event needs is free; a receive needs nothing."""
    if is_message:
        return max(busy[row[v, FAR]], receiving[row[v, IN]])
    what = row[v, KIND] & 3
    if what == CALC:
        return busy[row[v, NEAR]]
    if what == SEND:
        return max(busy[row[v, NEAR]], sending[row[v, OUT]])
    return np.int64(-1)


@njit(**OPTIONS)
def run_events(
    row: Any,
    length: Any,
    state: Any,
    wild: Any,
    first_ops: Any,
    after: Any,
    counts: Any,
    costs: Any,
    noise: Any,
    out: Any,
) -> Any:
    """Serve all events in the order of time, then of their number.

    `row` (n_op, 8) says of each op what `KIND` ... `HOST` name, `length` is its size, and `state`
    (n_op, 8) as `lay_out` leaves it; row and state are half a cache line each. `wild` is peer and
    tag; `first_ops` says where the ops of each rank begin, in the order of the schedule, their numbers
    here, and the op of each; `after` is the ops that require an op's end (where they begin is in `KIND`), starts and
    ops that require its start; `counts` is processors and interfaces of a rank, channels, and the first
    channel of a rank that receives from any; `costs` is L, o, g in ns, G, O in
    ps per byte, S; `noise` is a length per event (or none), and a trace: starts, running totals,
    period, and where in it each rank begins; `out` is order, and begin and noise (or none) of each event.
    Returns the time until which each processor is taken, and the numbers of events served and made.
    """
    end_next, start_first, start_next = after
    rank_start, new, old = first_ops
    n_rank = rank_start.size - 1
    n_cpu, n_nic, n_channel, first_wild = counts
    latency, overhead, gap, per_byte, cpu_per_byte, eager = costs
    extra, trace_start, trace_total, period, offset = noise
    order, begun, lateness = out
    n_op = row.shape[0]
    busy = np.zeros(n_rank * n_cpu, np.int64)
    sending = np.zeros(n_rank * n_nic, np.int64)
    receiving = np.zeros(n_rank * n_nic, np.int64)
    heap = np.empty((4 * n_op + 16, 3), np.int64)
    root = np.full(n_rank * n_cpu * (1 + 2 * n_nic), -1, np.int32)
    branch = np.full((2 * n_op, 2), -1, np.int32)
    ends = np.full((n_channel, 4), -1, np.int32)
    freed = np.empty(n_op, np.int32)
    n_heap = 0
    n_number = 0
    n_order = 0
    for h in range(n_rank):
        for what in range(SEND, CALC + 1):
            for i in range(rank_start[h], rank_start[h + 1]):
                v = new[i]
                if state[v, UNMET] == 0 and row[v, KIND] & 3 == what:
                    state[v, NUMBER] = n_number
                    n_heap = _push(heap, n_heap, 0, n_number, v)
                    n_number += 1
    while n_heap > 0:
        t, s, x, n_heap = _pop(heap, n_heap)
        waited = x >= 2 * n_op
        q = np.int64(-1)
        if waited:
            q = x - 2 * n_op
            x = np.int64(root[q])
            if x < 0 or state[x % n_op, NUMBER + x // n_op] != s:
                continue
        is_message = x >= n_op
        v = x - n_op if is_message else x
        what = row[v, KIND] & 3
        free = _free_from(row, v, is_message, busy, sending, receiving)
        if free > t:
            if waited:
                n_heap = _push(heap, n_heap, free, s, 2 * n_op + q)
            else:
                q = _queue(row, v, is_message, n_cpu, n_nic, n_rank)
                root[q] = _meld(branch, state, np.int64(root[q]), x)
                if root[q] == x:
                    n_heap = _push(heap, n_heap, free, s, 2 * n_op + q)
            continue
        if waited:
            root[q] = _meld(branch, state, np.int64(branch[x, 0]), np.int64(branch[x, 1]))
        order[n_order] = old[v] + n_op if is_message else old[v]
        n_order += 1
        size = length[v]
        begun[x] = t
        late = np.int64(0)
        if lateness.size > 0 and (is_message or what != RECV):
            span = overhead if is_message or what == SEND else size
            if extra.size > 0:
                late += extra[x]
            if trace_start.size > 0:
                at = row[v, FAR] // n_cpu if is_message else row[v, HOST]
                phase = t + offset[at]
                late += _until(trace_start, trace_total, period, phase + span)
                late -= _until(trace_start, trace_total, period, phase)
            lateness[x] = late
        b = size - 1
        first_done = np.int64(-1)
        second_done = np.int64(-1)
        c = row[v, CHANNEL]
        if is_message:
            wire = b * per_byte // 1000
            busy[row[v, FAR]] = t + overhead + late + max(b * cpu_per_byte // 1000, wire)
            receiving[row[v, IN]] = t + gap + wire
            before = np.int64(-1)
            r = np.int64(ends[c, 0])
            if c >= first_wild:
                while r >= 0 and not _meets(wild, row, r, v):
                    before = r
                    r = state[r, AFTER]
            if r >= 0:
                _take(ends, 0, state, c, before, r)
                state[r, MATCH] = v
                second_done = r
                if size > eager:
                    first_done = v
                    busy[row[v, NEAR]] = max(busy[row[v, NEAR]], t)
                    sending[row[v, OUT]] = max(sending[row[v, OUT]], t)
            else:
                _append(ends, 2, state, c, x)
        elif what == CALC:
            busy[row[v, NEAR]] = t + size + late
            first_done = v
        elif what == SEND:
            busy[row[v, NEAR]] = t + overhead + b * cpu_per_byte // 1000 + late
            sending[row[v, OUT]] = t + gap + b * per_byte // 1000
            state[v, NUMBER + 1] = n_number
            n_heap = _push(heap, n_heap, t + overhead + latency, n_number, n_op + v)
            n_number += 1
            if size <= eager:
                first_done = v
        else:
            before = np.int64(-1)
            m = np.int64(ends[c, 2])
            if c >= first_wild:
                while m >= 0 and not _meets(wild, row, v, m - n_op):
                    before = m
                    m = state[m - n_op, AFTER + 1]
            if m >= 0:
                w = m - n_op
                _take(ends, 2, state, c, before, m)
                state[v, MATCH] = w
                second_done = v
                if length[w] > eager:
                    first_done = w
                    # of the sender, but as the receive numbers them: so the reference has it
                    p = row[w, HOST] * n_cpu + row[v, NEAR] % n_cpu
                    busy[p] = max(busy[p], t)
                    p = row[w, HOST] * n_nic + row[v, OUT] % n_nic
                    sending[p] = max(sending[p], t)
            else:
                _append(ends, 0, state, c, v)
        n_freed = 0
        if start_next.size > 0 and not is_message:
            for e in range(start_first[v], start_first[v + 1]):
                d = start_next[e]
                state[d, UNMET] -= 1
                if state[d, UNMET] == 0:
                    freed[n_freed] = d
                    n_freed += 1
        for k in range(2):
            f = first_done if k == 0 else second_done
            if f >= 0:
                state[f, DONE] = 1
                listed = np.int64(row[f, FIRST])
                for e in range(listed, listed + (row[f, KIND] >> 2)):
                    d = end_next[e]
                    state[d, UNMET] -= 1
                    if state[d, UNMET] == 0:
                        freed[n_freed] = d
                        n_freed += 1
        if n_freed > 0:
            low = row[freed[0], HOST]
            high = low
            for k in range(1, n_freed):
                low = min(low, row[freed[k], HOST])
                high = max(high, row[freed[k], HOST])
            for k in range(2 if high > low else 1):
                h = low if k == 0 else high
                for what in range(SEND, CALC + 1):
                    for i in range(n_freed):
                        d = np.int64(freed[i])
                        if row[d, KIND] & 3 == what and row[d, HOST] == h:
                            due = busy[row[d, NEAR]]
                            if what == SEND:
                                due = max(due, sending[row[d, OUT]])
                            state[d, NUMBER] = n_number
                            n_heap = _push(heap, n_heap, due, n_number, d)
                            n_number += 1
        if waited and root[q] >= 0:
            w = np.int64(root[q])
            free = _free_from(row, w % n_op, w >= n_op, busy, sending, receiving)
            s = state[w % n_op, NUMBER + w // n_op]
            n_heap = _push(heap, n_heap, max(free, t), s, 2 * n_op + q)
    return busy, n_order, n_number
