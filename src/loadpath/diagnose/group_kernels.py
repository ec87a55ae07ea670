"""Compiled loops over groups: shuffles, quantiles, tails, time covered, who comes last."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = [
    "add_up",
    "change_columns",
    "count_last",
    "count_reaching",
    "cover",
    "group_quantiles",
    "select",
    "settle",
    "sort_by",
    "student_sum",
]


@kernel
def count_reaching(cells: Any, uniform: Any, limit: float) -> int:
    """Shuffle units within each block of `cells` (n_block, n_unit) and count totals that reach `limit`.

    Each row of `uniform` (n_draw, n_block * n_unit) drives one shuffle (Fisher-Yates) of all
    blocks; a shuffle counts once, by its largest total.
    """
    n_block, n_unit = cells.shape
    total = np.empty(n_unit)
    shuffled = np.empty(n_unit)
    n_reach = 0
    for d in range(uniform.shape[0]):
        for i in range(n_unit):
            total[i] = 0.0
        for b in range(n_block):
            for i in range(n_unit):
                j = int(uniform[d, b * n_unit + i] * (i + 1))
                shuffled[i] = shuffled[j]
                shuffled[j] = cells[b, i]
            for i in range(n_unit):
                total[i] += shuffled[i]
        largest = total[0]
        for i in range(n_unit):
            largest = max(largest, total[i])
        if largest >= limit:
            n_reach += 1
    return n_reach


@kernel
def part_at(value: Any, low: int, high: int, pivot: float, shift: int) -> int:
    """Put what of ``value[low:high + 1]`` is below the pivot first; returns where the rest begins.

    With a shift of 1 what equals the pivot is put first too. No branch depends on a value: processors
    guess wrong every second time.
    """
    j = low
    for i in range(low, high + 1):
        x = value[i]
        value[i] = value[j]
        value[j] = x
        j += (x < pivot) | (shift & (x == pivot))
    return j


@kernel
def middle_of(a: float, b: float, c: float) -> float:
    """Take the middle one of three values."""
    return max(min(a, b), min(max(a, b), c))


@kernel
def select(value: Any, low: int, high: int, place: int) -> Any:
    """Put into ``value[place]`` what stands there once ``value[low:high + 1]`` is sorted.

    What is smaller is left before it, what is larger behind it.
    """
    while high - low > 24:
        if high - low < 200:
            pivot = middle_of(value[low], value[(low + high) // 2], value[high])
        else:
            apart = (high - low) // 8
            pivot = middle_of(
                middle_of(value[low], value[low + apart], value[low + 2 * apart]),
                middle_of(value[low + 3 * apart], value[low + 4 * apart], value[low + 5 * apart]),
                middle_of(value[low + 6 * apart], value[low + 7 * apart], value[high]),
            )
        rest = part_at(value, low, high, pivot, 0)
        if place < rest:
            high = rest - 1
        elif rest > low:
            low = rest
        else:
            low = part_at(value, low, high, pivot, 1)
            if place < low:
                return value[place]
    for i in range(low + 1, high + 1):
        moved = value[i]
        j = i
        while j > low and value[j - 1] > moved:
            value[j] = value[j - 1]
            j -= 1
        value[j] = moved
    return value[place]


@kernel
def group_quantiles(
    number: Any,
    column: Any,
    value: Any,
    size: Any,
    share: float,
    lower: Any,
    grouped: Any,
    out: Any,
) -> None:
    """Write a quantile of each group of columns to `out` (n_row, n_group).

    `number` (n,) is the group of each `column` (n,) of `value` (n_run, n_column), `size` (n_group,)
    how many values a group has in a row of `out`, which holds as many runs as the rows of `out` go
    into those of `value`. The quantile of none is NaN; with `lower` it is the value below, not one
    between two.
    """
    first = np.zeros(size.size + 1, np.int64)
    for g in range(size.size):
        first[g + 1] = first[g] + size[g]
    fill = np.empty(size.size, np.int64)
    n_run = value.shape[0] // out.shape[0]
    for row in range(out.shape[0]):
        for g in range(size.size):
            fill[g] = first[g]
        for k in range(row * n_run, (row + 1) * n_run):
            for i in range(number.size):
                g = number[i]
                grouped[fill[g]] = value[k, column[i]]
                fill[g] += 1
        for g in range(size.size):
            if size[g] == 0:
                out[row, g] = np.nan
                continue
            place = share * (size[g] - 1)
            below = first[g] + int(place)
            out[row, g] = select(grouped, first[g], first[g + 1] - 1, below)
            beyond = place - int(place)
            if beyond > 0.0 and not lower:
                above = grouped[below + 1]
                for i in range(below + 2, first[g + 1]):
                    above = min(above, grouped[i])
                if beyond == 0.5:
                    out[row, g] = (out[row, g] + above) / 2
                else:
                    out[row, g] += beyond * (above - out[row, g])


@kernel
def settle(key: Any, index: Any) -> None:
    """Move entries of `index` back, in place and stably, to where they belong by ``key[index]``.

    Where entries stand near their places this is faster than `sort_by`; where moves add up to many
    times the length it ends, and leaves the rest to that.
    """
    left = 4 * index.size
    for a in range(1, index.size):
        i = index[a]
        b = a
        while b > 0 and key[index[b - 1]] > key[i]:
            index[b] = index[b - 1]
            b -= 1
        index[b] = i
        left -= a - b
        if left < 0:
            break


@kernel
def sort_by(key: Any, index: Any, room: Any) -> None:
    """Sort `index`, in place and stably, by ``key[index]``: stretches in order are merged.

    Ops come nearly in the order of their starts, so that there is little to merge; `room` is as
    long as `index`.
    """
    n = index.size
    merged = True
    while merged:
        merged = False
        low = 0
        while low < n:
            middle = low + 1
            while middle < n and key[index[middle]] >= key[index[middle - 1]]:
                middle += 1
            if middle == n:
                break
            high = middle + 1
            while high < n and key[index[high]] >= key[index[high - 1]]:
                high += 1
            merged = True
            for k in range(low, middle):
                room[k] = index[k]
            a = low
            b = middle
            for k in range(low, high):
                if a == middle:
                    break
                if b < high and key[index[b]] < key[room[a]]:
                    index[k] = index[b]
                    b += 1
                else:
                    index[k] = room[a]
                    a += 1
            low = high


@kernel
def cover(group_start: Any, order: Any, op: Any, start: Any, duration: Any, covered: Any) -> None:
    """Add to `covered` the time in which some op of a group runs, in every run.

    `group_start` (n_group + 1,) and `order` list the entries of `op` by group; `start`, `duration`
    (n_run, n_op); `covered` (n_run, n_group), or of one row for the sum over all runs.
    """
    mine = np.empty(order.size, np.int64)
    room = np.empty(order.size, np.int64)
    for j in range(order.size):
        mine[j] = op[order[j]]
    several = 1 if covered.shape[0] > 1 else 0
    for g in range(covered.shape[1]):
        some = mine[group_start[g] : group_start[g + 1]]
        for k in range(start.shape[0]):
            sort_by(start[k], some, room)
            until = np.iinfo(np.int64).min
            for i in some:
                end = start[k, i] + duration[k, i]
                if end > until:
                    covered[several * k, g] += end - max(start[k, i], until)
                    until = end


@kernel
def add_up(column: Any, value: Any, total: Any) -> None:
    """Add to `total` (n_row,) what each row of `value` (n_row, n_column) has in the columns `column`."""
    for k in range(value.shape[0]):
        for j in range(column.size):
            total[k] += value[k, column[j]]


@kernel
def change_columns(column: Any, change: Any, value: Any) -> None:
    """Add `change` to the columns `column` of `value` (n_row, n_column), none of them twice.

    `change` has a row for each row of `value`, or one for all.
    """
    several = 1 if change.shape[0] > 1 else 0
    for k in range(value.shape[0]):
        for j in range(column.size):
            value[k, column[j]] += change[several * k, j]


@kernel
def count_last(
    group_start: Any, member: Any, rank: Any, arrive: Any, residual: int, count: Any
) -> int:
    """Count by rank in `count` who arrives last by more than `residual`; returns the other meetings.

    `group_start` (n_group + 1,) lists the ops `member` and their ranks by meeting; `arrive`
    (n_run, n_op). Meetings of one are left out.
    """
    n_tie = 0
    for k in range(arrive.shape[0]):
        for g in range(group_start.size - 1):
            if group_start[g + 1] - group_start[g] < 2:
                continue
            last = np.iinfo(np.int64).min
            before = last
            who = -1
            for m in range(group_start[g], group_start[g + 1]):
                a = arrive[k, member[m]]
                if a > last:
                    before = last
                    last = a
                    who = rank[m]
                elif a > before:
                    before = a
            if last - before > residual:
                count[who] += 1
            else:
                n_tie += 1
    return n_tie


@kernel
def student_sum(cosine: float, odd: int, freedom: int) -> float:
    """Sum the series of Student's t; terms fall, so that it ends where one no longer counts."""
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(2 + odd, freedom + 1, 2):
        if total + term == total:
            break
        total += term
        term *= cosine * cosine * (k - 1) / k
    return total
