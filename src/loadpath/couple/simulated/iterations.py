"""Steps of a schedule: iterations of a program that every rank repeats."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loadpath.tables.schedule import CALC, SEND, Schedule

__all__ = ["FEWEST_ITERATIONS", "find_iterations"]

FEWEST_ITERATIONS = 3
"""A list of ops that stands twice may be two phases of a collective; a stated policy."""

Int64Array = NDArray[np.int64]


def find_iterations(schedule: Schedule) -> Int64Array:
    """Say in which iteration each op is.

    A schedule marks none. It has K where every rank that does anything writes down one list of ops K
    times, each with a computation and a message, and each time requires something of an earlier time
    (and never of a later one). Lengths of computations and tags may differ from time to time. K is the
    largest such number.

    Parameters
    ----------
    schedule : Schedule
        Ops of all ranks, in the order of the file.

    Returns
    -------
    (n_op,) array of int64
        Number of the iteration, from 0; 0 for all where there are fewer than `FEWEST_ITERATIONS`.

    Examples
    --------
    >>> from loadpath.ingest.goal.text import read_text
    >>> from loadpath.testing.schedules import stencil
    >>> np.bincount(find_iterations(read_text("a.goal", stencil(4, 6, 1000).encode())))
    array([20, 20, 20, 20, 20, 20])
    """
    n_op = np.diff(schedule.rank_start)
    place = np.arange(schedule.n_op) - np.repeat(schedule.rank_start[:-1], n_op)
    for number in _candidates(schedule):
        block = np.repeat(n_op // number, n_op)
        iteration: Int64Array = place // np.maximum(block, 1)
        if _repeats(schedule, place, block) and _follow(schedule, iteration, number):
            return iteration
    return np.zeros(schedule.n_op, np.int64)


def _candidates(schedule: Schedule) -> Iterator[int]:
    """Numbers that divide the sends, receives and computations of every rank, the largest first."""
    n_kind = CALC + 1
    code = schedule.rank.astype(np.int64) * n_kind + schedule.kind
    count = np.bincount(code, minlength=n_kind * schedule.n_rank).reshape(-1, n_kind)
    calc, talk = count[:, CALC], count[:, SEND:CALC].sum(axis=1)
    active = count.any(axis=1)
    if not active.any() or not (calc[active].all() and talk[active].all()):
        return
    common = int(np.gcd.reduce(count[active], axis=None))
    most = min(common, int(talk[active].min()), int(calc[active].min()))
    yield from (k for k in range(most, FEWEST_ITERATIONS - 1, -1) if common % k == 0)


def _repeats(schedule: Schedule, place: Int64Array, block: Int64Array) -> bool:
    """Whether each op is the one a block before it, but for tags and lengths of computations."""
    later = np.flatnonzero(place >= block)
    before = later - block[later]
    moved = np.where(schedule.kind == CALC, 0, schedule.size)
    columns = (schedule.kind, schedule.peer, moved, schedule.cpu, schedule.nic)
    return all(bool((column[later] == column[before]).all()) for column in columns)


def _follow(schedule: Schedule, iteration: Int64Array, number: int) -> bool:
    """Whether every iteration of a rank requires something of an earlier one, and none of a later one."""
    of_source, of_target = iteration[schedule.edge_source], iteration[schedule.edge_target]
    if (of_source > of_target).any():
        return False
    after = schedule.edge_target[of_source < of_target]
    entered = np.unique(schedule.rank[after].astype(np.int64) * number + iteration[after])
    n_active = int((np.diff(schedule.rank_start) > 0).sum())
    return int(entered.size) == n_active * (number - 1)
