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

__all__ = ["number_channels", "run_events"]

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
SEND, RECV, CALC = 1, 2, 3


@njit(**OPTIONS)
def number_channels(kind: Any, source: Any, target: Any, tag: Any, is_wild: Any) -> Any:
    """Number the queues in which messages meet receives: one per sender, receiver and tag.

    A rank that receives from any sender or with any tag (`is_wild`) has one queue for all.
    """
    size = 8
    while size < 2 * kind.size:
        size *= 2
    slot = np.full(size, -1, np.int32)
    channel = np.full(kind.size, -1, np.int32)
    n = 0
    for v in range(kind.size):
        if kind[v] == CALC:
            continue
        wild = is_wild[target[v]]
        a = np.int64(-1) if wild else np.int64(source[v])
        b = np.int64(-1) if wild else tag[v]
        code = np.uint64(a + 1) * np.uint64(11400714819323198485)
        code ^= np.uint64(target[v]) * np.uint64(14029467366897019727)
        code ^= np.uint64(b + 1) * np.uint64(1609587929392839161)
        code ^= code >> np.uint64(32)
        s = np.int64(code & np.uint64(size - 1))
        while slot[s] >= 0:
            w = slot[s]
            same = target[w] == target[v]
            if same and (wild or (source[w] == source[v] and tag[w] == tag[v])):
                break
            s = (s + 1) & (size - 1)
        if slot[s] < 0:
            slot[s] = v
            channel[v] = n
            n += 1
        else:
            channel[v] = channel[slot[s]]
    return channel, n


@njit(**OPTIONS)
def _push(time: Any, number: Any, event: Any, n: int, t: int, s: int, x: int) -> Any:
    i = n
    while i > 0:
        p = (i - 1) >> 1
        if time[p] > t or (time[p] == t and number[p] > s):
            time[i] = time[p]
            number[i] = number[p]
            event[i] = event[p]
            i = p
        else:
            break
    time[i] = t
    number[i] = s
    event[i] = x
    return n + 1


@njit(**OPTIONS)
def _pop(time: Any, number: Any, event: Any, n: int) -> Any:
    t = time[0]
    s = number[0]
    x = event[0]
    n -= 1
    last_t = time[n]
    last_s = number[n]
    last_x = event[n]
    i = 0
    while True:
        c = 2 * i + 1
        if c >= n:
            break
        if c + 1 < n and (
            time[c + 1] < time[c] or (time[c + 1] == time[c] and number[c + 1] < number[c])
        ):
            c += 1
        if time[c] < last_t or (time[c] == last_t and number[c] < last_s):
            time[i] = time[c]
            number[i] = number[c]
            event[i] = event[c]
            i = c
        else:
            break
    time[i] = last_t
    number[i] = last_s
    event[i] = last_x
    return t, s, x, n


@njit(**OPTIONS)
def _meld(left: Any, right: Any, number: Any, a: int, b: int) -> Any:
    """Join two queues of waiting events: a skew heap by number."""
    if a < 0:
        return b
    if b < 0:
        return a
    if number[b] < number[a]:
        a, b = b, a
    top = a
    while True:
        r = right[a]
        right[a] = left[a]
        if r < 0:
            left[a] = b
            return top
        if number[b] < number[r]:
            r, b = b, r
        left[a] = r
        a = r


@njit(**OPTIONS)
def _until(start: Any, total: Any, period: int, t: int) -> Any:
    """Noise of all events of the repeated trace that begin before t."""
    return (t // period) * total[start.size] + total[np.searchsorted(start, t % period)]


@njit(**OPTIONS)
def _take(head: Any, tail: Any, after: Any, c: int, before: int, x: int) -> None:
    """Take x, which follows `before` (or nothing), out of the list of channel c."""
    if before < 0:
        head[c] = after[x]
    else:
        after[before] = after[x]
    if tail[c] == x:
        tail[c] = before


@njit(**OPTIONS)
def _append(head: Any, tail: Any, after: Any, c: int, x: int) -> None:
    after[x] = -1
    if head[c] < 0:
        head[c] = x
    else:
        after[tail[c]] = x
    tail[c] = x


@njit(**OPTIONS)
def run_events(
    ops: Any,
    rank_start: Any,
    after_end: Any,
    after_start: Any,
    counts: Any,
    costs: Any,
    noise: Any,
    out: Any,
) -> Any:
    """Serve all events in the order of time, then of their number.

    `ops` is kind, size, peer, tag, host, processor, interface out, interface in, processor of the
    message, queue of the op, queue of its message, and channel; `after_end` and `after_start` are
    starts and targets of the ops that require an op's end and its start; `counts` is processors and
    interfaces of a rank, queues and channels;
    `costs` is L, o, g in ns, G, O in ps per byte, S; `noise` is a length per event (or none), and a
    trace: starts, running totals, period, and where in it each rank begins. `out` is the
    arrays of a `ServiceOrder`. Returns the time until which each processor is taken, and the number of events.
    """
    kind, size, peer, tag, host, cpu, nic_out, nic_in, msg_cpu, queue, msg_queue, channel = ops
    end_first, end_next = after_end
    start_first, start_next = after_start
    n_cpu, n_nic, n_queue, n_channel = counts
    latency, overhead, gap, per_byte, cpu_per_byte, eager = costs
    extra, trace_start, trace_total, period, offset = noise
    order, start, lateness, match, done = out
    n_op = kind.size
    n_rank = rank_start.size - 1
    busy = np.zeros(n_rank * n_cpu, np.int64)
    sending = np.zeros(n_rank * n_nic, np.int64)
    receiving = np.zeros(n_rank * n_nic, np.int64)
    unmet = np.zeros(n_op, np.int32)
    for e in range(end_next.size):
        unmet[end_next[e]] += 1
    for e in range(start_next.size):
        unmet[start_next[e]] += 1
    time = np.empty(4 * n_op + 16, np.int64)
    number = np.empty(4 * n_op + 16, np.int64)
    event = np.empty(4 * n_op + 16, np.int64)
    own = np.zeros(2 * n_op, np.int64)
    root = np.full(n_queue, -1, np.int32)
    left = np.full(2 * n_op, -1, np.int32)
    right = np.full(2 * n_op, -1, np.int32)
    posted = np.full((2, n_channel), -1, np.int32)
    arrived = np.full((2, n_channel), -1, np.int32)
    after = np.full(2 * n_op, -1, np.int32)
    freed = np.empty(n_op, np.int32)
    n_heap = 0
    n_number = 0
    n_order = 0
    for h in range(n_rank):
        for what in range(SEND, CALC + 1):
            for v in range(rank_start[h], rank_start[h + 1]):
                if unmet[v] == 0 and kind[v] == what:
                    own[v] = n_number
                    n_heap = _push(time, number, event, n_heap, 0, n_number, v)
                    n_number += 1
    while n_heap > 0:
        t, s, x, n_heap = _pop(time, number, event, n_heap)
        waited = x >= 2 * n_op
        q = -1
        if waited:
            q = x - 2 * n_op
            if root[q] < 0 or own[root[q]] != s:
                continue
            x = root[q]
        is_message = x >= n_op
        v = x - n_op if is_message else x
        what = kind[v]
        free = t
        if is_message:
            free = max(busy[msg_cpu[v]], receiving[nic_in[v]])
        elif what == CALC:
            free = busy[cpu[v]]
        elif what == SEND:
            free = max(busy[cpu[v]], sending[nic_out[v]])
        if free > t:
            if waited:
                n_heap = _push(time, number, event, n_heap, free, s, 2 * n_op + q)
            else:
                q = msg_queue[v] if is_message else queue[v]
                root[q] = _meld(left, right, own, root[q], x)
                if root[q] == x:
                    n_heap = _push(time, number, event, n_heap, free, s, 2 * n_op + q)
            continue
        if waited:
            root[q] = _meld(left, right, own, left[x], right[x])
        start[x] = t
        order[n_order] = x
        n_order += 1
        span = overhead if is_message or what == SEND else size[v]
        late = np.int64(0)
        if is_message or what != RECV:
            if extra.size > 0:
                late += extra[x]
            if trace_start.size > 0:
                phase = t + offset[peer[v] if is_message else host[v]]
                late += _until(trace_start, trace_total, period, phase + span)
                late -= _until(trace_start, trace_total, period, phase)
        lateness[x] = late
        b = size[v] - 1
        first_done = -1
        second_done = -1
        started = -1
        c = channel[v]
        if is_message:
            busy[msg_cpu[v]] = (
                t + overhead + late + max(b * cpu_per_byte // 1000, b * per_byte // 1000)
            )
            receiving[nic_in[v]] = t + gap + b * per_byte // 1000
            before = -1
            r = posted[0, c]
            while r >= 0:
                if (peer[r] == -1 or peer[r] == host[v]) and (tag[r] == -1 or tag[r] == tag[v]):
                    break
                before = r
                r = after[r]
            if r >= 0:
                _take(posted[0], posted[1], after, c, before, r)
                match[r] = v
                second_done = r
                if size[v] > eager:
                    first_done = v
                    busy[cpu[v]] = max(busy[cpu[v]], t)
                    sending[nic_out[v]] = max(sending[nic_out[v]], t)
            else:
                _append(arrived[0], arrived[1], after, c, x)
        elif what == CALC:
            busy[cpu[v]] = t + size[v] + late
            started = v
            first_done = v
        elif what == SEND:
            busy[cpu[v]] = t + overhead + b * cpu_per_byte // 1000 + late
            sending[nic_out[v]] = t + gap + b * per_byte // 1000
            own[n_op + v] = n_number
            n_heap = _push(
                time, number, event, n_heap, t + overhead + latency, n_number, n_op + v
            )
            n_number += 1
            started = v
            if size[v] <= eager:
                first_done = v
        else:
            started = v
            before = -1
            m = arrived[0, c]
            while m >= 0:
                w = m - n_op
                if (peer[v] == -1 or peer[v] == host[w]) and (tag[v] == -1 or tag[v] == tag[w]):
                    break
                before = m
                m = after[m]
            if m >= 0:
                w = m - n_op
                _take(arrived[0], arrived[1], after, c, before, m)
                match[v] = w
                second_done = v
                if size[w] > eager:
                    first_done = w
                    # of the sender, but as the receive numbers them: so the reference has it
                    p = host[w] * n_cpu + cpu[v] - host[v] * n_cpu
                    busy[p] = max(busy[p], t)
                    p = host[w] * n_nic + nic_out[v] - host[v] * n_nic
                    sending[p] = max(sending[p], t)
            else:
                _append(posted[0], posted[1], after, c, v)
        n_freed = 0
        if started >= 0:
            for e in range(start_first[started], start_first[started + 1]):
                d = start_next[e]
                unmet[d] -= 1
                if unmet[d] == 0:
                    freed[n_freed] = d
                    n_freed += 1
        for k in range(2):
            f = first_done if k == 0 else second_done
            if f >= 0:
                done[f] = True
                for e in range(end_first[f], end_first[f + 1]):
                    d = end_next[e]
                    unmet[d] -= 1
                    if unmet[d] == 0:
                        freed[n_freed] = d
                        n_freed += 1
        if n_freed > 0:
            low = host[freed[0]]
            high = low
            for k in range(n_freed):
                low = min(low, host[freed[k]])
                high = max(high, host[freed[k]])
            for k in range(2):
                h = low if k == 0 else high
                if k == 1 and high == low:
                    break
                for what in range(SEND, CALC + 1):
                    for i in range(n_freed):
                        d = freed[i]
                        if host[d] == h and kind[d] == what:
                            due = busy[cpu[d]]
                            if what == SEND:
                                due = max(due, sending[nic_out[d]])
                            own[d] = n_number
                            n_heap = _push(time, number, event, n_heap, due, n_number, d)
                            n_number += 1
        if waited and root[q] >= 0:
            w = root[q]
            v = w - n_op if w >= n_op else w
            free = busy[msg_cpu[v]] if w >= n_op else busy[cpu[v]]
            if w >= n_op:
                free = max(free, receiving[nic_in[v]])
            elif kind[v] == SEND:
                free = max(free, sending[nic_out[v]])
            n_heap = _push(time, number, event, n_heap, max(free, t), own[w], 2 * n_op + q)
    return busy, n_order, n_number
