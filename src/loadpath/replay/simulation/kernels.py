"""Compiled event loop of the LogGOPS model.

Events are ops (0 to n_op - 1) and messages (n_op + v for the message of send v). An event that finds
its processor or network interface busy is tried again when that is free, keeping its number.
"""

from typing import Any

import numpy as np

from loadpath.compiled import kernel
from loadpath.replay.simulation.layout_kernels import (
    CALC,
    CHANNEL,
    FIRST,
    HOST,
    IN_SEVERAL,
    KIND,
    PEER,
    RECV,
    SEND,
    SEVERAL,
    SIZE,
    UNMET,
)
from loadpath.replay.simulation.queue_kernels import (
    NEVER,
    first_waiting,
    join_queue,
    leave_queue,
    pop,
    push,
)

__all__ = ["run_events"]


@kernel(borrows=True)
def _until(start: Any, total: Any, period: int, t: int) -> Any:
    """Noise of all events of the repeated trace that begin before t."""
    return (t // period) * total[start.size] + total[np.searchsorted(start, t % period)]


@kernel(borrows=True)
def _late(noise: Any, x: int, at: int, t: int, span: int) -> Any:
    """Noise that event x meets, which takes a processor of rank `at` for `span` from t."""
    extra, start, total, period, offset = noise
    late = np.int64(0)
    if extra.size > 0:
        late += extra[x]
    if start.size > 0:
        phase = t + offset[at]
        late += _until(start, total, period, phase + span) - _until(start, total, period, phase)
    return late


@kernel(borrows=True)
def _append(ends: Any, k: int, after: Any, c: int, x: int) -> None:
    """Put event x at the end of list k of channel c."""
    after[x] = -1
    if ends[c, k] < 0:
        ends[c, k] = x
    else:
        after[ends[c, k + 1]] = x
    ends[c, k + 1] = x


@kernel(borrows=True)
def _take_receive(ends: Any, after: Any, column: Any, several: Any, v: int) -> Any:
    """Take the receive that was posted first of those that wish the message of send v; -1 for none.

    `several` is channels of messages to ranks that receive from any, what follows each message in each
    of them, and when each receive was posted.
    """
    channels, _, posted = several
    c = np.int64(column[v, CHANNEL])
    if c == SEVERAL:
        for k in range(4):
            d = channels[v, k]
            if d < 0 or ends[d, 0] < 0:
                continue
            if c < 0 or posted[ends[d, 0]] < posted[ends[c, 0]]:
                c = np.int64(d)
    if c < 0:
        return np.int64(-1)
    r = np.int64(ends[c, 0])
    if r >= 0:
        ends[c, 0] = after[r]
    return r


@kernel(borrows=True)
def _take_message(ends: Any, after: Any, several: Any, c: int) -> Any:
    """Take the send whose message came first of those that the receives of channel c wish; -1 for none."""
    channels, following, _ = several
    if c >= 0:
        m = np.int64(ends[c, 2])
        if m < 0:
            return m
        ends[c, 2] = after[m]
        return m - (after.size >> 1)
    d = IN_SEVERAL - c
    e = np.int64(ends[d, 2])
    while e >= 0 and channels[e >> 2, 0] == SEVERAL:  # taken in another channel
        e = np.int64(following[e])
    if e < 0:
        ends[d, 2] = -1
        return e
    ends[d, 2] = following[e]
    channels[e >> 2, 0] = SEVERAL
    return e >> 2


@kernel(borrows=True)
def _leave_message(ends: Any, after: Any, column: Any, several: Any, v: int) -> None:
    """Let the message of send v wait for its receive, in each channel in which one may be posted."""
    channels, following, _ = several
    c = np.int64(column[v, CHANNEL])
    if c >= 0:
        _append(ends, 2, after, c, (after.size >> 1) + v)
        return
    for k in range(4):
        if channels[v, k] >= 0:
            _append(ends, 2, following, np.int64(channels[v, k]), 4 * v + k)


@kernel(borrows=True)
def _leave_receive(ends: Any, after: Any, column: Any, several: Any, v: int, n: int) -> None:
    """Let the receive v wait for its message; `n` is how many events were before."""
    c = np.int64(column[v, CHANNEL])
    if c < 0:
        c = IN_SEVERAL - c
        several[2][v] = n
    _append(ends, 0, after, c, v)


@kernel(borrows=True)
def _resources(column: Any, v: int, host: int, n_cpu: int, n_nic: int) -> Any:
    """Processor and interface of an op at a rank."""
    port = column[v, KIND] >> 2
    return host * n_cpu + (port & 255), host * n_nic + (port >> 8)


@kernel(borrows=True)
def _free_from(
    column: Any, x: int, busy: Any, sending: Any, receiving: Any, n_cpu: int, n_nic: int
) -> Any:
    """When all that an event needs is free; a receive needs nothing."""
    n_op = column.shape[0] - 1
    if x >= n_op:
        p, i = _resources(column, x - n_op, column[x - n_op, PEER], n_cpu, n_nic)
        return max(busy[p], receiving[i])
    kind = column[x, KIND] & 3
    if kind == RECV:
        return np.int64(-1)
    p, i = _resources(column, x, column[x, HOST], n_cpu, n_nic)
    return max(busy[p], sending[i]) if kind == SEND else busy[p]


@kernel(borrows=True)
def _queue_of(column: Any, x: int, n_rank: int, n_cpu: int, n_nic: int) -> Any:
    """Give the number of the queue in which an event waits: by what it needs, rank, interface, processor."""
    n_op = column.shape[0] - 1
    is_message = x >= n_op
    v = x - n_op if is_message else x
    p, i = _resources(column, v, column[v, PEER if is_message else HOST], n_cpu, n_nic)
    if not is_message and column[v, KIND] & 3 == CALC:
        return np.int64(p)
    port = i * n_cpu + (column[v, KIND] >> 2 & 255)
    return n_rank * n_cpu * (1 + n_nic * is_message) + port


@kernel(borrows=True)
def _begin(rank_start: Any, column: Any, beginning: Any) -> Any:
    """Give numbers to ops that require nothing: by rank, then send, receive, computation."""
    n = 0
    for h in range(rank_start.size - 1):
        for kind in range(SEND, CALC + 1):
            for v in range(rank_start[h], rank_start[h + 1]):
                if column[v, UNMET] == 0 and column[v, KIND] & 3 == kind:
                    beginning[n] = v
                    n += 1
    return n


@kernel(borrows=True)
def _order_freed(freed: Any, n: int, column: Any) -> None:
    """Put ops that became free together in order: by rank, kind, then as they became free."""
    for i in range(1, n):
        d = freed[i]
        code = np.int64(column[d, HOST]) << 2 | column[d, KIND] & 3
        j = i
        while j > 0:
            u = freed[j - 1]
            if np.int64(column[u, HOST]) << 2 | column[u, KIND] & 3 <= code:
                break
            freed[j] = u
            j -= 1
        freed[j] = d


@kernel(borrows=True)
def run_events(
    column: Any,
    wide: Any,
    several: Any,
    rank_start: Any,
    after: Any,
    counts: Any,
    costs: Any,
    noise: Any,
    room: Any,
    out: Any,
) -> Any:
    """Serve all events in the order of time, then of their number.

    `column` (n_op + 1, 8) says of each op what `KIND` ... `UNMET` name, as `lay_out` leaves it, and `wide`
    is the same memory as 64 bits; `several` is as of `_take_receive`; `rank_start` says where the ops of each
    rank begin; `after` is the ops that require an op's end (where they begin is in `FIRST`), starts and ops
    that require its start; `counts` is processors and interfaces of a rank, and channels; `costs` is L, o, g
    in ns, G, O in ps per byte, S; `noise` is a
    length per event (or none), and a trace: starts, running totals, period, and where in it each rank
    begins; `room` is what `room_for` made; `out` is order, begin and noise (or none) of each event, match
    and done of each op. Returns the numbers of events served and made.
    """
    end_next, start_first, start_next = after
    n_cpu, n_nic, _ = counts
    latency, overhead, gap, per_byte, cpu_per_byte, eager = costs
    order, begun, lateness, match, done = out
    n_op, n_rank = column.shape[0] - 1, rank_start.size - 1
    busy, sending, receiving, ends, queue, number, after_it, branch = room[:8]
    freed, beginning, sent, made, heap = room[8:]
    waiting = (number, after_it, branch)
    n_begin = np.int64(_begin(rank_start, column, beginning))
    n_number = n_begin
    ring = np.int64(sent.shape[0] - 1)
    heap[:4, 0] = NEVER
    n_heap = n_sent = n_made = n_order = np.int64(0)
    at_begin = at_sent = at_made = np.int64(0)
    last_sent = last_made = np.int64(0)
    low = np.int64((1 << 32) - 1)
    while True:
        # the first of what is first in each list and in the heap
        t, key, which = NEVER, NEVER, 0
        if at_begin < n_begin:
            t, which = np.int64(0), 1
            key = at_begin << 32 | np.int64(beginning[at_begin])
        i = at_sent & ring
        if at_sent < n_sent and (sent[i, 0] < t or (sent[i, 0] == t and sent[i, 1] < key)):
            t, key, which = sent[i, 0], sent[i, 1], 2
        i = at_made & ring
        if at_made < n_made and (made[i, 0] < t or (made[i, 0] == t and made[i, 1] < key)):
            t, key, which = made[i, 0], made[i, 1], 3
        if n_heap > 0 and (heap[0, 0] < t or (heap[0, 0] == t and heap[0, 1] < key)):
            t, key, which = heap[0, 0], heap[0, 1], 4
        if which == 0:
            break
        if which == 1:
            at_begin += 1
        elif which == 2:
            at_sent += 1
        elif which == 3:
            at_made += 1
        else:
            n_heap = pop(heap, n_heap)
        x = key & low
        waited = x >= 2 * n_op
        q = np.int64(-1)
        if waited:
            q = x - 2 * n_op
            x = first_waiting(queue, number, q)
            if x < 0 or number[x] != key >> 32:
                continue
        free = _free_from(column, x, busy, sending, receiving, n_cpu, n_nic)
        if free > t:
            if not waited:
                q = _queue_of(column, x, n_rank, n_cpu, n_nic)
                number[x] = key >> 32
                if not join_queue(queue, waiting, q, x):
                    continue
            n_heap = push(heap, n_heap, free, (key & ~low) | (2 * n_op + q))
            continue
        if waited:
            leave_queue(queue, waiting, q, x)
        order[n_order] = x
        n_order += 1
        begun[x] = t
        is_message = x >= n_op
        v = x - n_op if is_message else x
        host, peer, c = column[v, HOST], column[v, PEER], column[v, CHANNEL]
        kind = column[v, KIND] & 3
        size = wide[v, SIZE]
        b = max(size - 1, 0)
        late = np.int64(0)
        if lateness.size > 0 and (is_message or kind != RECV):
            span = overhead if is_message or kind == SEND else size
            late = _late(noise, x, peer if is_message else host, t, span)
            lateness[x] = late
        first_done = np.int64(-1)
        second_done = np.int64(-1)
        if is_message:
            wire = b * per_byte // 1000
            p, i = _resources(column, v, peer, n_cpu, n_nic)
            busy[p] = t + overhead + late + max(b * cpu_per_byte // 1000, wire)
            receiving[i] = t + gap + wire
            r = _take_receive(ends, after_it, column, several, v)
            if r >= 0:
                match[r] = v
                second_done = r
                if size > eager:
                    first_done = v
                    p, i = _resources(column, v, host, n_cpu, n_nic)
                    busy[p] = max(busy[p], t)
                    sending[i] = max(sending[i], t)
            else:
                _leave_message(ends, after_it, column, several, v)
        elif kind == CALC:
            p, i = _resources(column, v, host, n_cpu, n_nic)
            busy[p] = t + size + late
            first_done = v
        elif kind == SEND:
            p, i = _resources(column, v, host, n_cpu, n_nic)
            busy[p] = t + overhead + b * cpu_per_byte // 1000 + late
            sending[i] = t + gap + b * per_byte // 1000
            there, key = t + overhead + latency, n_number << 32 | (n_op + v)
            n_number += 1
            if there >= last_sent and n_sent - at_sent < ring:
                sent[n_sent & ring, 0] = there
                sent[n_sent & ring, 1] = key
                n_sent += 1
                last_sent = there
            else:
                n_heap = push(heap, n_heap, there, key)
            if size <= eager:
                first_done = v
        else:
            w = _take_message(ends, after_it, several, c)
            if w >= 0:
                match[v] = w
                second_done = v
                if wide[w, SIZE] > eager:
                    first_done = w
                    # of the sender, but as the receive numbers them: so the reference has it
                    p, i = _resources(column, v, column[w, HOST], n_cpu, n_nic)
                    busy[p] = max(busy[p], t)
                    sending[i] = max(sending[i], t)
            else:
                _leave_receive(ends, after_it, column, several, v, n_order)
        n_freed = np.int64(0)
        if start_next.size > 0 and not is_message:
            for e in range(start_first[v], start_first[v + 1]):
                d = start_next[e]
                column[d, UNMET] -= 1
                if column[d, UNMET] == 0:
                    freed[n_freed] = d
                    n_freed += 1
        for k in range(2):
            f = first_done if k == 0 else second_done
            if f >= 0:
                done[f] = True
                for e in range(column[f, FIRST], column[f + 1, FIRST]):
                    d = end_next[e]
                    column[d, UNMET] -= 1
                    if column[d, UNMET] == 0:
                        freed[n_freed] = d
                        n_freed += 1
        if n_freed > 1:
            _order_freed(freed, n_freed, column)
        for k in range(n_freed):
            d = np.int64(freed[k])
            p, i = _resources(column, d, column[d, HOST], n_cpu, n_nic)
            due = busy[p]
            if column[d, KIND] & 3 == SEND:
                due = max(due, sending[i])
            key = n_number << 32 | d
            n_number += 1
            if due >= last_made and n_made - at_made < ring:
                made[n_made & ring, 0] = due
                made[n_made & ring, 1] = key
                n_made += 1
                last_made = due
            else:
                n_heap = push(heap, n_heap, due, key)
        if waited:
            w = first_waiting(queue, number, q)
            if w >= 0:
                free = _free_from(column, w, busy, sending, receiving, n_cpu, n_nic)
                n_heap = push(
                    heap, n_heap, max(free, t), np.int64(number[w]) << 32 | (2 * n_op + q)
                )
    return n_order, n_number
