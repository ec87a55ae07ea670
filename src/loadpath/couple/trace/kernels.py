"""Compiled loops: nested host calls, and bands between bounds."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = [
    "first_equal",
    "first_least",
    "flatten",
    "innermost_said",
    "last_before",
    "last_largest",
    "open_waits",
    "outermost_said",
    "place_between",
    "reached",
    "robust_band",
]

ROUNDING_NS = 2000
BISECTIONS = 60
ENOUGH_WIDTH = 0.9


@kernel
def flatten(lane: Any, start: Any, end: Any, mark: Any) -> Any:
    """Cut each lane's time into segments that belong to the innermost call.

    Rows are sorted by lane, start, and longest first. Returns per segment: the call (-1 between
    calls), the call that ended before it inside the same call (-1 if it is the first part), start,
    end, and the innermost non-zero `mark` of the calls around it. Segments of a lane follow
    each other without hole; some are empty.
    """
    n = start.size
    size = 2 * n + 1
    call = np.empty(size, np.int32)
    before = np.empty(size, np.int32)
    begin = np.empty(size, np.int64)
    finish = np.empty(size, np.int64)
    flag = np.empty(size, np.uint8)
    stack = np.empty(n + 1, np.int32)
    limit = np.empty(n + 1, np.int64)
    child = np.full(n + 2, -1, np.int32)
    carried = np.zeros(n + 1, np.uint8)
    m = 0
    depth = 0
    cursor = np.int64(0)
    for i in range(n + 1):
        is_new = i == n or (i > 0 and lane[i] != lane[i - 1])
        while depth and (
            is_new or limit[depth - 1] <= start[i] or limit[depth - 1] + ROUNDING_NS < end[i]
        ):
            top = stack[depth - 1]
            stop = limit[depth - 1] if is_new else min(limit[depth - 1], start[i])
            call[m] = top
            before[m] = child[depth]
            begin[m] = cursor
            cursor = max(cursor, stop)
            finish[m] = cursor
            flag[m] = carried[depth - 1]
            m += 1
            depth -= 1
            child[depth] = top
        if i == n:
            break
        if i == 0 or is_new:
            cursor = start[i]
            child[0] = -1
        else:
            top = stack[depth - 1] if depth else -1
            call[m] = top
            before[m] = child[depth]
            begin[m] = cursor
            cursor = max(cursor, start[i])
            finish[m] = cursor
            flag[m] = carried[depth - 1] if depth else 0
            m += 1
        stack[depth] = i
        limit[depth] = min(end[i], limit[depth - 1]) if depth else end[i]
        carried[depth] = mark[i]
        if mark[i] == 0 and depth:
            carried[depth] = carried[depth - 1]
        depth += 1
        child[depth] = -1
    return call[:m], before[:m], begin[:m], finish[:m], flag[:m]


@kernel
def innermost_said(parent: Any, said: Any, row: Any) -> Any:
    """Nearest row at or above each of `row` for which `said` holds, -1 if there is none."""
    found = np.full(row.size, -1, np.int32)
    for k in range(row.size):
        i = row[k]
        while i >= 0:
            if said[i]:
                found[k] = i
                break
            i = parent[i]
    return found


@kernel
def outermost_said(parent: Any, said: Any, row: Any) -> Any:
    """Highest row at or above each of `row` for which `said` holds, -1 if there is none."""
    found = np.full(row.size, -1, np.int32)
    for k in range(row.size):
        i = row[k]
        while i >= 0:
            if said[i]:
                found[k] = i
            i = parent[i]
    return found


@kernel
def last_before(rank: Any, lane: Any, n_lane: int) -> Any:
    """Last earlier row on each other lane of the same rank.

    Rows are sorted by rank and launch. Returns an (n, n_lane) array of rows, -1 where there is
    none and on the row's own lane.
    """
    n = rank.size
    out = np.full((n, n_lane), -1, np.int32)
    latest = np.full(n_lane, -1, np.int32)
    for i in range(n):
        if i and rank[i] != rank[i - 1]:
            latest[:] = -1
        out[i] = latest
        out[i, lane[i]] = -1
        latest[lane[i]] = i
    return out


@kernel
def robust_band(x: Any, y: Any, is_upper: Any, limit: float, n_drop: int) -> Any:
    """Find the line that keeps farthest from all bounds, leaving out bounds that forbid any.

    `y` are bounds at `x`, upper or lower ones. Returns offset, slope (within `limit`) and half the
    width of the band, negative if no line keeps all bounds. At most `n_drop` bounds are left out, each
    the one of the two that meet whose absence widens the band more.
    """
    kept = np.ones(x.size, np.bool_)
    band = _widest_band(x, y, is_upper, kept, limit)
    for _ in range(n_drop):
        if band[2] >= 0:
            break
        upper, lower = _tightest(x, y, is_upper, kept, band[1])[2:]
        kept[upper] = False
        without_upper = _widest_band(x, y, is_upper, kept, limit)
        kept[upper], kept[lower] = True, False
        without_lower = _widest_band(x, y, is_upper, kept, limit)
        if without_upper[2] > without_lower[2]:
            kept[upper], kept[lower] = False, True
        band = without_upper if without_upper[2] > without_lower[2] else without_lower
    return band


@kernel
def _widest_band(x: Any, y: Any, is_upper: Any, kept: Any, limit: float) -> Any:
    """Line amid the widest band; of slopes with nine tenths of its width the least one."""
    low, high = -limit, limit
    for _ in range(BISECTIONS):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        if _half_width(x, y, is_upper, kept, a) < _half_width(x, y, is_upper, kept, b):
            low = a
        else:
            high = b
    slope = (low + high) / 2
    enough = ENOUGH_WIDTH * _half_width(x, y, is_upper, kept, slope)
    least = 0.0
    if enough > 0 and _half_width(x, y, is_upper, kept, least) < enough:
        for _ in range(BISECTIONS):
            middle = (least + slope) / 2
            if _half_width(x, y, is_upper, kept, middle) < enough:
                least = middle
            else:
                slope = middle
    elif enough > 0:
        slope = least
    upper, lower = _tightest(x, y, is_upper, kept, slope)[:2]
    return (upper + lower) / 2, slope, (upper - lower) / 2


@kernel
def _half_width(x: Any, y: Any, is_upper: Any, kept: Any, slope: float) -> Any:
    upper, lower = _tightest(x, y, is_upper, kept, slope)[:2]
    return (upper - lower) / 2


@kernel
def _tightest(x: Any, y: Any, is_upper: Any, kept: Any, slope: float) -> Any:
    """Least upper and largest lower bound of the offset of a line, and which they are."""
    upper, lower, at_upper, at_lower = np.inf, -np.inf, 0, 0
    for i in range(x.size):
        if not kept[i]:
            continue
        offset = y[i] - slope * x[i]
        if is_upper[i] and offset < upper:
            upper, at_upper = offset, i
        elif not is_upper[i] and offset > lower:
            lower, at_lower = offset, i
    return upper, lower, at_upper, at_lower


@kernel
def reached(stream: Any, previous: Any, source: Any, target: Any, begin: Any, end: Any) -> Any:
    """Tell for pairs of launched ops whether a chain of stream order and couplings joins them.

    Ops are in order of launch; `source` and `target` are couplings, by target. Each op remembers
    the last op of every stream that it comes after.
    """
    n = stream.size
    n_stream = 0
    for i in range(n):
        n_stream = max(n_stream, stream[i] + 1)
    after = np.full((n, n_stream), -1, np.int32)
    edge = 0
    for i in range(n):
        if previous[i] >= 0:
            for s in range(n_stream):
                after[i, s] = after[previous[i], s]
            after[i, stream[i]] = previous[i]
        while edge < target.size and target[edge] <= i:
            j = source[edge]
            if target[edge] == i and j < i:
                for s in range(n_stream):
                    after[i, s] = max(after[i, s], after[j, s])
                after[i, stream[j]] = max(after[i, stream[j]], j)
            edge += 1
    known = np.zeros(begin.size, np.bool_)
    for k in range(begin.size):
        known[k] = after[end[k], stream[begin[k]]] >= begin[k]
    return known


@kernel
def place_between(value: Any, low: Any, high: Any, wanted: Any) -> Any:
    """Count, from the first of all values, to where each of `wanted` belongs between two places.

    `value` ascends from each `low` to its `high`.
    """
    place = np.empty(wanted.size, np.int64)
    for k in range(wanted.size):
        a, b = low[k], high[k]
        while a < b:
            middle = (a + b) // 2
            if value[middle] < wanted[k]:
                a = middle + 1
            else:
                b = middle
        place[k] = a
    return place


@kernel
def open_waits(
    order: Any,
    mine: Any,
    awaited: Any,
    asked: Any,
    until: Any,
    source: Any,
    launched: Any,
    lane: Any,
    n_slot: int,
    most: int,
) -> Any:
    """Pairs of a wait and what it holds out for, waits in `order`.

    `mine` and `awaited` are the streams that wait and are waited for (-1 none), `source` the last op
    of the latter. What a wait holds lies together in the result, so that a ring of the last `most`
    waits of each stream need only tell where.
    """
    entry = np.empty(2 * order.size + 16, np.int32)
    held = np.empty(2 * order.size + 16, np.int32)
    first = np.zeros(order.size + 1, np.int64)
    ring = np.empty((n_slot, most), np.int32)
    n_open = np.zeros(n_slot, np.int64)
    n = 0
    for k in range(order.size):
        w = order[k]
        first[k] = n
        begin = n
        since = np.iinfo(np.int64).min
        if source[w] >= 0:
            since = launched[source[w]]
            held[n] = source[w]
            n += 1
        slot = awaited[w]
        n_asked = n_open[slot] if slot >= 0 else 0
        for j in range(max(0, n_asked - most), n_asked):
            other = ring[slot, j % most]
            if asked[order[other]] <= since or asked[order[other]] > until[w]:
                continue
            if n + first[other + 1] - first[other] + 1 > held.size:
                held = np.concatenate((held, np.empty_like(held)))
                entry = np.concatenate((entry, np.empty_like(entry)))
            for e in range(first[other], first[other + 1]):
                at = begin
                while at < n and lane[held[at]] != lane[held[e]]:
                    at += 1
                if at == n or launched[held[e]] > launched[held[at]]:
                    held[at] = held[e]
                n = max(n, at + 1)
        first[k + 1] = n
        entry[begin:n] = w
        if n + 2 > held.size:
            held = np.concatenate((held, np.empty_like(held)))
            entry = np.concatenate((entry, np.empty_like(entry)))
        if mine[w] >= 0 and n > begin:
            ring[mine[w], n_open[mine[w]] % most] = k
            n_open[mine[w]] += 1
    return entry[:n].copy(), held[:n].copy()


@kernel
def first_least(group: Any, value: Any) -> Any:
    """First entry with the least value of each group, groups ascending; those without are left out."""
    n = 0
    for i in range(group.size):
        n = max(n, group[i] + 1)
    found = np.full(n, -1, np.int32)
    for i in range(group.size):
        at = found[group[i]]
        if at < 0 or value[i] < value[at]:
            found[group[i]] = i
    return found[found >= 0]


@kernel
def last_largest(group: Any, value: Any) -> Any:
    """Last entry with the largest value of each group, groups ascending, as `first_least`."""
    n = 0
    for i in range(group.size):
        n = max(n, group[i] + 1)
    found = np.full(n, -1, np.int32)
    for i in range(group.size):
        at = found[group[i]]
        if at < 0 or value[i] >= value[at]:
            found[group[i]] = i
    return found[found >= 0]


@kernel
def first_equal(rank: Any, number: Any, asked_rank: Any, asked_number: Any) -> Any:
    """First entry of the same rank and number for each one that is asked for, -1 if there is none."""
    n_slot = 16
    while n_slot < 2 * rank.size:
        n_slot *= 2
    slot = np.full(n_slot, -1, np.int32)
    for i in range(rank.size):
        at = _hashed(rank[i], number[i], n_slot)
        while slot[at] >= 0 and (rank[slot[at]] != rank[i] or number[slot[at]] != number[i]):
            at = (at + 1) & (n_slot - 1)
        if slot[at] < 0:
            slot[at] = i
    found = np.full(asked_rank.size, -1, np.int32)
    for k in range(asked_rank.size):
        at = _hashed(asked_rank[k], asked_number[k], n_slot)
        while slot[at] >= 0:
            if rank[slot[at]] == asked_rank[k] and number[slot[at]] == asked_number[k]:
                found[k] = slot[at]
                break
            at = (at + 1) & (n_slot - 1)
    return found


@kernel(wraps=True)
def _hashed(rank: Any, number: Any, n_slot: int) -> Any:
    """Slot of a pair; what differs a little lies far apart, so that runs of slots stay short."""
    mixed = (np.uint64(number) ^ (np.uint64(rank) << np.uint64(40))) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return np.int64((mixed >> np.uint64(20)) & np.uint64(n_slot - 1))
