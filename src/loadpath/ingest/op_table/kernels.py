"""Compiled loops of reading op tables."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["place_times"]


@kernel(wraps=True)
def place_times(
    start_s: Any,
    duration_s: Any,
    first_row: Any,
    slot: Any,
    rank_slot: Any,
    start_ns: Any,
    duration_ns: Any,
    begin_ns: Any,
    end_ns: Any,
) -> Any:
    """Turn the seconds of steps of like rows into ns after each step's start, in the order of slots.

    Rows of step k begin at ``first_row[k]``; entry j of a step is its row ``slot[j]``, on the rank
    number ``rank_slot[j]``. `start_ns`, `duration_ns` (n_step, n_slot) take the times, `begin_ns`,
    `end_ns` (n_step, n_rank) the bounds of each rank. Returns the latest start after its step's
    first, the longest op, the largest recorded start and the number of negative durations; times in ns
    mean nothing where one of these is beyond what 64 bits hold.
    """
    after = 0.0
    longest = 0.0
    latest = 0.0
    n_negative = 0
    begin_ns[:] = np.iinfo(np.int64).max
    end_ns[:] = np.iinfo(np.int64).min
    for k in range(first_row.size):
        row = first_row[k]
        origin = np.float64(start_s[row])
        for j in range(slot.size):
            second = np.float64(start_s[row + j])
            origin = min(origin, second)
            latest = max(latest, abs(second))
        for j in range(slot.size):
            begin = np.float64(start_s[row + slot[j]]) - origin
            length = np.float64(duration_s[row + slot[j]])
            n_negative += 1 if length < 0 else 0
            length = np.float64(max(length, 0.0))
            after = max(after, begin)
            longest = max(longest, length)
            start_ns[k, j] = np.int64(np.rint(begin * 1e9))
            duration_ns[k, j] = np.int64(np.rint(length * 1e9))
            r = rank_slot[j]
            begin_ns[k, r] = min(begin_ns[k, r], start_ns[k, j])
            end_ns[k, r] = max(end_ns[k, r], start_ns[k, j] + duration_ns[k, j])
    return after, longest, latest, n_negative
